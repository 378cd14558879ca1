"""The command line: parses, calls, prints. Progress goes to standard error, results to standard output.

A usage error is one sentence and exit code 2. After Ctrl-C or SIGTERM the survey of the first so many starts is
printed, with exit code 130 or 143.
"""

import contextlib
import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

try:
    import click

    from jaxgd.progress_bar import ProgressBar
except ImportError as error:  # pragma: no cover
    if error.name not in ("click", "rich"):
        raise
    sys.exit("jaxgd: the command line needs `pip install 'jaxgd[cli]'`.")


class _Command(click.Command):
    """A command that rejects an option given twice, where click would use the last one."""

    def parse_args(self, context: click.Context, words: list[str]) -> list[str]:
        given = [word.partition("=")[0] for word in words]
        for option in self.params:
            is_single = isinstance(option, click.Option) and not option.multiple and not option.is_flag
            if is_single and sum(given.count(name) for name in option.opts) > 1:
                raise click.BadParameter("is given twice.", ctx=context, param=option)
        return super().parse_args(context, words)


class _Commands(click.Group):
    """Commands whose errors are printed as one sentence."""

    command_class = _Command

    def invoke(self, context: click.Context) -> Any:
        from jaxgd.base import InputTypeError, InputValueError

        try:
            return super().invoke(context)
        except (InputValueError, InputTypeError) as error:
            click.echo(f"jaxgd: {error}", err=True)
            context.exit(2)
        except OSError as error:  # a full disk, a name that is too long, an unreadable file
            where = f" `{error.filename}`" if error.filename else ""
            click.echo(f"jaxgd: {error.strerror or error}{where}.", err=True)
            context.exit(2)


