"""Is a digits network without a penalty, at zero loss, on a valley, and how sharp is it along it?

The squared loss of a tanh network on a few digits can be made zero. Where it is, the Hessian is J' J, with J the
derivative of all outputs, and the minima through a point have as many dimensions as there are parameters beyond the
rank of J (if that does not change nearby). jaxgd is not told so: it judges the ends of descents by walks. Along the
valley the loss stays zero, but the sharpness (largest curvature) and the error on other digits change: how much,
beside what they differ by from end to end? Beyond 1,024 parameters the same is asked of a network of some 1e5, by
products of its Hessian alone.
"""

import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from jaxgd import Landscape, Verdict, experiment
from jaxgd.experiment import Claim, Statistic
from jaxgd.landscapes.digits import _digits

NUM_IMAGES, WIDTHS, NUM_CLASSES = 12, (4,), 4  # four hidden units can make no more than five outputs independent
LARGE_IMAGES, LARGE_WIDTHS = 64, (500, 130)
STOP = jaxgd.Stop(gradient_norm=1e-10, max_steps=60_000)


def digits(num_classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Returns (n, 64) pixels and (n, num_classes) rows of the identity, of the digits below `num_classes`."""
    pixels, labels = _digits()
    is_in = np.argmax(labels, axis=1) < num_classes
    return pixels[is_in], labels[is_in, :num_classes]


def network(params: Any, pixels: Any) -> Any:
    """Returns (n, classes) outputs."""
    for layer in params[:-1]:
        pixels = jnp.tanh(pixels @ layer["weights"] + layer["bias"][None, :])
    return pixels @ params[-1]["weights"] + params[-1]["bias"][None, :]


def landscape_of(num_images: int, widths: tuple[int, ...], num_classes: int) -> Landscape:
    """Returns the mean squared error of a network on the first digits."""
    pixels, targets = (jnp.asarray(array[:num_images]) for array in digits(num_classes))
    sizes = (64, *widths, num_classes)

    def sample(key: Any) -> Any:
        layer = lambda key, inputs, outputs: {
            "weights": jax.random.normal(key, (inputs, outputs)) / inputs**0.5,
            "bias": jax.random.normal(jax.random.fold_in(key, 1), (outputs,)) / 10,
        }
        keys = jax.random.split(key, len(sizes) - 1)
        return [layer(*each) for each in zip(keys, sizes[:-1], sizes[1:], strict=True)]

    return Landscape(
        value=lambda params: jnp.mean(jnp.sum((network(params, pixels) - targets) ** 2, axis=1)) / 2, sample=sample
    )


def rank_of(params: Any) -> int:
    """Returns the rank of the derivative of all outputs."""
    pixels = jnp.asarray(digits(NUM_CLASSES)[0][:NUM_IMAGES])
    rows = jax.tree.leaves(jax.jacobian(lambda params: network(params, pixels).ravel())(params))
    return int(
        np.linalg.matrix_rank(
            np.concatenate([np.reshape(leaf, (NUM_IMAGES * NUM_CLASSES, -1)) for leaf in rows], axis=1)
        )
    )


def sharpness_and_error(landscape: Landscape, places: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the largest curvature at each place, and the share of other digits that are told wrongly there."""
    pixels, targets = (jnp.asarray(array[NUM_IMAGES:]) for array in digits(NUM_CLASSES))

    def at(params: Any) -> tuple[Any, Any]:
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        gradient = jax.grad(lambda x: landscape.value(unravel(x)))
        power = lambda _, v: (lambda image: image / jnp.linalg.norm(image))(jax.jvp(gradient, (flat,), (v,))[1])
        vector = jax.lax.fori_loop(0, 200, power, jnp.ones_like(flat))
        is_wrong = jnp.argmax(network(params, pixels), axis=1) != jnp.argmax(targets, axis=1)
        return vector @ jax.jvp(gradient, (flat,), (vector,))[1], jnp.mean(is_wrong)

    return jax.tree.map(np.asarray, jax.jit(lambda rows: jax.lax.map(at, rows))(places))


def measure(options: experiment.Options) -> Claim:
    """Returns the dimension of valleys at zero loss, and sharpness and error along them."""
    num_ends, num_steps = (3, 6) if options.quick else (12, 60)
    landscape = landscape_of(NUM_IMAGES, WIDTHS, NUM_CLASSES)
    ends = jaxgd.descend(landscape, jaxgd.transforms.lbfgs(max_step=1.0), num_ends, key=jax.random.key(0), stop=STOP)
    points = jaxgd.classify(landscape, ends)
    zero = np.flatnonzero((np.asarray(points.value) < 1e-18) & (np.asarray(ends.status) == int(jaxgd.Status.CONVERGED)))
    points = points[zero]
    num_params = sum(leaf[0].size for leaf in jax.tree.leaves(points.params))
    ranks = [rank_of(jax.tree.map(lambda leaf, i=i: leaf[i], points.params)) for i in range(len(zero))]
    is_told = (points.verdict == int(Verdict.MINIMUM)) & (points.dimension >= 0)
    is_wrong = is_told & (points.dimension != num_params - np.array(ranks))
    rows: list[Statistic] = [
        experiment.exactly("ends at zero loss", len(zero), expected=1, relation="at_least", num_descents=num_ends),
        experiment.exactly(
            f"of these told another dimension than {num_params} less the rank of J",
            int(is_wrong.sum()),
            expected=0,
            source="H = J' J",
            num_descents=num_ends,
        ),
    ]

    # Sharpness along walks, and from end to end.
    walk = jaxgd.walk_valley(landscape, points, num_steps, key=jax.random.key(1), step_length=0.5)
    experiment.note(str(walk))
    rows += [
        experiment.exactly(
            "steps along valleys that were taken",
            int(walk.num_steps.sum()),
            expected=int(is_told.sum()) * num_steps,
            num_descents=len(zero),
        ),
        experiment.exactly("ends that were told to lie on a valley", int(is_told.sum()), num_descents=len(zero)),
        experiment.exactly("largest loss on the walks", float(np.max(walk.value)), expected=0, tolerance=1e-20),
    ]
    places = jax.tree.map(lambda leaf: jnp.asarray(leaf.reshape(-1, *leaf.shape[2:])), walk.params)
    sharpness, error = (found.reshape(walk.value.shape) for found in sharpness_and_error(landscape, places))
    spread = lambda values: float(np.std(np.log(values)))
    rows += [
        experiment.exactly("spread of the logarithm of sharpness, end to end", spread(sharpness[:, 0])),
        experiment.exactly("the same along walks", float(np.mean([spread(one) for one in sharpness]))),
        experiment.exactly("error on other digits, mean of the ends", float(error[:, 0].mean())),
        experiment.exactly("error on other digits, last places of the walks", float(error[:, -1].mean())),
    ]
    if not options.quick:
        rows += _large()
    return Claim(
        name="valleys.digits",
        claim="A digits network at zero loss lies on a valley, whose dimension is the number of parameters less the "
        "rank of the derivative of its outputs; along it the loss stays zero.",
        rows=rows,
        data={"sharpness": sharpness, "error": error, "length": np.cumsum(walk.length, axis=1)},
    )


def _large() -> list[Statistic]:
    """Returns what products alone say of a network of some 1e5 parameters."""
    landscape = landscape_of(LARGE_IMAGES, LARGE_WIDTHS, 10)
    begin = time.process_time()
    ends = jaxgd.descend(landscape, jaxgd.transforms.lbfgs(max_step=1.0), 1, key=jax.random.key(0), stop=STOP)
    trained = time.process_time()
    points = jaxgd.classify(landscape, ends)
    judged = time.process_time()
    experiment.note("\n".join((str(points.verdict_counts()), *points.notes)))
    num_params = sum(leaf[0].size for leaf in jax.tree.leaves(points.params))
    own = f"{num_params:,} parameters"
    return [
        experiment.exactly(f"{own}: loss at the end", float(points.value[0]), expected=0, tolerance=1e-18),
        experiment.exactly(f"{own}: is called a minimum", int(points.verdict[0] == int(Verdict.MINIMUM)), expected=1),
        experiment.exactly(
            f"{own}: lower limit of the dimension",
            int(points.dimension[0]),
            relation="at_most",
            tolerance=1,
            expected=num_params,
            source="more than parameters less outputs only if J lacks rank",
        ),
        experiment.exactly(f"{own}: dimension if J has full rank", num_params - 10 * LARGE_IMAGES),
        experiment.exactly(f"{own}: CPU seconds to train", trained - begin),
        experiment.exactly(f"{own}: CPU seconds to judge", judged - trained),
    ]


def figure(result: Claim) -> Any:
    """Returns sharpness and error on other digits along the walks."""
    drawn, (left, right) = experiment.panels(
        "Along a valley of zero loss the network's sharpness and its error on other digits drift, the loss does not"
    )
    for along, sharpness, error in zip(*(result.data[name] for name in ("length", "sharpness", "error")), strict=True):
        left.plot(along, sharpness, lw=1)
        right.plot(along, error, lw=1)
    left.set(xlabel="units of length walked", ylabel="largest curvature", yscale="log", title="sharpness")
    right.set(xlabel="units of length walked", ylabel="share told wrongly", title="other digits")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
