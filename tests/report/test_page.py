"""The page of a survey: self-contained, small, readable by machines as by people."""

import json
import sys
from html.parser import HTMLParser

import jax.numpy as jnp
import pytest
from click.testing import CliRunner

import jaxgd
from jaxgd import InputTypeError, InputValueError, cli
from jaxgd.experiment import command
from jaxgd.report.page import write_page
from jaxgd.report.sheet import Sheet, word


def wells(x):
    return jnp.sum((x**2 - 1) ** 2)


class Reader(HTMLParser):
    """Collects tags, and checks that they are closed in order."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def found():
    box = jaxgd.box(-2, 2, dim=2)
    return jaxgd.survey(wells, "sgd(0.02)", 60, sample=box, seed=0, max_steps=112, progress=False)


def read(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_a_page_is_whole_small_and_loads_nothing(found, tmp_path):
    path = found.report(tmp_path / "page.html", command="jaxgd survey <mine> & more", title="Wells <b>")
    text = path.read_text()
    page = read(text)
    assert path.stat().st_size < 1_000_000
    for tag in ("img", "link", "iframe"):
        assert not page.all(tag)
    assert all("src" not in script for script in page.all("script"))
    assert all(use["xlink:href"].startswith("#") for use in page.all("use"))
    assert "Wells &lt;b&gt;" in text
    assert "jaxgd survey &lt;mine&gt; &amp; more" in text
    assert len(page.ids) == len(set(page.ids))


def test_a_page_can_be_read_without_seeing_it(found, tmp_path):
    page = read(found.report(tmp_path / "page.html").read_text())
    figures = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(figures) == 3
    assert all(len(svg["aria-label"]) > 20 for svg in figures)
    assert all(head.get("scope") == "col" for head in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert page.all("table")
    assert len(page.all("caption")) == len(page.all("table"))


def test_a_page_says_the_numbers_of_the_survey(found, tmp_path):
    text = found.report(tmp_path / "page.html").read_text()
    seen = found.catalogue
    assert f"{len(seen):,} distinct critical points" in text
    for row in range(len(seen)):
        assert f"{seen.weight_low[row]:.4f} to {seen.weight_high[row]:.4f}" in text
    for reason in found.points.reason_counts():
        assert jaxgd.Reason[reason.upper()].sentence() in text
    assert "in float64" in text


def test_a_survey_that_found_nothing_has_a_page_too(tmp_path):
    box = jaxgd.box(-2, 2, dim=2)
    found = jaxgd.survey(lambda x: jnp.sum(x), "sgd(0.1)", 5, sample=box, seed=0, max_steps=20, progress=False)
    assert "No critical point was found." in found.report(tmp_path / "page.html").read_text()


def test_what_cannot_be_written_is_answered_by_a_sentence(found, tmp_path, monkeypatch):
    with pytest.raises(InputTypeError, match="got Ends"):
        write_page(found.ends, tmp_path / "page.html")
    with pytest.raises(InputValueError, match="cannot write to"):
        found.report(tmp_path / "nowhere" / "page.html")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputValueError, match=r"pip install 'jaxgd\[report\]'"):
        found.report(tmp_path / "page.html")


def test_a_sheet_escapes_what_it_is_given():
    text = Sheet(title="<a>", columns=("<b>",), rows=[[word('<c> "')]], notes=["<d>"]).html()
    assert not any(tag in text for tag in ("<a>", "<b>", "<c>", "<d>"))


def test_the_command_line_draws_and_reports(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "start_jax", lambda dtype, num_devices: None)  # the tests have started jax already
    call = lambda *words: CliRunner().invoke(cli.main, [str(word) for word in words])
    run, figure, page = tmp_path / "run", tmp_path / "figure.png", tmp_path / "page.html"
    ask = ("survey", "styblinski_tang", "--param", "dim=2", "--optimizer", "sgd(0.005)", "--starts", 30)
    result = call(*ask, "--out", run, "--plot", figure, "--report", page, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["num_descents"] == 30
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert "4 distinct critical points" in page.read_text()
    result = call("report", run)
    assert result.exit_code == 0, result.output
    assert "4 distinct critical points" in (run / "report.html").read_text()

    for bad, match in (("figure.xyz", "must end in"), ("nowhere/figure.png", "no directory")):
        result = call(*ask, "--plot", tmp_path / bad)
        assert result.exit_code == 2
        assert match in result.stderr