def _parameter(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Reads --param k=v; v may contain commas."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"must be written name=value, got `{text}`.")
        if name in given:
            raise click.BadParameter(f"`{name}` is given twice.")
        given[name] = value
    return given


class _Place(click.Path):
    """A path that must not be empty, which would mean the current directory."""

    def convert(self, value: Any, param: Any, context: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            self.fail("the path is empty.", param, context)
        return super().convert(value, param, context)


def _norm(context: click.Context, option: click.Parameter, text: str | None) -> float | str | None:
    """Reads --gradient-norm, a number or the word auto."""
    try:
        return text if text in (None, "auto") else float(text)
    except ValueError as error:
        raise click.BadParameter(f"must be a number or `auto`, got `{text}`.") from error


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a decorator that gives a command these options, in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_STARTS = click.IntRange(1, 2**31 - 2)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_DEVICES = click.option("--devices", type=click.IntRange(1), help="Number of devices to use; all by default.")
_TRUST = click.option("--trust", is_flag=True, help="Allow importing the code outside jaxgd that the run names.")
_DISTRIBUTED = click.option("--distributed", is_flag=True, help="First let jax join the processes of a TPU slice.")
_EXECUTOR = click.option("--executor", help="Workers for the blocks: dask:ADDRESS, loky:N, processes:N or mpi.")
_DIRECTORY = click.argument("directory", type=click.Path(path_type=Path))
_NAME = click.argument("name")
_OPTIMIZER = click.option("--optimizer", help="For example sgd:learning_rate=0.005; the landscape's own by default.")
_QUESTION = (
    _NAME,
    click.option("--param", "params", multiple=True, callback=_parameter, help="Argument of the landscape, k=v."),
    _OPTIMIZER,
    click.option("--starts", default=1000, show_default=True, type=_STARTS, help="Number of random starts."),
    click.option("--max-steps", type=click.IntRange(0, 2**31 - 2), help="Largest number of updates per descent."),
    click.option("--gradient-norm", callback=_norm, help="Gradient norm that counts as converged, or auto."),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Random seed."),
    click.option("--dtype", default="float64", show_default=True, type=click.Choice(["float64", "float32"])),
    click.option("--noisy", is_flag=True, help="Use random draws of the landscape's noisy value (minibatches)."),
    _DEVICES,
    click.option(
        "--lanes", type=click.IntRange(1, 2**20), help="Descents that step together; chosen automatically by default."
    ),
    click.option("--layout", type=click.Choice(["lanes_first", "lanes_last"]), help="Chosen automatically by default."),
    _JSON,
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="jaxgd")
@click.option(
    "--compilation-cache", type=click.Path(path_type=Path), help="Directory in which to keep compiled programs."
)
@click.option("--no-cache", is_flag=True, help="Neither save nor reuse compiled programs.")
@click.pass_context
def main(context: click.Context, compilation_cache: Path | None, no_cache: bool) -> None:
    """Where does gradient descent end, what kind of point is that, and what have we not seen?"""
    if compilation_cache is not None and compilation_cache.exists() and not compilation_cache.is_dir():
        raise click.BadParameter(f"`{compilation_cache}` is not a directory.", param_hint="--compilation-cache")
    context.obj = {"directory": compilation_cache, "is_off": no_cache}


@main.command()
@_options(*_QUESTION)
@click.option("--out", type=_Place(path_type=Path), help="Run directory to create or to continue.")
@click.option("--block", type=click.IntRange(1), help="Starts per block.")
@click.option("--until", type=float, help="Stop when the unseen mass is at most this, with the stated confidence.")
@click.option(
    "--up-to",
    type=click.Choice(["symmetry", "isometry"]),
    default="symmetry",
    show_default=True,
    help="Count points up to the landscape's symmetry, or kinds of points with the same value and spectrum.",
)
@click.option("--tune", is_flag=True, help="Time layouts and numbers of lanes first.")
@_options(_EXECUTOR, _DISTRIBUTED)
@click.option("--plot", type=_Place(path_type=Path), help="Draw the result to this file, .png, .pdf or .svg.")
@click.option("--report", type=_Place(path_type=Path), help="Write the result to this file as an HTML page.")
def survey(name: str, params: dict[str, str], starts: int, as_json: bool, distributed: bool, **options: Any) -> None:
    """Run descents on landscape NAME from random starts and report where they end.

    NAME is one of `jaxgd landscapes`, or your own: package.module:attribute or path/to/file.py:attribute. With --out,
    finished blocks are kept; the same command continues the run, as can any number of processes at the same time.
    """
    pictures = _Pictures(options["plot"], options["report"])
    _start_jax(options["dtype"], options["devices"], is_distributed=distributed)
    how = {"until": options["until"], "up_to": options["up_to"], "block_size": options["block"]}
    _survey(
        _asked(name, params, **options) | how,
        as_json,
        num_starts=starts,
        engine=_engine(**options),
        out=options["out"],
        executor=options["executor"],
        pictures=pictures,
    )


@main.command()
@_options(_DIRECTORY, _DEVICES, _TRUST, _EXECUTOR, _DISTRIBUTED, _JSON)
def resume(directory: Path, as_json: bool, executor: str | None, **options: Any) -> None:
    """Finish the run in DIRECTORY and report it; any number of processes may do so at the same time."""
    asked, run = _found(directory, **options)
    _survey(asked, as_json, num_starts=run.num_starts, engine=_engine(**options), out=directory, executor=executor)


@main.command()
@_options(_DIRECTORY, click.option("--starts", type=_STARTS, required=True, help="Total number of starts."))
@_options(_DEVICES, _TRUST, _EXECUTOR, _JSON)
def extend(directory: Path, starts: int, as_json: bool, executor: str | None, **options: Any) -> None:
    """Add starts to the run in DIRECTORY, finish it and report it."""
    asked, _ = _found(directory, **options)
    _survey(asked, as_json, num_starts=starts, engine=_engine(**options), out=directory, executor=executor)


@main.command()
@_options(_DIRECTORY, _TRUST, _JSON)
def merge(directory: Path, trust: bool, as_json: bool) -> None:
    """Report the run in DIRECTORY as it is, without running descents. Exit code 3 if it is unfinished."""
    from jaxgd.survey import write_result

    asked, run = _found(directory, trust)
    for problem in run.problems:
        click.echo(f"jaxgd: {problem}", err=True)
    found = run.survey()
    _print(found, as_json, seed=asked["written"]["seed"])
    write_result(run.store, found)
    if found.is_interrupted:
        sys.exit(3)


@main.command()
@_options(_DIRECTORY, _TRUST)
@click.option("--to", "page", type=_Place(path_type=Path), help="The page; report.html in DIRECTORY by default.")
@click.option("--plot", type=_Place(path_type=Path), help="Also draw the figures to this file.")
def report(directory: Path, trust: bool, page: Path | None, plot: Path | None) -> None:
    """Write the run in DIRECTORY as a self-contained HTML page, without running descents."""
    pictures = _Pictures(plot, page or directory / "report.html")
    _, run = _found(directory, trust)
    pictures.check()
    found = run.survey()
    num = found.catalogue.num_descents
    pictures.make(dataclasses.replace(found, ends=run.ends[:num], points=run.points[:num]))
    click.echo(f"Wrote {pictures.report}.")


@main.command()
@click.argument("what", nargs=-1, required=True, metavar="NAME | DIRECTORY DIRECTORY...")
@_options(*(option for option in _QUESTION if option is not _NAME and option is not _OPTIMIZER))
@click.option("--optimizer", "optimizers", multiple=True, help="For example sgd:0.01; give two or more.")
@click.option("--plot", type=_Place(path_type=Path), help="Draw the result to this file, .png, .pdf or .svg.")
def compare(
    what: tuple[str, ...], optimizers: tuple[str, ...], as_json: bool, plot: Path | None, **options: Any
) -> None:
    """Compare optimizers on landscape NAME, or runs, with the first one, start by start.

    Runs must share landscape and seed.
    """
    from jaxgd.base import InputValueError
    from jaxgd.compare import compare as run_comparison
    from jaxgd.runs.manifest import read_manifest

    pictures = _Pictures(plot)
    pictures.check()
    if not optimizers:
        _start_jax(read_manifest(Path(what[0])).dtype)
        found = run_comparison(list(what))
    else:
        if len(what) != 1:
            raise InputValueError(f"--optimizer takes one landscape NAME, got {len(what)}.")
        _start_jax(options["dtype"], options["devices"])
        asked = _asked(what[0], optimizer=optimizers[0], **options)
        how = {name: asked[name] for name in ("landscape", "key", "stop", "is_noisy")}
        with _interrupted() as told, ProgressBar() as show:
            found = run_comparison(
                optimizers=list(optimizers),
                num_starts=options["starts"],
                engine=_engine(**options),
                progress=show,
                **how,
            )
    _print(found, as_json)
    pictures.make(found)
    if optimizers and told.count:
        sys.exit(128 + told.number)


@main.command()
@_options(*_QUESTION)
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1), help="Number of processes like this one."
)
@click.option("--block", type=click.IntRange(1), help="Starts per block.")
def plan(name: str, params: dict[str, str], starts: int, processes: int, as_json: bool, **options: Any) -> None:
    """Estimate the time, memory and disk that a survey will take, from a few seconds of it."""
    question = _question(name, params, starts, **options)
    from jaxgd.runs.plan import plan as measure

    _print(measure(question, starts, processes), as_json)


