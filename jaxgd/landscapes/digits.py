"""The training loss of a classifier of the handwritten digits that ship inside scikit-learn."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, InputValueError, Key, Landscape, Params, Stop, Symmetry
from jaxgd.landscapes import checks

NUM_IMAGES, NUM_PIXELS, NUM_CLASSES = 1797, 64, 10
NUM_PROBES = 32
"""Networks are compared by what they answer to so many images."""

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "gelu": jax.nn.gelu}
GAINS = {"relu": 2.0, "tanh": 1.0, "sigmoid": 1.0, "gelu": 2.0}
"""Inputs times the variance of a weight at the start: He's for what is zero on one side, else LeCun's."""


def training_loss(
    name: str,
    network: Callable[[Params, Array], Array],
    sample: Callable[[Key], Params],
    *,
    activation: str,
    l2: float,
    num_images: int,
    batch_size: int,
    default_optimizer: str,
    default_stop: Stop,
) -> Landscape:
    """Returns the mean cross entropy of a network over the digits, plus l2/2 |params|^2.

    Args:
      name: of the landscape.
      network: maps (params, (n, 64) pixels in [0, 1]) to (n, 10) logits.
      sample: draws params.
      activation: of the hidden units; with "tanh" their signs are a symmetry, too.
      l2: strength of the penalty, checked by the caller.
      num_images: use the first so many of the 1,797 images.
      batch_size: images in one draw of `noisy_value`, at least 1.
      default_optimizer: as in `Landscape`.
      default_stop: as in `Landscape`.

    Raises:
      InputValueError: scikit-learn is not installed, or a number is out of range.
    """
    num_images = checks.integer("num_images", num_images, at_least=1, at_most=NUM_IMAGES)
    batch_size = checks.integer("batch_size", batch_size, at_least=1)
    images, labels = (array[:num_images] for array in _digits())

    def loss(params: Params, pixels: Array, targets: Array) -> Array:
        log_probability = jax.nn.log_softmax(network(params, pixels))
        penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return l2 / 2 * penalty - jnp.sum(targets * log_probability) / pixels.shape[0]

    def data(params: Params) -> tuple[Array, Array]:
        dtype = jax.tree.leaves(params)[0].dtype
        return jnp.asarray(images, dtype), jnp.asarray(labels, dtype)

    def noisy_value(params: Params, key: Key) -> Array:
        pixels, targets = data(params)
        batch = jax.random.randint(key, (batch_size,), 0, num_images)
        return loss(params, pixels[batch], targets[batch])

    return Landscape(
        name=name,
        value=lambda params: loss(params, *data(params)),
        sample=sample,
        noisy_value=noisy_value,
        symmetry=Symmetry(
            name="permutations of hidden units" + (" and their signs" if activation == "tanh" else ""),
            invariants=lambda params: network(params, data(params)[0][:NUM_PROBES]).ravel(),
        ),
        default_optimizer=default_optimizer,
        default_stop=default_stop,
    )


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels in [0, 1], shape (1797, 64), and labels as rows of the identity, shape (1797, 10)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputValueError("the digits ship inside scikit-learn: pip install 'jaxgd[data]'.") from error
    pixels, digits = load_digits(return_X_y=True)
    return pixels / 16, np.eye(NUM_CLASSES)[digits]
