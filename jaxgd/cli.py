"""The command line: parses, calls, prints. Progress goes to standard error, results to standard output.

A mistake of the caller is one sentence and exit code 2; Ctrl-C during descents prints what is done, exit code 130.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

try:
    import click
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
except ImportError:  # pragma: no cover
    sys.exit("jaxgd: the command line needs `pip install 'jaxgd[cli]'`.")


class _Commands(click.Group):
    """Commands whose own refusals are printed as one sentence."""

    def invoke(self, context: click.Context) -> Any:
        from jaxgd.base import InputTypeError, InputValueError

        try:
            return super().invoke(context)
        except (InputValueError, InputTypeError) as error:
            click.echo(f"jaxgd: {error}", err=True)
            context.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="jaxgd")
def main() -> None:
    """Where does gradient descent end, what kind of point is that, and what have we not seen?"""


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


@main.command()
@click.argument("name")
@click.option(
    "--param",
    "params",
    multiple=True,
    callback=_parameter,
    help="Argument of the landscape, k=v; repeatable.",
)
@click.option(
    "--optimizer",
    default=None,
    help="For example sgd:learning_rate=0.005; the landscape's default if left out.",
)
@click.option("--starts", default=1000, show_default=True, type=click.IntRange(1, 2**31 - 2), help="Random starts.")
@click.option("--max-steps", type=click.IntRange(0, 2**31 - 2), help="Updates after which a descent is given up.")
@click.option("--gradient-norm", type=float, help="Gradient norm at which a descent has converged.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Of all random numbers.")
@click.option("--dtype", default="float64", show_default=True, type=click.Choice(["float64", "float32"]))
@click.option("--devices", type=click.IntRange(1), help="Devices to share the work; all of them if left out.")
@click.option("--lanes", type=click.IntRange(1), help="Descents that step together on a device; measured if left out.")
@click.option("--layout", type=click.Choice(["lanes_first", "lanes_last"]), help="Measured if left out.")
@click.option("--noisy", is_flag=True, help="Descend random draws of the landscape's noisy value (minibatches).")
@click.option("--out", type=click.Path(), help="Directory to write the ends and a manifest to.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def survey(name: str, params: dict[str, str], **options: Any) -> None:
    """Descend landscape NAME from random starts and say where that ends.

    NAME is one of `jaxgd landscapes`, or your own: package.module:attribute or path/to/file.py:attribute.
    """
    _start_jax(options["dtype"])
    import dataclasses

    import jax

    from jaxgd import names
    from jaxgd import survey as run_survey
    from jaxgd.runs import RunDirectory

    landscape = names.find_landscape(name, {key: names.parse_value(value) for key, value in params.items()})
    optimizer = options["optimizer"] or landscape.default_optimizer
    names.find_optimizer(optimizer)
    asked = {key: options[key] for key in ("gradient_norm", "max_steps") if options[key] is not None}
    stop = dataclasses.replace(landscape.default_stop, **asked)
    num_devices = options["devices"] or len(jax.devices())
    configuration = {
        "landscape": name, "params": params, "optimizer": optimizer, "num_starts": options["starts"],
        "seed": options["seed"], "dtype": options["dtype"], "stop": dataclasses.asdict(stop),
        "is_noisy": options["noisy"],
    }  # fmt: skip
    directory = RunDirectory(options["out"], configuration) if options["out"] else None
    with directory or contextlib.nullcontext(), _progress() as show:
        result = run_survey(
            landscape,
            optimizer,
            options["starts"],
            key=jax.random.key(options["seed"]),
            stop=stop,
            num_devices=num_devices,
            num_lanes=options["lanes"],
            layout=options["layout"],
            is_noisy=options["noisy"],
            on_part=directory.write_part if directory else None,
            progress=show,
        )
    found = {"seed": options["seed"], **result.to_json()}
    is_whole = len(result.ends) == result.ends.num_starts
    if directory:
        directory.finish("finished" if is_whole else "interrupted", found)
    click.echo(json.dumps(found, indent=1, allow_nan=False) if options["as_json"] else str(result))
    if not is_whole:
        sys.exit(130)


@main.command()
def landscapes() -> None:
    """List the built-in landscapes with their arguments."""
    from jaxgd import names

    _print_builders(names.landscape_builders())


@main.command()
def optimizers() -> None:
    """List every builder of jaxgd and optax that --optimizer takes, with its arguments."""
    from jaxgd import names

    builders = names.optimizer_builders()
    _print_builders({name: fn for name, fn in builders.items() if "." in name})
    click.echo("\nA bare name means jaxgd's where both have one. Arguments: NAME:argument=value,argument=value.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Say what this machine computes with, and whether it computes rightly."""
    _start_jax("float64")
    from jaxgd.doctor import doctor as examine

    report = examine()
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        for name, found in report["versions"].items():
            click.echo(f"{name:<12} {found}")
        click.echo(f"{'devices':<12} {', '.join(report['devices'])}")
        click.echo(f"{'threads':<12} {report['num_threads']}")
        verdict = (
            "agrees with exact values" if report["computes_rightly"] else "WRONG: this jax miscompiles (jax#39103)"
        )
        click.echo(f"{'arithmetic':<12} {verdict}")
    if not report["computes_rightly"]:
        sys.exit(1)


def _start_jax(dtype: str) -> None:
    """Sets what must be set before jax computes anything."""
    from jaxgd.experiment.command import start_jax

    start_jax(dtype)


def _print_builders(builders: dict[str, Callable[..., Any]]) -> None:
    from jaxgd import names

    for name, builder in builders.items():
        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        click.echo(f"{name}({names.signature(builder)})\n    {summary}")


class _progress:
    """A progress bar on standard error, where that is a terminal."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._bar.start()
        self._tasks: dict[str, Any] = {}
        return self._show

    def _show(self, phase: str, done: int, total: int) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(phase, total=total)
        self._bar.update(self._tasks[phase], completed=done)

    def __exit__(self, *error: Any) -> None:
        self._bar.stop()
