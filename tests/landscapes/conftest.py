"""What the tests of all landscapes share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgd import Landscape


@pytest.fixture
def spectra() -> Callable:
    """Hessian eigenvalues of a batch of points; the Hessian is the Jacobian of the gradient as given."""

    def compute(landscape: Landscape, batch) -> np.ndarray:
        _, restore = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], batch))
        flat = jax.vmap(lambda params: ravel_pytree(params)[0])(batch)
        gradient = lambda vector: ravel_pytree(landscape.gradient(restore(vector)))[0]
        hessians = np.asarray(jax.jit(jax.vmap(jax.jacfwd(gradient)))(flat))
        np.testing.assert_allclose(hessians, hessians.mT, atol=1e-8 * (1 + np.abs(hessians).max()))
        return np.linalg.eigvalsh(hessians)

    return compute


@pytest.fixture
def eigenvalues(spectra) -> Callable:
    """Hessian eigenvalues of one point."""
    return lambda landscape, params: spectra(landscape, jax.tree.map(lambda leaf: leaf[None], params))[0]


@pytest.fixture
def descend() -> Callable:
    """Gradient descent of many starts for a fixed number of steps, none longer than `max_step`."""

    def run(landscape: Landscape, starts, learning_rate: float, num_steps: int, max_step: float = np.inf):
        def step(_, x):
            grad = landscape.gradient(x)
            norm = jnp.sqrt(jnp.sum(grad**2))
            return x - jnp.minimum(learning_rate, max_step / jnp.maximum(norm, 1e-300)) * grad

        return jax.jit(jax.vmap(lambda x: jax.lax.fori_loop(0, num_steps, step, x)))(starts)

    return run
