"""Deep networks on the digits, with skip connections and normalisation to switch on and off.

One set of parameters, two functions: without its skip connections a residual network is a plain one with the same
weights, so that the two can be compared from the same starts.
"""

import jax
import jax.numpy as jnp

from jaxgd.base import Array, Key, Landscape, Params, Stop
from jaxgd.landscapes import checks
from jaxgd.landscapes.digits import ACTIVATIONS, GAINS, NUM_CLASSES, NUM_IMAGES, NUM_PIXELS, training_loss

NORMALISATION_FLOOR = 1e-5
"""Added to the variance of a unit over the batch, as in Ioffe and Szegedy (2015)."""


def digits_network(
    depth: int = 3,
    width: int = 16,
    *,
    connections: str = "residual",
    normalisation: str = "none",
    activation: str = "relu",
    weight_scale: float = 1.0,
    l2: float = 1e-3,
    num_images: int = NUM_IMAGES,
    batch_size: int = 64,
) -> Landscape:
    """Returns the training loss of a deep classifier of 8 x 8 images of digits, residual or plain.

        value(params) = mean_n cross_entropy(network(image_n), label_n) + l2/2 |params|^2,
        h_0 = W_in image + b_in,   logits = W_out act(h_depth) + b_out,
        branch(h) = V act(W act(h) + b) + c,
        h_k = h_{k-1} + branch_k(h_{k-1}) / sqrt(depth)    ("residual": blocks of the pre-activation form)
        h_k = branch_k(h_{k-1})                            ("plain").

    With `normalisation="batch"` each act(z) is act(scale * (z - mean) / sqrt(variance + 1e-5) + shift), mean and
    variance of every unit over the images at hand: all of them in `value`, the batch in `noisy_value`, whose mean is
    then only nearly `value`. params = {"input": {"weights", "bias"}, "block_1": {"weights_1", "bias_1", "weights_2",
    "bias_2"}, ..., "output": {...}}, weights of shape (inputs, outputs); normalised blocks (and the output) hold
    "scale_..." and "shift_..." too. A depth of k means 2 k + 2 layers of weights.

    Starts: weights N(0, weight_scale^2 gain / inputs), gain 2 for "relu" and "gelu", else 1; biases 0, scales 1. They
    do not depend on `connections`. With "relu" and no penalty, multiplying W and b of a block by a > 0 and dividing V
    by a changes nothing.

    Args:
      depth: number of blocks of two layers, at least 1.
      width: units of each hidden layer, at least 1.
      connections: "residual" or "plain".
      normalisation: "none" or "batch".
      activation: "relu", "tanh", "sigmoid" or "gelu".
      weight_scale: factor of all random weights at the start, above 0; small ones start on a plateau.
      l2: strength of the penalty, at least 0; at 0 there may be no minimum.
      num_images: use the first so many of the 1,797 images.
      batch_size: images in one draw of `noisy_value`, at least 1.

    Raises:
      InputValueError: scikit-learn is not installed; `pip install 'jaxgd[data]'` brings it.

    Example:
      >>> residual, plain = digits_network(), digits_network(connections="plain")
      >>> params = residual.sample(jax.random.key(0))
      >>> sum(leaf.size for leaf in jax.tree.leaves(params))
      2842
      >>> bool(residual.value(params) == plain.value(params))
      False

    References:
      He, Zhang, Ren and Sun, Identity mappings in deep residual networks (ECCV 2016); Ioffe and Szegedy, Batch
      normalization (ICML 2015). The factor 1 / sqrt(depth) keeps the variance bounded without normalisation.
    """
    depth = checks.integer("depth", depth, at_least=1)
    width = checks.integer("width", width, at_least=1)
    is_residual = checks.choice("connections", connections, ("residual", "plain")) == "residual"
    is_normalised = checks.choice("normalisation", normalisation, ("none", "batch")) == "batch"
    act = ACTIVATIONS[checks.choice("activation", activation, tuple(ACTIVATIONS))]
    weight_scale = checks.real("weight_scale", weight_scale, above=0)
    l2 = checks.real("l2", l2, at_least=0)

    def activate(layer: Params, number: int, z: Array) -> Array:
        if is_normalised:
            centred = z - jnp.mean(z, axis=0, keepdims=True)
            spread = jnp.sqrt(jnp.mean(centred**2, axis=0, keepdims=True) + NORMALISATION_FLOOR)
            z = layer[f"scale_{number}"][None, :] * centred / spread + layer[f"shift_{number}"][None, :]
        return act(z)

    def network(params: Params, pixels: Array) -> Array:
        h = pixels @ params["input"]["weights"] + params["input"]["bias"][None, :]
        for number in range(1, depth + 1):
            block = params[f"block_{number}"]
            z = activate(block, 1, h) @ block["weights_1"] + block["bias_1"][None, :]
            branch = activate(block, 2, z) @ block["weights_2"] + block["bias_2"][None, :]
            h = h + branch / depth**0.5 if is_residual else branch
        last = params["output"]
        return activate(last, 1, h) @ last["weights"] + last["bias"][None, :]

    def sample(key: Key) -> Params:
        key_input, key_output, *keys = jax.random.split(key, 2 + 2 * depth)
        scale = lambda inputs: weight_scale * (GAINS[activation] / inputs) ** 0.5
        weights = lambda key, *shape: scale(shape[0]) * jax.random.normal(key, shape)
        zeros = lambda: jnp.zeros((width,))
        adapted = lambda *numbers: (
            {f"scale_{k}": zeros() + 1 for k in numbers} | {f"shift_{k}": zeros() for k in numbers}
            if is_normalised
            else {}
        )

        # Residual blocks, then the layers at both ends.
        blocks = {
            f"block_{number}": {
                "weights_1": weights(keys[2 * number - 2], width, width),
                "bias_1": zeros(),
                "weights_2": weights(keys[2 * number - 1], width, width),
                "bias_2": zeros(),
            }
            | adapted(1, 2)
            for number in range(1, depth + 1)
        }

        output = {"weights": weights(key_output, width, NUM_CLASSES), "bias": jnp.zeros((NUM_CLASSES,))} | adapted(1)
        return {"input": {"weights": weights(key_input, NUM_PIXELS, width), "bias": zeros()}, "output": output} | blocks

    return training_loss(
        "digits_network",
        network,
        sample,
        activation=activation,
        l2=l2,
        num_images=num_images,
        batch_size=batch_size,
        default_optimizer="adam:learning_rate=0.01",
        default_stop=Stop(gradient_norm=1e-5, max_steps=5_000),
    )
