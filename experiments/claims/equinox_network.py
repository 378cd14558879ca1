"""A network of equinox as a landscape: its arrays are the params, the rest of it stays behind."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd import InputValueError, Landscape


def digits_of_equinox(batch_size: int = 1, num_images: int = 500) -> tuple[Landscape, Any, np.ndarray]:
    """Returns the loss of an equinox network on the digits, the loss on images by number, and all images' digits.

    Args:
      batch_size: images in one draw of `noisy_value`.
      num_images: use the first so many images.

    Raises:
      InputValueError: equinox or scikit-learn is not installed.
    """
    try:
        import equinox as eqx
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputValueError("this needs equinox and scikit-learn: pip install equinox 'jaxgd[data]'.") from error
    pixels, digits = (array[:num_images] for array in load_digits(return_X_y=True))
    pixels, targets = jnp.asarray(pixels / 16), jnp.asarray(np.eye(10)[digits])
    build = lambda key: eqx.partition(eqx.nn.MLP(64, 10, 16, 1, jnp.tanh, key=key), eqx.is_inexact_array)
    static = build(jax.random.key(0))[1]

    def loss(params: Any, which: Any) -> Any:
        logits = jax.vmap(eqx.combine(params, static))(pixels[which])
        return jnp.mean(optax.softmax_cross_entropy(logits, targets[which]))

    landscape = Landscape(
        name="digits_of_equinox",
        value=lambda params: loss(params, jnp.arange(num_images)),
        sample=lambda key: build(key)[0],
        noisy_value=lambda params, key: loss(params, jax.random.randint(key, (batch_size,), 0, num_images)),
    )
    return landscape, loss, digits
