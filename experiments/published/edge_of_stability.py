r"""The sharpness of full-batch gradient descent rises to 2 over the step and stays there.

Cohen, Kaur, Li, Kolter, Talwalkar 2021 (arXiv 2103.00065), on other data: a tanh network of one hidden layer of 16
units, squared error on the first 200 digits of scikit-learn (labels as unit vectors), starts by LeCun's law, steps
2/20, 2/40 and 2/80, 4,000, 8,000 and 16,000 steps, seed 0. Sharpness is the largest eigenvalue of the Hessian, by 60
power steps from the vector before, shifted so that the most negative eigenvalue cannot take over, at 200 places along
each descent. "At the edge" is a mean sharpness times step over the last quarter between 1.9 and 2.3; the rise is timed
in units of steps times step. A second group with a step at which 2/step is far above any sharpness on the way stays
below, which shows that it is the step that decides.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import jaxgd
from experiments.published.rows import Table, estimate, mean, share, stated
from jaxgd import experiment

STEPS = (2 / 20, 2 / 40, 2 / 80)
SMALL = 2 / 2_000
TIME = 400.0  # steps times step
NUM_LOOKS, NUM_POWER = 200, 60
NUM_STARTS = 64


def network() -> tuple[Any, Any]:
    """Returns the loss of flat parameters, and the law of their starts."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = images[:200] / 16.0, np.eye(10)[labels[:200]]
    landscape = jaxgd.landscapes.digits_mlp(widths=(16,), num_images=200)
    _, restore = ravel_pytree(landscape.sample(jax.random.key(0)))

    def loss(flat: jax.Array) -> jax.Array:
        params = restore(flat)
        hidden = jnp.tanh(jnp.asarray(images) @ params["layer_1"]["weights"] + params["layer_1"]["bias"][None])
        out = hidden @ params["layer_2"]["weights"] + params["layer_2"]["bias"][None]
        return jnp.sum((out - jnp.asarray(labels)) ** 2) / (2 * 200)

    return loss, lambda key: ravel_pytree(landscape.sample(key))[0]


def trained(rate: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (num, looks) loss and sharpness along gradient descent."""
    loss, sample = network()
    gradient = jax.grad(loss)
    between = int(round(TIME / rate / NUM_LOOKS))

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_x, key_v = jax.random.split(key)
        x = sample(key_x)

        def look(carry: Any, _: None) -> Any:
            x, v = carry
            x = jax.lax.fori_loop(0, between, lambda i, x: x - rate * gradient(x), x)
            product = lambda v: jax.jvp(gradient, (x,), (v,))[1]
            shift = jnp.linalg.norm(product(v))
            raised = lambda i, v: (lambda w: w / jnp.linalg.norm(w))(product(v) + shift * v)
            v = jax.lax.fori_loop(0, NUM_POWER, raised, v)
            return (x, v), (loss(x), jnp.sum(v * product(v)))

        v = jax.random.normal(key_v, x.shape)
        return jax.lax.scan(look, (x, v / jnp.linalg.norm(v)), None, length=NUM_LOOKS)[1]

    values, sharpness = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), num))
    return np.asarray(values), np.asarray(sharpness)


def measure(options: experiment.Options) -> Table:
    """Returns sharpness times step at the end, the share at the edge, and the time to get there."""
    num, rows, seen = 6 if options.quick else NUM_STARTS, [], {}
    for rate in (*(STEPS[:2] if options.quick else STEPS), *(() if options.quick else (SMALL,))):
        values, sharpness = trained(rate, num)
        seen[rate] = (values, sharpness)
        late = (sharpness[:, -NUM_LOOKS // 4 :] * rate).mean(axis=1)
        label = f"step 2/{2 / rate:g}"
        if rate == SMALL:
            rows.append(estimate(f"{label}: largest sharpness times step", (sharpness * rate).max(), 0.0, num,
                                 expected=1.9, relation="at_most", source="below the edge nothing stops it",
                                 source_error=1e-9))  # fmt: skip
            continue
        rows.append(share(f"{label}: descents at the edge in the last quarter", int(np.sum((late > 1.9) & (late < 2.3))),
                          num, expected=0.9, relation="at_least", source="Cohen et al. 2021"))  # fmt: skip
        rows.append(mean(f"{label}: sharpness times step in the last quarter", late, expected=2.0, tolerance=0.1,
                         source="Cohen et al. 2021: at or just above 2", relation="at_least"))  # fmt: skip
        reached = sharpness * rate > 1.95
        time = np.where(reached.any(axis=1), (reached.argmax(axis=1) + 1) * TIME / NUM_LOOKS, np.nan)
        if np.isfinite(time).all():
            rows.append(mean(f"{label}: steps times step until the edge", time))
        rises = np.mean(np.diff(values[:, NUM_LOOKS // 2 :], axis=1) > 0, axis=1)
        rows.append(mean(f"{label}: share of looks at which the loss has risen, second half", rises))
        fell = values[:, -1] / values[:, NUM_LOOKS // 2]
        rows.append(mean(f"{label}: loss at the end over that half way", fell, expected=1.0, relation="at_most",
                         source="Cohen et al. 2021: it falls over long times"))  # fmt: skip
        experiment.note(f"{label}: sharpness times step {late.mean():.3f}")
    return stated("edge_of_stability", __doc__, rows, data={"seen": seen})


def figure(result: Table) -> Any:
    """Returns sharpness times step and the loss along training."""
    drawn, (left, right) = experiment.panels("Sharpness rises to 2 over the step, and stays there")
    for rate, (values, sharpness) in result.data["seen"].items():
        time = np.arange(1, NUM_LOOKS + 1) * TIME / NUM_LOOKS
        (line,) = left.plot(time, np.median(sharpness * rate, axis=0), label=f"step 2/{2 / rate:g}")
        left.plot(time, (sharpness * rate)[:4].T, color=line.get_color(), lw=0.4, alpha=0.6)
        right.plot(time, np.median(values, axis=0), color=line.get_color(), label=f"step 2/{2 / rate:g}")
    left.axhline(2, color="black", ls=":")
    left.set(xlabel="steps times step", ylabel="sharpness times step")
    right.set(xlabel="steps times step", ylabel="loss (median)", yscale="log")
    return drawn


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
