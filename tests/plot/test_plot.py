"""Figures: each draws what the result says, in one language, on a given axis or a new one, without any display."""

import io
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure

import jaxgd
from jaxgd import InputTypeError, InputValueError, Verdict, plot
from jaxgd.plot.style import ARMS, DASHES, LOOKS
from jaxgd.statistics import compare_laws, survival_curve


def wells(x):
    return jnp.sum((x**2 - 1) ** 2)


BOX = jaxgd.box(-2, 2, dim=2)


@pytest.fixture(scope="module")
def found():
    return jaxgd.survey(wells, "sgd(0.02)", 60, sample=BOX, seed=0, max_steps=112, progress=False)


@pytest.fixture(scope="module")
def comparison():
    arms = {"sgd": "sgd(0.02)", "momentum": "sgd(0.02, momentum=0.9)", "short": "sgd(0.01)"}
    return jaxgd.compare(wells, arms, 50, sample=BOX, seed=0, progress=False)


@pytest.fixture(scope="module")
def results(found, comparison):
    draw = np.random.default_rng(0)
    size = np.array([4.0, 8, 16, 32, 64])
    steps = np.arange(5)
    dwell = jaxgd.dwell_by_index(wells, "sgd(0.02)", 5, sample=BOX, seed=0, num_steps=20)
    return {
        "waterfall": found,
        "weights": found,
        "value_against_index": found,
        "unseen": found,
        "survival": {"sgd": survival_curve([1, 2, 3], [True, True, False]), "adam": survival_curve([2], [True])},
        "dwell": dwell,
        "spectrum": draw.normal(size=30),
        "compare": comparison,
        "shares": comparison,
        "surface": draw.normal(size=(5, 5)),
        "scaling": compare_laws(size, 2 * size**1.5),
        "trajectories": (steps, draw.normal(size=(7, 5))),
    }


@pytest.mark.parametrize("name", sorted(set(plot.__all__) - {"overview", "fitting", "basins"}))
def test_each_figure_draws_on_the_given_axis_names_both_and_saves_as_pdf(results, name):
    axis = Figure().add_subplot()
    assert getattr(plot, name)(results[name], axis) is axis
    assert axis.get_xlabel()
    assert axis.get_ylabel()
    out = io.BytesIO()
    axis.figure.savefig(out, format="pdf")
    assert len(out.getvalue()) < 200_000
    assert getattr(plot, name)(results[name]).figure is not None


def test_the_waterfall_shows_every_finite_end_in_order_of_value(found):
    axis = plot.waterfall(found)
    line = axis.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), (np.arange(60) + 0.5) / 60)
    assert np.all(np.diff(line.get_ydata()) >= 0)
    shown = {text.get_text().partition(" (")[0] for text in axis.get_legend().get_texts()}
    assert shown == set(found.points.verdict_counts())


def test_a_wide_range_of_values_is_drawn_by_its_logarithm(found):
    values = np.concatenate([np.linspace(0, 1, 50), [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e9, 1e9, 1e9]])
    ends = jaxgd.Ends(**{**vars(found.ends), "value": values})
    assert plot.waterfall(ends).get_yscale() == "log"
    assert plot.waterfall(ends, scale="linear").get_yscale() == "linear"


def test_weights_show_the_intervals_of_the_catalogue(found):
    axis = plot.weights(found)
    drawn = [line.get_xdata() for line in axis.lines if len(line.get_xdata()) == 2]
    seen = found.catalogue
    np.testing.assert_allclose(drawn[: len(seen)], np.stack([seen.weight_low, seen.weight_high], axis=1))


def test_unseen_ends_at_the_number_that_is_known(found):
    seen = plot.unseen(found).lines[0]
    assert seen.get_xdata()[-1] == 60
    assert seen.get_ydata()[-1] == len(found.catalogue)


def test_basins_colour_each_start_by_the_point_that_its_descent_reaches():
    axis = plot.basins(wells, "sgd(0.02)", sample=BOX, num=9, num_paths=2, low=-1.5, high=1.5, max_steps=500)
    entry = axis.collections[0].get_array().reshape(9, 9)
    centre = entry[4, 4]
    corners = entry[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert len(set(corners.tolist())) == 4  # a basin each
    assert centre not in corners  # the maximum, where a descent stays
    with pytest.raises(InputValueError, match=r"params of shape \(2,\)"):
        plot.basins(wells, sample=jaxgd.box(-1, 1, dim=3))


def test_plot_picks_what_fits_and_says_where_nothing_does(found, comparison):
    assert list(plot.fitting(found)) == ["waterfall", "weights", "unseen"]
    assert len(found.plot().axes) == len(plot.overview(found).axes) == 3
    for result in (found.ends, found.points, found.catalogue, comparison):
        assert result.plot().axes
    swept = jaxgd.sweep(wells, optax.sgd, 4, sample=BOX, key=jax.random.key(0), learning_rate=[0.01, 0.02])
    assert len(swept.plot().axes[0].lines) == 2
    with pytest.raises(InputValueError, match="nothing to draw"):
        found.points[:0].plot()


def test_looks_are_told_apart_without_colour():
    assert set(LOOKS) == set(Verdict)
    assert len({shape for _, shape in LOOKS.values()}) == len(LOOKS)
    assert len(ARMS) == len(set(map(str, DASHES)))


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda found: plot.spectrum(np.eye(3)), InputValueError, "one list of finite numbers"),
        (lambda found: plot.spectrum(np.array([1j])), InputTypeError, "list of eigenvalues"),
        (lambda found: plot.dwell(found), InputTypeError, r"jaxgd.dwell_by_index returns, got Survey"),
        (lambda found: plot.compare(found), InputTypeError, r"jaxgd.compare returns, got Survey"),
        (lambda found: plot.surface(np.zeros((2, 3))), InputValueError, "must be a square grid"),
        (lambda found: plot.scaling(found), InputTypeError, "compare_laws returns, got Survey"),
        (lambda found: plot.waterfall(found, scale="x"), InputValueError, "`scale` must be"),
        (lambda found: plot.survival({}), InputValueError, "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_answered_by_a_sentence(found, call, kind, match):
    with pytest.raises(kind, match=match):
        call(found)


def test_a_missing_matplotlib_is_named(found, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputValueError, match=r"pip install 'jaxgd\[plot\]'"):
        plot.weights(found)
