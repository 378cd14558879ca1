"""The command line: parses, calls, prints. Progress goes to standard error, results to standard output.

A mistake of the caller is one sentence and exit code 2; Ctrl-C during descents prints what is done, exit code 130.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import click

    from jaxgd.runs import commands
    from jaxgd.runs.progress import ProgressBar
except ImportError as error:  # pragma: no cover
    if error.name not in ("click", "rich"):
        raise
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
@click.option(
    "--compilation-cache", type=click.Path(path_type=Path), help="Keep compiled programs here for later commands."
)
def main(compilation_cache: Path | None) -> None:
    """Where does gradient descent end, what kind of point is that, and what have we not seen?"""
    if compilation_cache is not None:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(compilation_cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@main.command()
@commands.question_options
@commands.run_options
@click.option("--until", type=float, help="Stop when surely no more than this probability is left unseen.")
def survey(
    name: str,
    params: dict[str, str],
    starts: int,
    as_json: bool,
    out: Path | None,
    block: int | None,
    distributed: bool,
    until: float | None,
    **options: Any,
) -> None:
    """Descend landscape NAME from random starts and say where that ends.

    NAME is one of `jaxgd landscapes`, or your own: package.module:attribute or path/to/file.py:attribute. With --out,
    what is done is kept; the same command again goes on with it, as does any number of processes at once.
    """
    commands.start_jax(options["dtype"], options["devices"], is_distributed=distributed)
    question = commands.question_of(name, params, options)
    how = commands.how_of({**options, "block": block})
    if out is not None and until is not None:
        raise click.UsageError("--until does not go with --out; extend the run instead: jaxgd extend DIR --starts N.")
    if out is not None:
        commands.survey_into(out, question, starts, how, as_json)
        return
    import jax

    from jaxgd import survey as run_survey

    with ProgressBar() as show:
        result = run_survey(
            question.landscape, question.optimizer_name, starts, key=jax.random.key(question.seed), stop=question.stop,
            num_devices=how.num_devices, num_lanes=how.num_lanes, layout=how.layout, is_noisy=question.is_noisy,
            keep="catalogue", until=until, progress=show,
        )  # fmt: skip
    found = {"seed": question.seed, **result.to_json()}
    click.echo(json.dumps(found, indent=1, allow_nan=False) if as_json else str(result))
    if len(result.ends) < result.ends.num_starts:
        sys.exit(130)


for command in (commands.resume, commands.extend, commands.merge, commands.plan):
    main.add_command(command)


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
    commands.start_jax("float64")
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


def _print_builders(builders: dict[str, Callable[..., Any]]) -> None:
    from jaxgd import names

    for name, builder in builders.items():
        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        click.echo(f"{name}({names.signature(builder)})\n    {summary}")


if __name__ == "__main__":
    main()
