"""One self-contained page of a survey: question, answer, tables that sort, figures, what was not seen, how sure.

Everything is in the one file: the style, the script that sorts tables, and the figures as SVG. It loads nothing.
"""

import io
import re
from pathlib import Path
from typing import Any

from jaxgd.base import InputTypeError, InputValueError, Reason
from jaxgd.plot.overview import fitting
from jaxgd.plot.style import new_figure
from jaxgd.report.reading import WHAT_TO_TRY, read, without_verdict
from jaxgd.report.sheet import Sheet, number, word
from jaxgd.versions import versions

MAX_ROWS = 500
"""Distinct points in the page's table."""

_ALT = {
    "waterfall": "Values of all ends, sorted from lowest to highest, against the share of starts.",
    "weights": "Share of the starts that ended at each distinct point, with intervals.",
    "value_against_index": "Values of the distinct critical points by their index.",
    "unseen": "Number of distinct points seen against starts, and the limits of how it goes on.",
}
_CAPTION = {
    "waterfall": "Each step is one value; its width is the share of starts that ended there.",
    "weights": "Shares of starts with their intervals, lowest value on top.",
    "value_against_index": "Distinct critical points by index and value; larger where more descents ended.",
    "unseen": "Distinct points seen, averaged over orders of the starts, and how many more there may be.",
}


def write_page(found: Any, path: str | Path, *, command: str = "", title: str = "") -> Path:
    """Writes the page of a survey, and returns its path.

    Args:
      found: a `Survey`.
      path: of the HTML file.
      command: what repeats the survey, as it was typed; what the survey itself knows, if it is empty.
      title: of the page.

    Raises:
      InputValueError: jinja2 or matplotlib is not installed, or the file cannot be written.
      InputTypeError: it is no survey.
    """
    if type(found).__name__ != "Survey":
        raise InputTypeError(f"a report is written of a Survey, got {type(found).__name__}.")
    text = page(found, command=command, title=title)
    path = Path(path)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputValueError(f"cannot write to `{path}`: {error.strerror or error}.") from error
    return path


def page(found: Any, *, command: str = "", title: str = "") -> str:
    """Returns the page of a survey as HTML.

    Raises:
      InputValueError: jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise InputValueError("a report needs `pip install 'jaxgd[report]'`.") from error

    template = Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    safe = jinja2.utils.markupsafe.Markup

    points = read(found.catalogue, max_rows=MAX_ROWS)

    return environment.from_string(template).render(
        title=title or f"{found.landscape}, surveyed",
        question=question(found),
        answer=answer(found),
        points=safe(_table(points, "Distinct critical points, lowest value first.")),
        num_left_out=max(len(found.catalogue) - MAX_ROWS, 0),
        figures=[
            {"name": name, "svg": safe(svg), "caption": _CAPTION.get(name, "")} for name, svg in figures(found).items()
        ],
        not_converged=safe(_table(_not_converged(found), "Ends without a verdict, and why.")),
        unseen=_unseen(found),
        notes=[note[0].upper() + note[1:] for note in found.notes],
        command=command or _command(found),
        cost=f"{found.cost.ticks:,} gradient evaluations in {found.cost.seconds_run:.1f} s, after"
        f" {found.cost.seconds_compile:.1f} s to compile; lane occupancy {100 * found.cost.occupancy:.0f} %.",
        versions=versions(),
    )


def question(found: Any) -> str:
    """Returns what was asked."""
    norm = found.stop.gradient_norm
    limit = f"until the gradient norm is {norm:.3g} or less" if norm is not None else "with no limit of the gradient"
    return (
        f"Where does {found.optimizer} end on {found.landscape}, from {found.num_starts:,} starts, in {found.dtype},"
        f" {limit} or {found.stop.max_steps:,} updates are made?"
    )


def answer(found: Any) -> list[str]:
    """Returns the answer in three sentences."""
    seen, num = found.catalogue, found.catalogue.num_descents
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found.verdicts.items())
    first = f"Of {num:,} descents the ends are: {counts}."
    if not len(seen):
        return [first, "No critical point was found.", "So nothing can be said of how many there are."]
    second = (
        f"They are {len(seen):,} distinct critical point{'s' if len(seen) != 1 else ''}; the lowest has the value"
        f" {seen.value[0]:.9g} and {seen.weight[0]:.1%} of the starts ({seen.weight_low[0]:.1%} to"
        f" {seen.weight_high[0]:.1%}, confidence {100 * seen.confidence:g} %)."
    )
    return [first, second, _unseen(found)[0]]


def figures(found: Any) -> dict[str, str]:
    """Returns the figures of a survey as SVG, by name."""
    drawn = {}
    for name, draw in fitting(found).items():
        figure = new_figure(6.0, 3.8)
        draw(found, figure.add_subplot())
        drawn[name] = _svg(figure, name, _ALT.get(name, name))
    return drawn


def _svg(figure: Any, name: str, alt: str) -> str:
    """Returns a figure as an SVG element that fits its place and says what it shows."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(
            out, format="svg", dpi=150, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for old in set(re.findall(r'id="([^"]+)"', text)):  # ids are unique in the page, not only in the figure
        text = text.replace(f'id="{old}"', f'id="{name}-{old}"').replace(f'#{old}"', f'#{name}-{old}"')
        text = text.replace(f"url(#{old})", f"url(#{name}-{old})")
    return text.replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)


def _table(sheet: Sheet, caption: str) -> str:
    shown = Sheet(title=sheet.title, columns=sheet.columns, rows=sheet.rows)
    return shown.html(is_sortable=True, caption=caption) if sheet.rows else ""


def _not_converged(found: Any) -> Sheet:
    """Returns the ends that have no verdict, from the ends where they were kept, else from the counts."""
    if found.ends is not None and found.points is not None:
        return without_verdict(found.ends, found.points, max_rows=100)
    reasons = [(Reason[name.upper()], count) for name, count in found.catalogue.reasons.items()]
    return Sheet(
        title="",
        columns=("ends", "reason", "what to try"),
        rows=[[number(count, ",.0f"), word(reason.sentence()), word(WHAT_TO_TRY[reason])] for reason, count in reasons],
    )


def _unseen(found: Any) -> list[str]:
    """Returns sentences on what was not seen."""
    unseen = found.catalogue.unseen
    if unseen is None:
        return ["No descent ended at a critical point, so that what was not seen cannot be estimated."]
    said = [
        f"One more descent would find a new critical point with probability {unseen.mass:.2g}"
        f" ({unseen.mass_low:.2g} to {unseen.mass_high:.2g})."
    ]
    said.append(f"{unseen.num_singletons:,} of the points were hit once and {unseen.num_doubletons:,} twice.")
    if unseen.num_low >= 1:
        said.append(f"At least {int(unseen.num_low):,} more exist (Chao's lower limit).")
    return said


def _command(found: Any) -> str:
    """Returns what repeats the survey, as far as the survey knows it."""
    return (
        f"jaxgd.survey({found.landscape!r}, {found.optimizer!r}, {found.num_starts}, key=..., stop={found.stop!r},"
        f" engine=jaxgd.{found.engine})"
    )
