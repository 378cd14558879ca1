"""A small neural network on the handwritten digits that ship inside scikit-learn."""

import jax
import jax.numpy as jnp

from jaxgd.base import Array, Key, Landscape, Params, Stop
from jaxgd.landscapes import checks
from jaxgd.landscapes.digits import ACTIVATIONS, GAINS, NUM_CLASSES, NUM_IMAGES, NUM_PIXELS, training_loss


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
      >>> print(f"{network.value(silent):.4f} {jnp.log(10):.4f}")  # ten classes, no idea
      2.3026 2.3026

    References:
      Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998);
      LeCun, Bottou, Orr and Mueller, Efficient BackProp (1998).
    """
    widths = tuple(checks.integer("widths", width, at_least=1) for width in checks.sequence("widths", widths))
    activate = ACTIVATIONS[checks.choice("activation", activation, ("tanh", "relu"))]
    l2 = checks.real("l2", l2, above=0)
    sizes = (NUM_PIXELS, *widths, NUM_CLASSES)

    def network(params: Params, pixels: Array) -> Array:
        *hidden, last = (params[f"layer_{number}"] for number in range(1, len(sizes)))
        for layer in hidden:
            pixels = activate(pixels @ layer["weights"] + layer["bias"][None, :])
        return pixels @ last["weights"] + last["bias"][None, :]

    def sample(key: Key) -> Params:
        return {
            f"layer_{number}": {
                "weights": (GAINS[activation] / inputs) ** 0.5 * jax.random.normal(key_layer, (inputs, outputs)),
                "bias": jnp.zeros((outputs,)),
            }
            for number, (inputs, outputs, key_layer) in enumerate(
                zip(sizes[:-1], sizes[1:], jax.random.split(key, len(sizes) - 1), strict=True), start=1
            )
        }

    return training_loss(
        "digits_mlp",
        network,
        sample,
        activation=activation,
        l2=l2,
        num_images=num_images,
        batch_size=batch_size,
        default_optimizer="lbfgs:memory_size=10,max_step=1.0",
        default_stop=Stop(gradient_norm=1e-6, max_steps=20_000),
    )