@main.command()
@_options(*_QUESTION)
def tune(name: str, params: dict[str, str], starts: int, as_json: bool, **options: Any) -> None:
    """Time layouts and numbers of lanes on landscape NAME, and print the fastest for --layout and --lanes."""
    engine = _question(name, params, starts, **options, tune=True).engine
    found = {"layout": engine.layout, "num_lanes": engine.num_lanes, "num_devices": engine.num_devices}
    words = f"--layout {engine.layout} --lanes {engine.num_lanes} --devices {engine.num_devices}"
    click.echo(json.dumps(found, indent=1) if as_json else f"Fastest: {engine}\nRepeat with {words}")


@main.command()
@click.argument("name")
@click.option("--param", "params", multiple=True, callback=_parameter, help="Argument of the landscape, k=v.")
@click.option("--low", required=True, help="Lower corner of the box: one number, or comma-separated coordinates.")
@click.option("--high", required=True, help="Upper corner of the box.")
@click.option("--max-boxes", default=200_000, show_default=True, type=click.IntRange(1, 2**31 - 2))
@_JSON
def prove(name: str, params: dict[str, str], low: str, high: str, max_boxes: int, as_json: bool) -> None:
    """Prove which critical points landscape NAME has in a box; undecided regions are reported."""
    _start_jax("float64")
    from jaxgd import names
    from jaxgd.proof.front import prove as run_proof

    corners = [names.parse_value(text) for text in (low, high)]
    with ProgressBar() as show:
        found = run_proof(names.written_landscape(name, params), *corners, max_boxes=max_boxes, progress=show)
    _print(found, as_json)
    if found.is_interrupted:
        sys.exit(130)


