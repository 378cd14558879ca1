"""Many settings of one optimizer on the same starts, in one compiled program.

A hyperparameter is an input of the lane: descent i runs setting i // num_starts from start i % num_starts, with the
keys of that start. Settings are thus compared on paired starts and paired noise, and one compilation serves all.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.base import Ends, Engine, InputTypeError, InputValueError, Key, Landscape, Params, Progress, Stop
from jaxgd.checks import call_checked, check_optimizer
from jaxgd.descend import concatenate, count_starts, launch, with_note_at_start
from jaxgd.face import Face
from jaxgd.front_door import front_door
from jaxgd.lanes.lane import Descent, Event, as_asked


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Sweep(Face):
    """The ends of every setting, on the same starts.

    Attributes:
      settings: the swept hyperparameters of each setting, all combinations.
      ends: the ends of each setting, each in order of start number; the cost is that of the whole sweep.
    """

    settings: list[dict[str, float]]
    ends: list[Ends]

    def __str__(self) -> str:
        lines = []
        for setting, ends in zip(self.settings, self.ends, strict=True):
            name = ", ".join(f"{key}={value:g}" for key, value in setting.items())
            counts = ", ".join(f"{count:,} {status}" for status, count in ends.status_counts().items())
            median = f"median value {np.median(ends.value):.6g}" if len(ends) else "nothing done"
            lines.append(f"{name:<40} {counts}; {median}, {np.mean(ends.num_steps) if len(ends) else 0:.0f} steps")
        return "\n".join(lines)


@front_door
def sweep(
    landscape: Landscape,
    builder: Callable[..., optax.GradientTransformation],
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    stop: Stop | None = None,
    events: Mapping[str, Event] | None = None,
    is_noisy: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
    **hyperparameters: Any,
) -> Sweep:
    """Returns where descents end for every combination of hyperparameters, on paired starts.

    Args:
      landscape: what to descend.
      builder: maps hyperparameters to an optimizer, for example `optax.sgd`; it must take traced scalars.
      num_starts: starts for each setting (>= 1); omit it if `starts` is given.
      key: a key such as `jax.random.key(0)`.
      starts: explicit starts instead, params with one leading axis.
      stop: when a lane stops; the landscape's default if None.
      events: as in `descend`.
      is_noisy: as in `descend`; a start meets the same noise at every setting.
      engine: as in `descend`.
      progress: as in `descend`, counted over all settings.
      **hyperparameters: a list of numbers is swept; any other value is passed to the builder unchanged.

    Raises:
      InputValueError: nothing is swept, or a swept value is not finite.
      InputTypeError: a swept list does not hold numbers.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> bowl = Landscape(value=lambda x: jnp.sum(x**2), sample=lambda k: jax.random.normal(k, (2,)))
      >>> found = sweep(bowl, optax.sgd, 10, key=jax.random.key(0), learning_rate=[0.1, 0.4, 1.1])
      >>> [ends.status_counts() for ends in found.ends]
      [{'converged': 10}, {'converged': 10}, {'diverged': 10}]
    """
    swept = {name: values for name, values in hyperparameters.items() if _is_list(values)}
    fixed = {name: value for name, value in hyperparameters.items() if name not in swept}
    settings = _grid(swept)
    num_starts = count_starts(num_starts, starts)
    columns = {name: jnp.asarray([setting[name] for setting in settings]) for name in swept}

    def optimizer_of(number: jax.Array) -> optax.GradientTransformationExtraArgs:
        mine = {name: column[number // jnp.asarray(num_starts, number.dtype)] for name, column in columns.items()}
        return as_asked(builder(**mine, **fixed))

    name = getattr(builder, "__name__", "the builder")
    for setting in settings:  # the builder rejects invalid values here, before any tracing
        check_optimizer(call_checked(f"`{name}`", functools.partial(builder, **setting, **fixed)))

    descent = Descent(
        landscape=landscape,
        optimizer_of=optimizer_of,
        num_paired=num_starts,
        has_starts=starts is not None,
        stop=stop or landscape.default_stop,
        restart=None,
        events=dict(events or {}),
        is_noisy=is_noisy,
        keeps_best=True,
    )
    ends = concatenate(
        list(
            launch(
                descent,
                num_starts * len(settings),
                key=key,
                starts=starts,
                keep=("params", "best_params"),
                engine=engine,
                progress=progress,
            )
        )
    )

    # Ends are numbered by setting and start.
    setting_of = ends.start_number // num_starts
    ends = replace(ends, start_number=ends.start_number % num_starts, num_starts=num_starts)
    each = [ends[setting_of == place] for place in range(len(settings))]
    return Sweep(settings=settings, ends=[with_note_at_start(own) for own in each])


def _is_list(values: Any) -> bool:
    return isinstance(values, (Sequence, np.ndarray, jax.Array)) and not isinstance(values, str) and np.ndim(values) > 0


def _grid(swept: dict[str, Any]) -> list[dict[str, float]]:
    if not swept:
        raise InputValueError("nothing to sweep: give at least one hyperparameter as a list of numbers.")
    for name, values in swept.items():
        array = np.asarray(values)
        if array.ndim != 1 or array.dtype.kind not in "iuf":
            raise InputTypeError(f"`{name}` must be one list of numbers to be swept, got {values!r}.")
        if array.size == 0 or not np.isfinite(array).all():
            raise InputValueError(f"`{name}` must hold finite numbers, at least one, got {values!r}.")
    combinations = itertools.product(*(np.asarray(values, float).tolist() for values in swept.values()))
    return [dict(zip(swept, combination, strict=True)) for combination in combinations]
