"""A small neural network on the handwritten digits that ship inside scikit-learn."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, InputValueError, Key, Landscape, Params, Stop, Symmetry
from jaxgd.landscapes import checks

NUM_IMAGES, NUM_PIXELS, NUM_CLASSES = 1797, 64, 10
NUM_PROBES = 32
"""Networks are compared by what they answer to so many images."""

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def digits_mlp(
    widths: tuple[int, ...] = (4,),
    *,
    activation: str = "tanh",
    l2: float = 1e-3,
    num_images: int = NUM_IMAGES,
    batch_size: int = 64,
) -> Landscape:
    """Returns the training loss of a fully connected classifier of 8 x 8 images of digits.

        value(params) = mean_n cross_entropy(network(image_n), label_n) + l2/2 |params|^2,
        network(image) = W_L act(... act(W_1 image + b_1) ...) + b_L,

    with pixels scaled to [0, 1] and params = {"layer_1": {"weights": (64, widths[0]), "bias": (widths[0],)},
    ...}. The penalty covers all parameters: without it the loss of a separable set has no minimum at all,
    and blank pixels, the common offset of the logits, and idle units would be flat directions; with it every
    direction is curved.

    Starts follow LeCun's law: weights N(0, 1 / inputs) (He's, N(0, 2 / inputs), for "relu"), biases 0.
    `noisy_value` takes the mean over `batch_size` images drawn with replacement, whose mean is `value`.

    Permuting the units of a hidden layer, and for "tanh" flipping the signs around a unit, changes nothing.
    Two networks therefore count as the same when they give the same logits to the first 32 images. There is
    no continuous motion, as the penalty fixes the scale of every layer.

    Args:
      widths: units of each hidden layer, at least 1 each; a single number is one layer.
      activation: "tanh" or "relu"; with "relu" the loss has kinks, and curvature is that of the piece.
      l2: strength of the penalty, above 0.
      num_images: use the first so many of the 1,797 images.
      batch_size: images in one draw of `noisy_value`, at least 1.

    Raises:
      InputValueError: scikit-learn is not installed; `pip install 'jaxgd[data]'` brings it.

    Example:
      >>> network = digits_mlp(widths=(4,))
      >>> params = network.sample(jax.random.key(0))
      >>> sum(leaf.size for leaf in jax.tree.leaves(params))
      310
      >>> silent = jax.tree.map(jnp.zeros_like, params)
      >>> print(f"{network.value(silent):.4f} {np.log(10):.4f}")  # ten classes, no idea
      2.3026 2.3026

    References:
      Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998);
      LeCun, Bottou, Orr and Mueller, Efficient BackProp (1998).
    """
    widths = tuple(checks.integer("widths", width, at_least=1) for width in checks.sequence("widths", widths))
    activate = ACTIVATIONS[checks.choice("activation", activation, tuple(ACTIVATIONS))]
    l2 = checks.real("l2", l2, above=0)
    num_images = checks.integer("num_images", num_images, at_least=1, at_most=NUM_IMAGES)
    batch_size = checks.integer("batch_size", batch_size, at_least=1)
    images, labels = (array[:num_images] for array in _digits())
    sizes = (NUM_PIXELS, *widths, NUM_CLASSES)
    gain = 2.0 if activation == "relu" else 1.0

    def network(params: Params, pixels: Array) -> Array:
        *hidden, last = (params[f"layer_{number}"] for number in range(1, len(sizes)))
        for layer in hidden:
            pixels = activate(pixels @ layer["weights"] + layer["bias"][None, :])
        return pixels @ last["weights"] + last["bias"][None, :]

    def loss(params: Params, pixels: Array, targets: Array) -> Array:
        log_probability = jax.nn.log_softmax(network(params, pixels))
        penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return l2 / 2 * penalty - jnp.sum(targets * log_probability) / pixels.shape[0]

    def data(params: Params) -> tuple[Array, Array]:
        dtype = params["layer_1"]["bias"].dtype
        return jnp.asarray(images, dtype), jnp.asarray(labels, dtype)

    def noisy_value(params: Params, key: Key) -> Array:
        pixels, targets = data(params)
        batch = jax.random.randint(key, (batch_size,), 0, num_images)
        return loss(params, pixels[batch], targets[batch])

    def sample(key: Key) -> Params:
        return {
            f"layer_{number}": {
                "weights": (gain / inputs) ** 0.5 * jax.random.normal(key_layer, (inputs, outputs)),
                "bias": jnp.zeros((outputs,)),
            }
            for number, (inputs, outputs, key_layer) in enumerate(
                zip(sizes[:-1], sizes[1:], jax.random.split(key, len(sizes) - 1), strict=True), start=1
            )
        }

    return Landscape(
        name="digits_mlp",
        value=lambda params: loss(params, *data(params)),
        sample=sample,
        noisy_value=noisy_value,
        symmetry=Symmetry(
            name="permutations of hidden units" + (" and their signs" if activation == "tanh" else ""),
            invariants=lambda params: network(params, data(params)[0][:NUM_PROBES]).ravel(),
        ),
        default_optimizer="lbfgs:max_step=1.0",
        default_stop=Stop(gradient_norm=1e-6, max_steps=20_000),
    )


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels in [0, 1], shape (1797, 64), and labels as rows of the identity, shape (1797, 10)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputValueError("`digits_mlp` needs scikit-learn for its images: pip install 'jaxgd[data]'.") from error
    pixels, digits = load_digits(return_X_y=True)
    return pixels / 16, np.eye(NUM_CLASSES)[digits]
