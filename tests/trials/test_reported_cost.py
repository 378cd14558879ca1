"""Reported: judging an end that is far from any critical point cost without limit, and notes promised too much."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.verdicts.problems.outcomes import claimed
from jaxgd import Stop


def untrained(p):
    x = jnp.linspace(-1.0, 1.0, 20)[:, None]
    return jnp.mean((jax.nn.relu(x @ p["w"] + p["b"]) @ p["v"] - jnp.sin(4 * x)) ** 2)


def test_a_far_end_is_undecided(look):
    key = jax.random.split(jax.random.key(0), 3)
    ends = {
        "w": jax.random.normal(key[0], (20, 1, 14)),
        "b": jax.random.normal(key[1], (20, 14)),
        "v": jax.random.normal(key[2], (20, 14, 1)),
    }
    assert not claimed(look(untrained, ends)).any()


def test_a_note_promises_float64_only_where_it_may_tell(ask):
    with jax.enable_x64(False):
        flat = ask(lambda x: jnp.sum(x**4), lambda key: jax.random.normal(key, (2,)), None, 20)
        far = ask(
            lambda x: jnp.sum(jnp.cosh(x)),
            lambda key: 3 + jax.random.normal(key, (2,)),
            None,
            20,
            stop=Stop(max_steps=0),
        )
    for found in (flat, far):
        assert not any("float64 may tell" in note for note in found.points.notes)


def test_descends_is_asked_for_and_not_given(look):
    points = look(lambda x: jnp.sum(x**4), np.zeros((1, 2)))
    assert (points.descends == -1).all()
