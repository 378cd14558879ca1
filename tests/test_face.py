"""What every record shows: ten lines, columns with names in the place of codes, equality, pickling."""

import pickle
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import InputValueError
from jaxgd.report.columns import columns
from jaxgd.report.reading import WHAT_TO_TRY, without_verdict


def wells(x):
    return jnp.sum((x**2 - 1) ** 2)


BOX = jaxgd.box(-2, 2, dim=2)
ASK = dict(sample=BOX, seed=0, max_steps=112, progress=False)


@pytest.fixture(scope="module")
def found():
    return jaxgd.survey(wells, "sgd(0.02)", 60, **ASK)


@pytest.fixture(scope="module")
def records(found):
    swept = jaxgd.sweep(wells, optax.sgd, 4, sample=BOX, key=jax.random.key(0), learning_rate=[0.01, 0.02])
    dwell = jaxgd.dwell_by_index(wells, "sgd(0.02)", 3, sample=BOX, seed=0, num_steps=10)
    return [found, found.ends, found.points, found.catalogue, swept, dwell]


def test_every_record_reads_in_some_ten_lines_with_verdicts_by_name(records):
    for record in records:
        lines = repr(record).splitlines()
        assert 2 <= len(lines) <= 14, repr(record)
        assert max(map(len, lines)) < 300
        assert "array(" not in repr(record)
        assert record._repr_html_().startswith("<p>")
    text = repr(records[0])
    assert "wells by sgd(0.02) in float64" in text
    assert "(1, -1)" in text
    assert "minimum" in text


def test_what_has_no_verdict_is_grouped_with_its_reason_and_what_to_try(found):
    sheet = without_verdict(found.ends, found.points)
    counts = found.points.reason_counts()
    assert counts  # so few steps are not enough for some
    assert sum(row[0].order for row in sheet.rows) == sum(counts.values())
    assert "without a verdict (step limit" in repr(found)
    assert set(WHAT_TO_TRY) == {reason for reason in jaxgd.Reason if reason.sentence()}


def test_more_than_four_coordinates_are_shown_as_the_distance_from_the_best():
    many = jaxgd.survey(wells, "sgd(0.02)", 8, sample=jaxgd.box(-2, 2, dim=5), seed=0, progress=False)
    assert "from the best" in repr(many)
    rows = np.asarray(many.catalogue.params)
    assert f"{np.linalg.norm(rows[1] - rows[0]):.4g}" in repr(many)


def test_empty_records_read_too():
    falling = jaxgd.survey(lambda x: jnp.sum(x), "sgd(0.1)", 5, sample=BOX, seed=0, max_steps=20, progress=False)
    assert "0 distinct critical points" in repr(falling)
    assert "0 judged points" in repr(falling.points[:0])
    assert "Ends of 0 descents" in repr(falling.ends[:0])


def test_columns_have_names_for_codes_and_a_column_for_every_leaf(found):
    ends = columns(found.ends)
    assert set(ends["status"]) == {"converged", "step_limit"}
    assert ends["params"].shape == (60, 2)
    assert set(columns(found.points)["verdict"]) <= {"minimum", "undecided"}
    assert len(columns(found)["weight"]) == len(found.catalogue)


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_dataframe"), ("xarray", "to_xarray")])
def test_a_missing_package_is_named(found, monkeypatch, package, method):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputValueError, match="pip install"):
        getattr(found.ends, method)()


def test_a_data_frame_has_a_column_for_every_coordinate(found):
    pytest.importorskip("pandas")
    table = found.ends.to_dataframe()
    assert list(table.columns[:3]) == ["start_number", "params[0]", "params[1]"]
    assert set(table["status"]) == {"converged", "step_limit"}


def test_results_are_equal_when_all_but_their_cost_is(found):
    again = jaxgd.survey(wells, "sgd(0.02)", 60, **ASK)
    assert again == found
    assert again.ends == found.ends
    assert found != jaxgd.survey(wells, "sgd(0.02)", 60, **(ASK | {"seed": 1}))
    assert found.ends != found.points
    assert replace(found.ends, value=found.ends.value + 1) != found.ends
    nan = replace(found.ends, value=np.full(60, np.nan))
    assert nan == replace(nan, value=np.full(60, np.nan))


def test_results_pickle(records):
    for record in records:
        assert pickle.loads(pickle.dumps(record)) == record
