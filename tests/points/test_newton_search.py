import jax
import numpy as np
import pytest

import jaxgd
from jaxgd import InputValueError, Landscape, landscapes
from jaxgd.points.newton_search import newton_search

WELL = landscapes.product_double_well(dim=2)


def test_points_of_every_index_are_found(key):
    found = np.asarray(newton_search(WELL, 200, key=key))
    np.testing.assert_allclose(found, np.round(found), atol=1e-6)
    assert len(np.unique(np.round(found), axis=0)) == 9


def test_what_does_not_converge_is_left_out(key):
    assert newton_search(WELL, 50, key=key, num_steps=1).shape == (0, 2)


def test_a_symmetry_does_not_hide_its_points(key):
    """The value does not depend on the length, so the Hessian is singular wherever the gradient vanishes."""
    spins = landscapes.spherical_p_spin(dim=4, p=2)
    found = jaxgd.catalogue(spins, jaxgd.classify(spins, newton_search(spins, 100, key=key)))
    assert len(found) == spins.facts.num_critical_points == 8
    assert sorted(found.index) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.slow
def test_params_keep_their_structure(key):
    pair = Landscape(
        value=lambda p: WELL.value(p["x"]) + p["y"] ** 2,
        sample=lambda key: {"x": WELL.sample(key), "y": jax.random.normal(key)},
    )
    found = newton_search(pair, 20, key=key)
    assert found["x"].shape == (len(found["y"]), 2)
    assert jaxgd.classify(pair, found).is_critical().all()


@pytest.mark.parametrize(("name", "bad"), [("num_steps", 0), ("max_move", 0.0), ("gradient_norm", float("nan"))])
def test_what_cannot_be_meant_is_refused(key, name, bad):
    with pytest.raises(InputValueError, match=f"`{name}`"):
        newton_search(WELL, 5, key=key, **{name: bad})
