"""Which optimizer does better on one landscape, judged on the same starts.

The arms are descents that are run now, or run directories that lie there; either way they become one `Comparison`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgd.base import Engine, InputTypeError, InputValueError, Key, Landscape, Params, Progress, Stop
from jaxgd.checks import check_share, what_is
from jaxgd.front_door import as_optimizer, front_door
from jaxgd.interrupt import interruptible
from jaxgd.paired import Comparison, Side, compared
from jaxgd.runs.stored import StoredRun, open_run
from jaxgd.survey import survey


def compare(
    *what: Any,
    optimizers: Mapping[str, Any] | Sequence[str] | None = None,
    num_starts: int | None = None,
    landscape: Any = None,
    confidence: float = 0.95,
    **how: Any,
) -> Comparison:
    """Returns the paired differences of optimizers, or of run directories, from the first of them.

        jaxgd.compare(landscape, {"short": "sgd(0.01)", "long": "sgd(0.1)"}, 1000, seed=0)
        jaxgd.compare("runs/short", "runs/long")

    All optimizers descend from the same starts, with the same noise. Of each pair of descents the verdict, the value,
    the gradient evaluations and the critical point that was reached are compared. One value is lower than another when
    it is so by more than rounding (the square root of the rounding unit).

    Args:
      *what: a landscape (as in `jaxgd.survey`), the optimizers and the number of starts; or two or more directories, or
        what `open_run` returned, one by one, in a list, or by name in a dictionary. Starts that not all of them have
        done are left out.
      optimizers: transformations or written names by name, or a list of written names; None among them is the
        landscape's default.
      num_starts: descents of each optimizer; 1,000 if None.
      landscape: what to descend; or that of the directories, where it is not one of jaxgd's own.
      confidence: that all limits of differences hold together, in (0, 1).
      **how: `key` or `seed`, `sample`, `starts`, `stop` or its fields, `is_noisy`, `engine` and `progress`, as in
        `jaxgd.survey`.

    Returns:
      `Comparison`. After Ctrl-C it covers the starts that all optimizers have done.

    Raises:
      InputValueError: fewer than two arms, or directories whose landscapes, keys or precisions differ.
      InputTypeError: an argument is of the wrong kind.

    Example:
      >>> import jax, jaxgd
      >>> wells = jaxgd.landscapes.styblinski_tang(dim=1)
      >>> found = compare(wells, {"short": "sgd(0.01)", "long": "sgd(0.02)"}, 100, seed=0)
      >>> [(row.what, row.difference.value < 0) for row in found.rows[0] if row.is_sure][-1]
      ('mean ticks', True)
    """
    runs = _runs_of(what) if optimizers is None and num_starts is None else None
    if runs is not None:
        if how:
            raise InputTypeError(f"`compare` of run directories takes no `{next(iter(how))}`: their descents are done.")
        return _of_runs(runs, landscape, confidence)

    given = {"landscape": landscape, "optimizers": optimizers, "num_starts": num_starts}
    named = {name: value for name, value in given.items() if value is not None}
    return _of_descents(*what, **named, confidence=confidence, **how)


def _runs_of(what: tuple[Any, ...]) -> dict[str, Any] | None:
    """Returns run directories by name, where that is what was given."""
    is_run = lambda each: isinstance(each, (str, Path, StoredRun))
    if len(what) == 1 and isinstance(what[0], Mapping):
        return dict(what[0])
    if len(what) == 1 and isinstance(what[0], (list, tuple)):
        what = tuple(what[0])
    elif not what or (len(what) == 1 and not is_run(what[0])):
        return None
    return {str(_path(run)): run for run in what} if all(map(is_run, what)) else None


def _path(run: Any) -> Path:
    return run.path if isinstance(run, StoredRun) else Path(run)


def _of_runs(runs: Mapping[str, Any], landscape: Landscape | None, confidence: float) -> Comparison:
    """Returns how run directories differ from the first."""
    check_share("confidence", confidence)
    if len(runs) < 2:
        raise InputValueError("a comparison needs two different runs or more.")
    for run in runs.values():
        if not isinstance(run, (str, Path, StoredRun)):
            raise InputTypeError(f"a run must be a directory or what jaxgd.open_run returned, got {what_is(run)}.")
    opened = {
        name: run if isinstance(run, StoredRun) else open_run(run, landscape=landscape) for name, run in runs.items()
    }
    first, *others = opened.values()
    for run in others:
        for what in ("landscape_fingerprint", "key", "dtype"):
            if getattr(run.manifest, what) != getattr(first.manifest, what):
                raise InputValueError(
                    f"`{run.path}` and `{first.path}` cannot be compared: their {what.partition('_')[0]}s differ."
                )
    known = first.landscape or landscape
    if known is None:
        raise InputValueError(f"pass the `landscape` of `{first.path}` to say which of its points are the same.")

    num_pairs = min(run.num_whole for run in opened.values())
    if num_pairs == 0:
        raise InputValueError("there is no start that all of these runs have done.")
    sides = [
        Side(name, run.manifest.optimizer, run.ends[:num_pairs], run.points[:num_pairs]) for name, run in opened.items()
    ]
    return compared(known, sides, confidence)


def _descended(
    landscape: Landscape,
    optimizers: Any,
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    stop: Stop | None = None,
    is_noisy: bool = False,
    confidence: float = 0.95,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Runs the descents of every optimizer from the same starts, and compares them."""
    arms = _by_name(optimizers)
    for optimizer in arms.values():
        as_optimizer(optimizer, landscape)  # an error comes before anything is descended

    sides = []
    with interruptible() as told:
        for name, optimizer in arms.items():
            if told.count:
                raise InputValueError(f"interrupted before `{name}` had begun; there is nothing to compare yet.")
            found = survey(
                landscape,
                optimizer,
                num_starts,
                key=key,
                starts=starts,
                stop=stop,
                is_noisy=is_noisy,
                confidence=confidence,
                engine=engine,
                progress=_told_of(name, progress),
            )
            assert found.ends is not None
            assert found.points is not None
            sides.append(Side(name, found.optimizer, found.ends, found.points))
    num_pairs = min(len(side.ends) for side in sides)
    sides = [side._replace(ends=side.ends[:num_pairs], points=side.points[:num_pairs]) for side in sides]
    return compared(landscape, sides, confidence)


