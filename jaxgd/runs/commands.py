"""The commands that speak of run directories, and the options that they share with `jaxgd survey`."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click


def _parameter(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Reads --param k=v; a whole text is one argument, so that v may hold commas."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"is written name=value, got `{text}`.")
        if name in given:
            raise click.BadParameter(f"`{name}` is given twice.")
        given[name] = value
    return given


_STOP = (
    click.option("--max-steps", type=click.IntRange(0, 2**31 - 2), help="Updates after which a descent is given up."),
    click.option("--gradient-norm", type=float, help="Gradient norm at which a descent has converged."),
)
_DEVICES = click.option("--devices", type=click.IntRange(1), help="Devices to share the work; all if left out.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_TRUST = click.option("--trust", is_flag=True, help="Import the code of its own that the run names.")
_DISTRIBUTED = click.option(
    "--distributed", is_flag=True, help="Let jax join the processes of a cluster first; TPU slices need it."
)
_DIRECTORY = click.argument("directory", type=click.Path(path_type=Path))
_QUESTION = (
    click.argument("name"),
    click.option(
        "--param", "params", multiple=True, callback=_parameter, help="Argument of the landscape, k=v; repeatable."
    ),
    click.option(
        "--optimizer", help="For example sgd:learning_rate=0.005; the landscape's default if left out."
    ),
    click.option(
        "--starts", default=1000, show_default=True, type=click.IntRange(1, 2**31 - 2), help="Random starts."
    ),
    *_STOP,
    click.option(
        "--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Of all random numbers."
    ),
    click.option("--dtype", default="float64", show_default=True, type=click.Choice(["float64", "float32"])),
    _DEVICES,
    click.option(
        "--lanes", type=click.IntRange(1, 2**20), help="Descents that step together on a device; measured if left out."
    ),
    click.option("--layout", type=click.Choice(["lanes_first", "lanes_last"]), help="Measured if left out."),
    click.option(
        "--noisy", is_flag=True, help="Descend random draws of the landscape's noisy value (minibatches)."
    ),
    _JSON,
)  # fmt: skip


def with_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a decorator that gives a command these options, in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


question_options = with_options(*_QUESTION)
run_options = with_options(
    click.option("--out", type=click.Path(path_type=Path), help="Run directory to write to, or to go on with."),
    click.option("--block", type=click.IntRange(1), help="Starts that a process does at a time in a run directory."),
    _DISTRIBUTED,
)


def start_jax(dtype: str, devices: int | None = None, *, is_distributed: bool = False) -> None:
    """Sets what must be set before jax computes anything; joins the cluster that jax detects, if so asked.

    A process that may use some of the machine's cores only can still be asked for as many devices as there are cores.

    Raises:
      InputValueError: jax detects no cluster.
    """
    from jaxgd.experiment import command
    from jaxgd.experiment.printing import num_cores

    command.start_jax(dtype, num_devices=devices and max(num_cores(), min(devices, os.cpu_count() or 1)))
    if is_distributed:
        from jaxgd.launch import join

        join()


def question_of(name: str, params: dict[str, str], options: dict[str, Any]) -> Any:
    """Returns the question that a command line asks.

    Raises:
      InputValueError, InputTypeError: it names nothing, or a stop rule that cannot be meant.
    """
    from jaxgd.runs.question import Question

    bare = Question(
        landscape_name=name, params=params, optimizer_name="", stop=None, seed=options["seed"],  # type: ignore[arg-type]
        dtype=options["dtype"], is_noisy=options["noisy"],
    )  # fmt: skip
    optimizer = options["optimizer"] or bare.landscape.default_optimizer
    question = bare.with_optimizer(optimizer, _stop(bare.landscape.default_stop, options))
    assert question.optimizer  # what is refused is refused here
    return question


def _stop(default: Any, options: dict[str, Any]) -> Any:
    asked = {name: options[name] for name in ("gradient_norm", "max_steps") if options[name] is not None}
    return dataclasses.replace(default, **asked)


def how_of(options: dict[str, Any]) -> Any:
    """Returns what a command line chooses about a run."""
    import jax

    from jaxgd.runs.carry import How

    return How(
        layout=options.get("layout"), num_lanes=options.get("lanes"), block_size=options.get("block"),
        num_devices=options["devices"] or jax.local_device_count(),
    )  # fmt: skip


def survey_into(directory: Path, question: Any, num_starts: int, how: Any, as_json: bool) -> None:
    """Begins, goes on with or extends a run, and prints the survey of its arm."""
    from jaxgd.runs.carry import begin
    from jaxgd.runs.work import signals

    with signals() as told:
        with ThreadPoolExecutor(1) as pool:  # beside the main thread, whose signals stay ours
            _, arm = pool.submit(begin, directory, question, num_starts, how).result()
        _carry_on(directory, {arm: question}, told, how.num_devices, as_json)


def _carry_on(directory: Path, questions: dict[int, Any], told: Any, num_devices: int, as_json: bool) -> None:
    from jaxgd.runs.carry import Stopped, carry_on
    from jaxgd.runs.manifest import read_manifest
    from jaxgd.runs.progress import ProgressBar

    try:
        with ProgressBar() as show:
            surveys = carry_on(directory, questions, told, num_devices, show)
    except Stopped as stopped:
        click.echo(f"jaxgd: {stopped}", err=True)
        sys.exit(128 + told.number)
    if surveys is None:
        click.echo(f"jaxgd: all descents are in `{directory}`; another process reports them.", err=True)
        return
    _print(read_manifest(directory), surveys, as_json)


def _print(manifest: Any, surveys: dict[int, Any], as_json: bool) -> None:
    from jaxgd.runs.result import arm_json

    if as_json:
        found = [arm_json(manifest, surveys[arm]) for arm in sorted(surveys)]
        click.echo(json.dumps(found[0] if len(found) == 1 else {"arms": found}, indent=1, allow_nan=False))
    else:
        click.echo("\n\n\n".join(str(surveys[arm]) for arm in sorted(surveys)))


def _open(
    directory: Path, devices: int | None, is_trusted: bool, is_distributed: bool = False
) -> tuple[Any, dict[int, Any]]:
    """Starts jax as a run needs it, and returns its manifest and the questions of its arms."""
    from jaxgd.runs.carry import check_same
    from jaxgd.runs.manifest import read_manifest
    from jaxgd.runs.question import Question

    manifest = read_manifest(directory)
    start_jax(manifest.dtype, devices, is_distributed=is_distributed)
    first = Question.of(manifest, manifest.arms[0], is_trusted=is_trusted)
    check_same(directory, first, manifest)
    questions = {}
    for number, arm in enumerate(manifest.arms):
        Question.of(manifest, arm, is_trusted=is_trusted)
        questions[number] = first.with_optimizer(arm.optimizer, arm.stop)
    return manifest, questions


def _check_code(directory: Path, manifest: Any, questions: dict[int, Any]) -> None:
    from jaxgd.base import InputValueError
    from jaxgd.runs.question import arm_differences

    for number, question in questions.items():
        unlike = arm_differences(question, manifest.arms[number])
        if unlike:
            raise InputValueError(f"`{directory}` cannot be gone on with ({'; '.join(unlike)}).")


@click.command()
@with_options(_DIRECTORY, _DEVICES, _TRUST, _DISTRIBUTED, _JSON)
def resume(directory: Path, devices: int | None, trust: bool, distributed: bool, as_json: bool) -> None:
    """Do what is missing of the run in DIRECTORY, and report it; any number of processes may."""
    from jaxgd.runs.work import signals

    manifest, questions = _open(directory, devices, trust, distributed)
    _check_code(directory, manifest, questions)
    with signals() as told:
        _carry_on(directory, questions, told, how_of({"devices": devices}).num_devices, as_json)


@click.command()
@with_options(
    _DIRECTORY,
    click.option("--starts", type=click.IntRange(1, 2**31 - 2), help="Starts of every arm, or of the new one."),
    click.option("--optimizer", help="Add this optimizer as a new arm on the same starts."),
    *_STOP, _DEVICES, _TRUST, _JSON,
)  # fmt: skip
def extend(
    directory: Path, starts: int | None, optimizer: str | None, trust: bool, as_json: bool, **options: Any
) -> None:
    """Give the run in DIRECTORY more starts or another optimizer, and do what is missing then."""
    from jaxgd.base import InputValueError
    from jaxgd.runs.manifest import add_arm, add_starts, find_arm
    from jaxgd.runs.pilot import new_arm
    from jaxgd.runs.work import signals

    manifest, questions = _open(directory, options["devices"], trust)
    _check_code(directory, manifest, questions)
    how, most = how_of(options), max(arm.num_starts[-1] for arm in manifest.arms)
    if starts is None and optimizer is None:
        raise InputValueError("say what to add: `--starts` or `--optimizer`.")
    if starts is not None and optimizer is None and starts < most:
        raise InputValueError(f"`{directory}` holds a run of {most:,} starts; it cannot shrink to {starts:,}.")
    with signals() as told:
        if optimizer is not None:
            question = questions[0].with_optimizer(optimizer, _stop(questions[0].landscape.default_stop, options))
            with ThreadPoolExecutor(1) as pool:
                arm = pool.submit(new_arm, question, starts or most, num_devices=how.num_devices).result()
            number = find_arm(add_arm(directory, arm), arm)
            assert number is not None
            questions.setdefault(number, question)
        elif starts is not None:
            add_starts(directory, None, starts)
        _carry_on(directory, questions, told, how.num_devices, as_json)


@click.command()
@with_options(_DIRECTORY, _TRUST, _JSON)
def merge(directory: Path, trust: bool, as_json: bool) -> None:
    """Judge and report what is in DIRECTORY, finished or not; descends nothing."""
    from jaxgd.base import InputValueError
    from jaxgd.runs.claims import claim
    from jaxgd.runs.result import merge as put_together
    from jaxgd.runs.result import write_result

    manifest, questions = _open(directory, None, trust)
    surveys, runs = put_together(directory, manifest, questions)
    for run in runs:
        for problem in run.problems:
            click.echo(f"jaxgd: {problem}", err=True)
    _print(manifest, surveys, as_json)
    try:
        held = claim(directory, "results")
        if held is not None:
            with held:
                for run in runs:
                    if run.arm in surveys:
                        write_result(run, surveys[run.arm])
    except InputValueError as error:
        click.echo(f"jaxgd: the report was not kept: {error}", err=True)
    if any(not run.is_finished or run.problems for run in runs):
        sys.exit(3)


@click.command()
@with_options(
    *_QUESTION,
    click.option("--processes", default=1, show_default=True, type=click.IntRange(1), help="As fast as this one."),
)
def plan(name: str, params: dict[str, str], starts: int, processes: int, as_json: bool, **options: Any) -> None:
    """Measure for some seconds, and say how long a survey will take, and how much memory and disk."""
    start_jax(options["dtype"], options["devices"])
    from jaxgd.runs.plan import plan as measure

    found = measure(question_of(name, params, options), starts, processes, how_of(options))
    click.echo(json.dumps(found.to_json(), indent=1, allow_nan=False) if as_json else str(found))