@main.command()
@click.argument("name")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Parameters by name: .npz or .safetensors.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--tier", type=click.Choice(["full", "cheap"]), default="full", show_default=True)
@_JSON
def diagnose(name: str, checkpoint: Path | None, dtype: str, seed: int, tier: str, as_json: bool) -> None:
    """Find out why the loss of a trained model has stopped falling, and what to change.

    NAME, package.module:attribute or path/to/file.py:attribute, is a dict with the arguments of `jaxgd.diagnose`
    ("model", "loss", "data", "optimizer", ...), or a function that returns one.
    """
    _start_jax(dtype)
    from jaxgd.diagnose.command import diagnosed

    found = diagnosed(name, checkpoint, seed, tier)
    _print(found, as_json)


@main.command()
def landscapes() -> None:
    """List the built-in landscapes with their arguments."""
    from jaxgd import names

    _print_builders(names.landscape_builders())


@main.command()
def optimizers() -> None:
    """List the optimizers of jaxgd and optax for --optimizer, with their arguments."""
    from jaxgd import names

    builders = names.optimizer_builders()
    _print_builders({name: fn for name, fn in builders.items() if "." in name})
    click.echo(
        "\nA bare name means jaxgd's if both have one of that name. Arguments: NAME:argument=value,argument=value."
    )


@main.command()
@_JSON
def doctor(as_json: bool) -> None:
    """Show versions and devices of this machine, and check that it computes correctly."""
    _start_jax("float64")
    from jaxgd.doctor import as_text
    from jaxgd.doctor import doctor as examine

    report = examine()
    click.echo(json.dumps(report, indent=1) if as_json else as_text(report))
    if not report["computes_rightly"]:
        sys.exit(1)


# ------------------------------------------------------------------------------------------------- helpers


def _start_jax(dtype: str, devices: int | None = None, *, is_distributed: bool = False) -> None:
    """Applies the settings that jax needs before it computes anything.

    A process limited to some of the machine's cores may still use as many devices as the machine has cores.
    """
    from jaxgd.experiment import command
    from jaxgd.experiment.printing import num_cores

    cache = click.get_current_context().find_root().obj
    if cache["is_off"]:
        import jax

        jax.config.update("jax_enable_compilation_cache", False)
    else:
        from jaxgd.caches import READS_QUIETLY, keep_programs

        if READS_QUIETLY or cache["directory"] is not None:
            keep_programs(cache["directory"])
    command.start_jax(dtype, num_devices=devices and max(num_cores(), min(devices, os.cpu_count() or 1)))
    if is_distributed:
        from jaxgd.launch import join

        join()


def _asked(
    name: str, params: dict[str, str], *, optimizer: str | None, seed: int, noisy: bool, stop: Any = None, **rules: Any
) -> dict[str, Any]:
    """Returns the arguments of `jaxgd.survey` for a command line."""
    import jax

    from jaxgd import names

    landscape = names.written_landscape(name, params)
    optimizer = landscape.default_optimizer if optimizer is None else optimizer
    if stop is None:
        given = {rule: rules[rule] for rule in ("gradient_norm", "max_steps") if rules[rule] is not None}
        stop = dataclasses.replace(landscape.default_stop, **given)
    written = {"landscape": name, "params": params, "optimizer": optimizer, "seed": seed}
    key = jax.random.key(seed)
    return dict(landscape=landscape, optimizer=optimizer, key=key, stop=stop, is_noisy=noisy, written=written)


def _question(name: str, params: dict[str, str], starts: int, **options: Any) -> Any:
    """Starts jax, and returns the question of `plan` or `tune`."""
    _start_jax(options["dtype"], options["devices"])
    from jaxgd.blocks import make_question

    asked = _asked(name, params, **options)
    del asked["written"]
    return make_question(num_starts=starts, engine=_engine(**options), block_size=options.get("block"), **asked)


