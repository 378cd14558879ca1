"""Trials are other people's problems: they are run with jax's own settings, not with the strict ones of our tests."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxgd

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def plain_jax() -> Iterator[None]:
    """Runs a test with the promotion rules that people have."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def ask() -> Callable[..., jaxgd.Survey]:
    """A survey of a function, as a stranger asks for it: ask(value, sample, optimizer or None, num_starts, ...)."""

    def asked(
        value: Any, sample: Any, optimizer: Any = None, num_starts: int = 100, seed: int = 0, **more: Any
    ) -> jaxgd.Survey:
        landscape = jaxgd.Landscape(value=value, sample=sample)
        return jaxgd.survey(landscape, optimizer, num_starts, key=jax.random.key(seed), **more)

    return asked


@pytest.fixture
def look() -> Callable[..., jaxgd.Points]:
    """Verdicts at given points: look(value, points), with starts drawn from a normal law unless `sample` is given."""

    def looked(value: Any, points: Any, sample: Any = None) -> jaxgd.Points:
        points = jax.tree.map(jnp.asarray, points) if isinstance(points, dict) else jnp.asarray(points)
        one = jax.tree.map(lambda leaf: leaf[0], points)
        normal = lambda key: jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape, leaf.dtype), one)
        return jaxgd.classify(jaxgd.Landscape(value=value, sample=sample or normal), points)

    return looked
