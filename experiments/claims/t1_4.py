"""T1.4: A subsample's gradient estimates the full one; too small is noisy, too large wasteful, one-class ones mislead.

A network of equinox on 500 digits. First the error of the gradient of random batches, of stratified ones and of ones of
a single class, at many networks, relative to the full gradient. Then the loss that SGD reaches with a fixed number of
images, by batch size: each rate is tuned over 8 values on 8 starts, and all descend from the same further starts.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from experiments.claims.equinox_network import digits_of_equinox
from jaxgd import Stop, experiment
from jaxgd.experiment.arms import tuned, values_at

NUM_IMAGES, SIZES, SMALL, GOOD, LARGE = 500, (1, 4, 16, 64, 500), 1, 16, 500


def measure(options: experiment.Options) -> experiment.Claim:
    """Measures gradients of batches, then descends with each batch size at an equal cost in images."""
    count, epochs = (24, 4) if options.quick else (64, 20)
    losses, rates = {}, {}
    for size in SIZES:
        landscape, loss, digits = digits_of_equinox(size, NUM_IMAGES)
        arm = tuned(
            landscape, optax.sgd, count, rates=np.geomspace(0.003, 3, 8) * size**0.5, num_tuning=8,
            key=jax.random.key(0), stop=Stop(gradient_norm=None, max_steps=epochs * NUM_IMAGES // size),
            is_noisy=size < NUM_IMAGES,
        )  # fmt: skip
        losses[size], rates[size] = values_at(landscape, arm.ends.params), arm.rate
    of_each = jax.jit(jax.vmap(lambda p, k: ravel_pytree(jax.grad(loss)(p, k[None]))[0], in_axes=(None, 0)))
    starts = jax.random.split(jax.random.key(2), count)
    gradients = (np.asarray(of_each(landscape.sample(key), jnp.arange(NUM_IMAGES))) for key in starts)
    return judge([errors_of_batches(each, digits, seed) for seed, each in enumerate(gradients)], losses, rates)


def errors_of_batches(gradients: np.ndarray, digits: np.ndarray, seed: int) -> dict[tuple[str, int], float]:
    """Returns the root mean square error over the norm of the gradient, by kind and size of batches of images."""
    rng, full = np.random.default_rng(seed), gradients.mean(axis=0)
    of_class = [np.flatnonzero(digits == digit) for digit in range(10)]
    pick = {
        "random": lambda size: rng.integers(0, len(digits), size),
        "stratified": lambda size: np.concatenate([rng.choice(own, size // 10) for own in of_class]),
        "one class": lambda size: rng.choice(of_class[rng.integers(10)], size),
    }
    error = lambda draw, size: np.mean([np.sum((gradients[draw(size)].mean(0) - full) ** 2) for _ in range(50)]) ** 0.5
    whole = [("random", 1), *((kind, size) for kind in pick for size in (10, 40, 160))]
    return {(kind, size): error(pick[kind], size) / np.linalg.norm(full) for kind, size in whole}


def judge(errors: list[dict[tuple[str, int], float]], losses: dict[int, Any], rates: dict[int, float]) -> Any:
    """Returns the claim from errors at each network, and the losses at equal cost and tuned rates by batch size."""
    of = lambda kind, size: np.array([error[kind, size] for error in errors])
    ratio = lambda kind, size, other, base: np.log2(of(kind, size) / of(other, base))
    behind = lambda size: np.log2(np.asarray(losses[size]) / np.asarray(losses[GOOD]))
    at_least = {"at_least": 0.0, "source": "the claim"}
    rows = [
        experiment.mean("random batches: exponent of the error by size", ratio("random", 160, "random", 10) / 4,
                        expected=-0.5, tolerance=0.03, source="law of large numbers"),
        experiment.mean("batches of 1: error over the norm of the gradient", of("random", 1), at_least=1.0,
                        source="more noise than signal"),
        experiment.mean(f"batches of {LARGE} (all): log2 of the loss over that of {GOOD}", behind(LARGE), **at_least),
        experiment.mean("one class: log2 of the error of 160 over random 160", ratio("one class", 160, "random", 160),
                        **at_least),
        experiment.mean("one class: exponent of the error by size", ratio("one class", 160, "one class", 10) / 4,
                        at_least=-0.25, source="a bias does not average out"),
        experiment.mean("stratified: log2 of the error of 160 over random 160",
                        ratio("stratified", 160, "random", 160), at_most=0.0, source="the claim"),
        experiment.mean(f"batches of {SMALL}: log2 of the loss over that of {GOOD}", behind(SMALL), is_outside=True,
                        **at_least),
    ]  # fmt: skip
    condition = "noisy is not costly: at equally many images, batches of one image do no worse"
    data = {"errors": errors, "losses": losses, "rates": rates}
    return experiment.stated(__doc__, rows, condition=condition, data=data)


def figure(claim: experiment.Claim) -> Any:
    """Draws errors against size by kind of batch, and losses at equal cost against batch size."""
    errors, losses = claim.data["errors"], claim.data["losses"]
    middle = {size: np.median(loss) for size, loss in losses.items()}
    best = min(middle, key=lambda size: middle[size])
    drawn, (left, right) = experiment.panels(
        f"Errors of random batches fall like 1/sqrt(size), those of one class hardly; batches of {best} learn most"
    )
    for kind in ("random", "stratified", "one class"):
        left.plot((10, 40, 160), [np.median([e[kind, s] for e in errors]) for s in (10, 40, 160)], "o-", label=kind)
    left.set(xscale="log", yscale="log", xlabel="batch size, images", ylabel="error of the gradient / its norm")
    names = [f"{size}\nrate {rate:.2g}" for size, rate in claim.data["rates"].items()]
    right.boxplot(list(losses.values()), tick_labels=names)
    right.set(yscale="log", xlabel="batch size, with its tuned rate", ylabel="loss after equally many images")
    return drawn