def _engine(
    devices: int | None, layout: str | None = None, lanes: int | None = None, tune: bool = False, **others: Any
) -> Any:
    import jax

    from jaxgd.base import Engine

    return Engine(layout=layout, num_lanes=lanes, tune=tune, num_devices=devices or jax.local_device_count())


def _found(directory: Path, trust: bool, devices: int | None = None, distributed: bool = False) -> Any:
    """Starts jax as a run requires; returns the arguments of `jaxgd.survey` for it, and the run."""
    from jaxgd.base import InputValueError
    from jaxgd.names import is_foreign
    from jaxgd.runs.stored import open_run

    run = open_run(directory)
    there, written = run.manifest, run.manifest.written
    if written is None:
        raise InputValueError(
            f"`{directory}` was begun from Python with a landscape object;"
            f" call jaxgd.survey(..., out={str(directory)!r}) with it again to continue the run."
        )
    for name in (written["landscape"], written["optimizer"]):
        if not trust and is_foreign(name):
            raise InputValueError(
                f"this run names code outside jaxgd, `{name}`, which would be executed; if you trust it, add `--trust`"
                " or repeat the command that began the run."
            )
    _start_jax(there.dtype, devices, is_distributed=distributed)
    asked = _asked(
        written["landscape"],
        written["params"],
        optimizer=written["optimizer"],
        seed=written["seed"],
        noisy=there.is_noisy,
        stop=there.stop,
    )
    return asked, dataclasses.replace(run, given_landscape=asked["landscape"])


class _Pictures(NamedTuple):
    """Files for figure and report of a survey, checked before anything is computed."""

    plot: Path | None = None
    report: Path | None = None

    def check(self) -> None:
        """Checks that the files can be written."""
        from jaxgd.base import InputValueError
        from jaxgd.plot.style import new_figure

        if self.plot is not None or self.report is not None:
            kinds = new_figure().canvas.get_supported_filetypes()
            if self.plot is not None and self.plot.suffix[1:].lower() not in kinds:
                raise InputValueError(f"`{self.plot}` must end in .png, .pdf or .svg.")
        for path in self:
            if path is not None and not path.absolute().parent.is_dir():
                raise InputValueError(f"there is no directory `{path.absolute().parent}` to write to.")

    def make(self, found: Any) -> None:
        """Writes the files."""
        if self.plot is not None:
            found.plot().savefig(self.plot, dpi=200)
        if self.report is not None:
            found.report(self.report, command=shlex.join(["jaxgd", *sys.argv[1:]]))


@contextlib.contextmanager
def _interrupted() -> Iterator[Any]:
    """Yields the record of signals; an error after one of them is no usage error."""
    from jaxgd.base import InputValueError
    from jaxgd.interrupt import interruptible

    with interruptible() as told:
        try:
            yield told
        except InputValueError as error:
            if not told.count:
                raise
            click.echo(f"jaxgd: {error}", err=True)
            sys.exit(128 + told.number)


def _survey(asked: dict[str, Any], as_json: bool, pictures: _Pictures | None = None, **how: Any) -> None:
    """Runs a survey and prints it."""
    from jaxgd.survey import survey as run_survey
    from jaxgd.workers import find_executor

    pictures = pictures or _Pictures()
    pictures.check()
    how["executor"] = how["executor"] and find_executor(how["executor"])
    how["keep"] = "ends" if any(pictures) else "catalogue"
    with _interrupted() as told, ProgressBar() as show:
        found = run_survey(**asked, **how, progress=show)
    _print(found, as_json, seed=asked["written"]["seed"])
    pictures.make(found)
    if told.count:
        if how["out"] is not None:
            click.echo(f"jaxgd: `jaxgd resume {how['out']}` continues this run.", err=True)
        sys.exit(128 + told.number)


def _print(found: Any, as_json: bool, **first: Any) -> None:
    """Prints a result as text, or as one JSON object that begins with the given fields."""
    click.echo(json.dumps({**first, **found.to_json()}, indent=1, allow_nan=False) if as_json else str(found))


def _print_builders(builders: dict[str, Callable[..., Any]]) -> None:
    from jaxgd import names

    for name, builder in builders.items():
        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        click.echo(f"{name}({names.signature(builder)})\n    {summary}")


if __name__ == "__main__":
    main()
