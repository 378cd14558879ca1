"""What a person writes at the front door: done, or refused in one sentence that says what to write instead."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from click.testing import CliRunner

import jaxgd
from jaxgd import InputTypeError, InputValueError, cli
from jaxgd.experiment import command
from jaxgd.front_door import as_landscape
from jaxgd.progress import in_notebook


def wells(x):
    return jnp.sum((x**2 - 1) ** 2)


BOX = jaxgd.box(-2, 2, dim=2)


@pytest.fixture(scope="module")
def ends():
    return jaxgd.descend(wells, "sgd(0.02)", 40, sample=BOX, seed=0)


def test_a_plain_function_with_a_law_is_surveyed_like_its_landscape():
    landscape = jaxgd.Landscape(value=wells, sample=BOX, name="wells")
    optimizer, stop = optax.sgd(0.02), jaxgd.Stop(max_steps=500)
    plain = jaxgd.survey(wells, optimizer, 40, sample=BOX, seed=3, max_steps=500)
    written = jaxgd.survey(landscape, optimizer, 40, key=jax.random.key(3), stop=stop)
    assert plain.landscape == "wells"
    np.testing.assert_array_equal(plain.ends.params, written.ends.params)
    np.testing.assert_array_equal(plain.catalogue.hits, written.catalogue.hits)


def test_written_optimizers_and_seeds_stand_for_the_objects(ends):
    as_object = jaxgd.descend(wells, optax.sgd(0.02), 40, sample=BOX, key=jax.random.key(0))
    np.testing.assert_array_equal(ends.params, as_object.params)
    by_object = jaxgd.descend(wells, optax.sgd(0.05, momentum=0.5), 5, sample=BOX, seed=0, max_steps=50)
    for words in ("sgd(0.05, momentum=0.5)", "sgd:0.05,momentum=0.5", "sgd:momentum=0.5,learning_rate=0.05"):
        found = jaxgd.descend(wells, words, 5, sample=BOX, seed=0, max_steps=50)
        np.testing.assert_array_equal(found.params, by_object.params)


def test_rules_as_keywords_take_the_place_of_the_rules_of_a_stop(ends):
    stop = jaxgd.Stop(gradient_norm=1e-3, max_steps=7)
    found = jaxgd.descend(wells, "sgd(0.02)", 5, sample=BOX, seed=0, stop=stop, max_steps=3)
    assert (found.stop.gradient_norm, found.stop.max_steps) == (1e-3, 3)


def test_a_grid_of_starts_is_surveyed_and_said_to_be_no_sample():
    found = jaxgd.survey(wells, "sgd(0.02)", starts=jaxgd.grid(-1.5, 1.5, 4, dim=2), seed=0)
    assert len(found.ends) == 16
    assert found.catalogue.hits.tolist() == [4, 4, 4, 4]
    assert "listed, not drawn" in str(found)


def test_the_same_function_and_law_give_the_same_landscape_so_that_programs_are_found_again():
    assert as_landscape(wells, sample=BOX) is as_landscape(wells, sample=jaxgd.box(-2, 2, dim=2))
    assert as_landscape("mueller_brown") is as_landscape("mueller_brown")


def test_landscapes_of_parts_that_pickle_pickle():
    landscape = jaxgd.Landscape(value=wells, sample=jaxgd.normal_like(np.zeros(3)), name="mine")
    again = pickle.loads(pickle.dumps(landscape))
    key = jax.random.key(1)
    np.testing.assert_array_equal(again.sample(key), landscape.sample(key))
    assert again.name == "mine"


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"sample": None}, InputTypeError, r"`wells` is a plain function.*sample=jaxgd.box"),
        ({"sample": np.zeros(3)}, InputTypeError, r"`sample` must be a law of starts"),
        ({"landscape": jaxgd.landscapes.mueller_brown}, InputTypeError, r"builds a landscape: call it"),
        ({"landscape": "muller_brown"}, InputValueError, r"Did you mean `mueller_brown`"),
        ({"landscape": 3.0}, InputTypeError, r"a function of params or a name, got 3.0"),
        ({"landscape": jaxgd.Landscape}, InputTypeError, r"the class `Landscape` itself"),
        ({"stop": 100}, InputTypeError, r"write max_steps=100"),
        ({"stop": 1e-3}, InputTypeError, r"write gradient_norm=0.001"),
        ({"stop": jaxgd.Stop}, InputTypeError, r"write stop=jaxgd.Stop\(\)"),
        ({"max_step": 3}, InputTypeError, r"no argument `max_step`. Did you mean `max_steps`"),
        ({"gradient_norm": True}, InputTypeError, r"`gradient_norm` must be a number, got True"),
        ({"at_event": 3}, InputTypeError, r"`at_event` must be the name of an event"),
        ({"optimizer": optax.adam}, InputTypeError, r"`adam` itself: call it, for example optax.adam"),
        ({"optimizer": 0.1}, InputTypeError, r"`optimizer` must be an optax.GradientTransformation"),
        ({"optimizer": "adm(0.1)"}, InputValueError, r"Did you mean `adam`"),
        ({"optimizer": ""}, InputValueError, r"no optimizer named ``"),
        ({"optimizer": "sgd(nan)"}, InputValueError, r"`learning_rate` must be positive and finite"),
        ({"key": 0, "seed": None}, InputTypeError, r"write seed=0"),
        ({"key": jax.random.key(0)}, InputTypeError, r"either `key` or `seed`"),
        ({"seed": None}, InputTypeError, r"give `seed=0` or `key"),
        ({"seed": -1}, InputValueError, r"`seed` must be at least 0"),
        ({"seed": "0"}, InputTypeError, r"`seed` must be an integer"),
        ({"progress": "yes"}, InputTypeError, r"`progress` must be True, False"),
        ({"events": [1]}, InputTypeError, r"`events` must be a dictionary"),
        ({"restart": 3}, InputTypeError, r"`restart` must be a jaxgd.Restart"),
        ({"landscape": lambda x: np.sin(x).sum()}, InputValueError, r"jax.numpy instead of numpy"),
        ({"landscape": lambda x: x[0] if x[0] > 0 else -x[0]}, InputValueError, r"jax.numpy.where instead of `if`"),
        ({"landscape": lambda x: 0.0}, InputTypeError, r"returns the Python number 0.0"),
    ],
)
def test_a_mistake_is_answered_by_a_sentence_that_says_what_to_write(change, kind, match):
    asked = {"landscape": wells, "optimizer": "sgd(0.02)", "num_starts": 5, "sample": BOX, "seed": 0} | change
    with pytest.raises(kind, match=match):
        jaxgd.descend(**asked)


def test_records_of_another_kind_are_refused_by_name(ends):
    points = jaxgd.classify(wells, ends, sample=BOX)
    with pytest.raises(InputTypeError, match="a function of params or a name, got an Ends"):
        jaxgd.classify(ends, ends)
    with pytest.raises(InputTypeError, match=r"must be what jaxgd.classify returns, got an Ends"):
        jaxgd.catalogue(wells, ends, sample=BOX)
    with pytest.raises(InputTypeError, match="`confidence` must be a number"):
        jaxgd.catalogue(wells, points, sample=BOX, confidence="0.95")


def test_progress_is_shown_where_it_is_asked_for(capsys):
    seen = []
    ask = lambda progress: jaxgd.descend(wells, "sgd(0.02)", 5, sample=BOX, seed=0, progress=progress)
    ask(lambda *said: seen.append(said))
    assert seen[-1] == ("descending", 5, 5)
    for progress in (None, False):
        ask(progress)
    assert capsys.readouterr().err == ""
    assert not in_notebook()


# ------------------------------------------------------------------------------------------------- laws


def test_a_box_draws_within_its_corners_and_grids_list_them(key):
    draws = np.asarray(jax.vmap(jaxgd.box([0, 10], [1, 30]))(jax.random.split(key, 1000)))
    assert np.all(draws >= np.array([0, 10]))
    assert np.all(draws <= np.array([1, 30]))
    np.testing.assert_allclose(draws.mean(axis=0), [0.5, 20], atol=0.8)  # four standard errors
    points = np.asarray(jaxgd.grid([0, 10], [1, 30], 3))
    assert points.shape == (9, 2)
    np.testing.assert_array_equal(points[[0, 1, -1]], [[0, 10], [0, 20], [1, 30]])


def test_normal_starts_have_the_shape_and_spread_that_were_asked_for(key):
    params = {"w": jnp.full((2, 3), 5.0), "b": jnp.zeros(3, jnp.float32)}
    draws = jax.vmap(jaxgd.normal_like(params, 0.5, is_around=True))(jax.random.split(key, 2000))
    assert draws["b"].dtype == jnp.float32
    np.testing.assert_allclose(draws["w"].mean(axis=0), 5, atol=4 * 0.5 / 2000**0.5)
    np.testing.assert_allclose(draws["w"].std(), 0.5, rtol=0.03)


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda: jaxgd.box(2, -2), InputValueError, "`low` must be below `high`"),
        (lambda: jaxgd.box("0", 1), InputTypeError, "`low` must be a number or a list"),
        (lambda: jaxgd.box(0, np.inf), InputValueError, "`high` must be finite"),
        (lambda: jaxgd.box([0, 0], [1, 1], dim=3), InputValueError, "must agree on the number of coordinates"),
        (lambda: jaxgd.normal_like(3), InputTypeError, "`params` must be floating-point arrays"),
        (lambda: jaxgd.normal_like(np.zeros(2), -1), InputValueError, "`scale` must be one positive number"),
        (lambda: jaxgd.grid(0, 1, 1), InputValueError, "`num` must be at least 2"),
        (lambda: jaxgd.grid(0, 1, 100, dim=9), InputValueError, "has more than"),
    ],
)
def test_laws_refuse_what_cannot_be_meant(call, kind, match):
    with pytest.raises(kind, match=match):
        call()


# ------------------------------------------------------------------------------------------- command line


@pytest.fixture
def call(monkeypatch):
    monkeypatch.setattr(command, "start_jax", lambda dtype, num_devices: None)  # the tests have started jax already
    return lambda *words: CliRunner().invoke(cli.main, [str(word) for word in words])


def test_a_plain_function_on_the_command_line_takes_its_law_from_beside_it(call, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import jaxgd\ndef value(x): return ((x**2 - 1) ** 2).sum()\nsample = jaxgd.box(-2, 2, dim=1)\n")
    result = call("survey", f"{path}:value", "--starts", 8, "--optimizer", "sgd(0.02)", "--max-steps", 300)
    assert result.exit_code == 0, result.output
    assert "8 minimum" in result.stdout
    path.write_text("def value(x): return ((x**2 - 1) ** 2).sum()\n")
    result = call("survey", f"{path}:value")
    assert result.exit_code == 2
    assert "define `sample` beside it" in result.stderr


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("--optimizer sgd(0.1) --optimizer adam(0.1)", "given twice"),
        ("--optimizer=sgd(0.1) --optimizer=adam(0.1)", "given twice"),
        ("--optimizer=", "no optimizer named"),
        ("--optimizer sgd:learning_rate=nan", "must be positive and finite"),
        ("--out=", "the path is empty"),
        (f"--out {'x' * 5000}", "too long"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(call, words, match):
    result = call("survey", "mueller_brown", "--starts", 3, *words.split())
    assert result.exit_code == 2, result.output
    assert match in result.stderr
    assert "Traceback" not in result.stderr
