"""A sheet: a sentence, a table and some more sentences, as text for a terminal or as HTML for a notebook or a page."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Cell(NamedTuple):
    """What stands in a table.

    Attributes:
      text: as it is read.
      order: what it is sorted by; a number is set flush right.
    """

    text: str
    order: float | str


def number(value: float, form: str = ".6g") -> Cell:
    """Returns the cell of a number.

    Example:
      >>> number(0.25, ".1%")
      Cell(text='25.0%', order=0.25)
    """
    return Cell(format(value, form), float(value))


def word(text: str) -> Cell:
    """Returns the cell of a text."""
    return Cell(text, text)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A sentence, a table and notes.

    Attributes:
      title: one sentence.
      columns: heads of the columns.
      rows: cells, as many in each row as there are columns.
      notes: further sentences.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: Sequence[Sequence[Cell]] = ()
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Returns the sheet for a terminal.

        Example:
          >>> print(Sheet(title="Two.", columns=("value", "name"), rows=[[number(1.0), word("a")]]).text())
          Two.
            value  name
                1  a
        """
        lines = [self.title]
        if self.rows:
            flush = [isinstance(cell.order, float) for cell in self.rows[0]]
            table = [self.columns, *([cell.text for cell in row] for row in self.rows)]
            widths = [max(len(row[place]) for row in table) for place in range(len(self.columns))]
            for row in table:
                cells = [
                    text.rjust(width) if is_right else text.ljust(width)
                    for text, width, is_right in zip(row, widths, flush, strict=True)
                ]
                lines.append(("  " + "  ".join(cells)).rstrip())
        return "\n".join([*lines, *self.notes])

    def html(self, *, is_sortable: bool = False, caption: str = "") -> str:
        """Returns the sheet as HTML, with styles of its own unless a page's script sorts it."""
        escape = lambda text: html.escape(str(text))
        parts = [] if is_sortable else [f"<p>{escape(self.title)}</p>"]
        if self.rows:
            flush = [isinstance(cell.order, float) for cell in self.rows[0]]
            style = lambda is_right: f' style="text-align:{"right" if is_right else "left"};padding:0 .7em"'
            own = lambda is_right: (' class="number"' if is_right else "") if is_sortable else style(is_right)

            # The head and the body, cell by cell.
            head = "".join(
                f'<th scope="col"{own(is_right)}>{escape(name)}</th>'
                for name, is_right in zip(self.columns, flush, strict=True)
            )
            body = "".join(
                "<tr>"
                + "".join(
                    f'<td{own(is_right)} data-order="{escape(cell.order)}">{escape(cell.text)}</td>'
                    for cell, is_right in zip(row, flush, strict=True)
                )
                + "</tr>"
                for row in self.rows
            )

            kind = ' class="sortable"' if is_sortable else ' style="border-collapse:collapse"'
            said = f"<caption>{escape(caption)}</caption>" if caption else ""
            parts.append(f"<table{kind}>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        parts += [f"<p>{escape(note)}</p>" for note in self.notes]
        return "\n".join(parts)