_descended.__name__ = "compare"  # in errors
_of_descents = front_door(_descended)


def _told_of(name: str, progress: Progress | None) -> Any:
    """Returns a progress function that says which optimizer is at work."""
    return False if progress is None else lambda phase, done, total: progress(f"{name}, {phase}", done, total)


def _by_name(optimizers: Any) -> dict[str, Any]:
    """Returns the optimizers by name.

    Raises:
      InputTypeError: they are not a dictionary by name or a list of written names.
      InputValueError: there are fewer than two.
    """
    if isinstance(optimizers, str) or (hasattr(optimizers, "init") and hasattr(optimizers, "update")):
        raise InputValueError("a comparison needs two optimizers or more; jaxgd.survey runs a single one.")
    if isinstance(optimizers, (list, tuple)) and all(isinstance(each, str) for each in optimizers):
        optimizers = {each: each for each in optimizers}
    if not isinstance(optimizers, Mapping) or not all(isinstance(name, str) for name in optimizers):
        raise InputTypeError(
            '`optimizers` must be a dictionary such as {"sgd": "sgd(0.01)", "adam": optax.adam(0.01)} or a list of'
            f" written names, got {what_is(optimizers)}."
        )
    if len(optimizers) < 2:
        raise InputValueError(
            f"a comparison needs two different optimizers or more, got {len(optimizers)}; jaxgd.survey runs a single"
            " one."
        )
    return dict(optimizers)
