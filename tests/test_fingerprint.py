"""Fingerprints follow what is computed, and nothing else; they are pinned for each jax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.fingerprint import descent_fingerprint, landscape_fingerprint

# of the descent below; the same on Python 3.11, 3.12 and 3.13
PINNED = {"0.9.2": "78b9d3475bf29f53f5dfa48b64366a47", "0.12.0.1": "1203ff1023b04021bbe14d7dccd4c621"}


def with_data(data, scale=1.0):
    return jaxgd.Landscape(
        value=lambda x: scale * jnp.sum((x - data) ** 2), sample=lambda key: jax.random.normal(key, (500,))
    )


def test_the_fingerprint_of_a_descent_is_pinned():
    if jax.__version__ not in PINNED:
        pytest.skip(f"no fingerprint was stored for jax {jax.__version__}")
    landscape = jaxgd.landscapes.lennard_jones(num_atoms=4)
    assert descent_fingerprint(landscape, jaxgd.transforms.lbfgs(), False)[:32] == PINNED[jax.__version__]


def test_other_words_for_the_same_computation_have_the_same_fingerprint():
    mine = jaxgd.Landscape(
        value=lambda position: jnp.sum(position**2), sample=lambda k: jax.random.normal(k, (3,)), name="mine"
    )

    def value(x):
        """Returns a sum of squares."""
        squares = x**2
        return jnp.sum(squares)

    yours = jaxgd.Landscape(value=value, sample=lambda key: jax.random.normal(key, (3,)))
    assert landscape_fingerprint(mine) == landscape_fingerprint(yours)
    optimizers = optax.sgd(0.1), optax.chain(optax.sgd(0.1))
    assert descent_fingerprint(mine, optimizers[0], False) == descent_fingerprint(yours, optimizers[1], False)


def test_data_numbers_starts_symmetry_and_optimizer_are_all_part_of_it():
    data = np.arange(500.0)
    base = with_data(data)
    same = jaxgd.Landscape(value=base.value, sample=base.sample)
    others = [
        with_data(data + (np.arange(500) == 250)),
        with_data(data, scale=1.5),
        jaxgd.Landscape(value=base.value, sample=lambda key: jax.random.uniform(key, (500,))),
        jaxgd.Landscape(value=base.value, sample=base.sample, symmetry=jaxgd.Symmetry(name="flip", invariants=jnp.abs)),
        jaxgd.Landscape(value=base.value, sample=base.sample, value_and_grad=lambda x: (base.value(x), x)),
    ]
    prints = [landscape_fingerprint(each) for each in (base, *others)]
    assert landscape_fingerprint(same) == prints[0]
    assert len(set(prints)) == len(prints)
    descents = [descent_fingerprint(base, optimizer, False) for optimizer in (optax.sgd(0.1), optax.sgd(0.2))]
    assert len(set(descents)) == 2
