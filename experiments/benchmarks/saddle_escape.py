"""Escapes from a strict saddle in 100 dimensions, some of which take ten times longer than most.

    value(u, x) = -u^2/2 + u^4/4 + sum_i (c_i x_i^2/2 + x_i^4/4),    c_i from 1 to 10,

with starts at |u| = 10^-(1 + E), E exponential of mean 2, x standard normal: log-distances to the stable
manifold with a heavy tail. Gradient descent needs about ln(1/|u|) / learning_rate steps to |u| = 1/2, where
it ends. `plain` follows the gradient; `noisy` one in which each term is weighted by 1 + N(0, 1/4), as
minibatches weight examples: noise that fades with the gradient, as where a model fits all of its data.

A loop over all lanes runs until the slowest has escaped: at least max / mean of the steps times longer than
needed. Refilled lanes stay full until the starts run out, so that occupancy rises with the number of starts;
the noise costs far more than the gradient, hence fewer of its starts.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from experiments.benchmarks.rivals import vmap_while_loop
from jaxgd import experiment
from jaxgd.experiment import System, WorkDone

DIM, LEARNING_RATE, MAX_STEPS, NOISE = 100, 0.05, 100_000, 0.5
CURVATURES = np.concatenate([[-1.0], np.linspace(1, 10, DIM - 1)])
STOP = jaxgd.Stop(gradient_norm=None, max_steps=MAX_STEPS, at_event="escaped")
"""The gradient vanishes beside the saddle, too: only the event may end a descent."""


def terms(x: jax.Array) -> jax.Array:
    """Returns one term of the value for each coordinate."""
    return jnp.asarray(CURVATURES, x.dtype) * x**2 / 2 + x**4 / 4


def noisy_value(x: jax.Array, key: jax.Array) -> jax.Array:
    """Returns the value with terms weighted at random."""
    return jnp.sum((1 + NOISE * jax.random.normal(key, x.shape, x.dtype)) * terms(x))


def sample(key: jax.Array) -> jax.Array:
    """Returns a start beside the saddle."""
    key_distance, key_sign, key_rest = jax.random.split(key, 3)
    distance = 10 ** -(1 + 2 * jax.random.exponential(key_distance, (1,)))
    sign = jax.random.rademacher(key_sign, (1,), distance.dtype)
    return jnp.concatenate([sign * distance, jax.random.normal(key_rest, (DIM - 1,))])


LANDSCAPE = jaxgd.Landscape(
    name="beside_a_saddle", value=lambda x: jnp.sum(terms(x)), noisy_value=noisy_value, sample=sample
)


def is_escaped(x: jax.Array, *value_and_gradient: Any) -> jax.Array:
    """Returns whether a descent has left the saddle."""
    return jnp.abs(x[0]) >= 0.5


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns escapes per second."""
    nums = {"plain": 512, "noisy": 512} if options.quick else {"plain": 131_072, "noisy": 32_768}
    repeats = 2 if options.quick else 3
    draw = lambda count: np.asarray(jax.vmap(sample)(jax.random.split(jax.random.key(0), count)))
    starts = {name: draw(count) for name, count in nums.items()}
    costs: dict[str, dict[str, float]] = {}

    def jaxgds(name: str, is_noisy: bool) -> System:
        how = {"stop": STOP, "events": {"escaped": is_escaped}, "engine": jaxgd.Engine(num_devices=len(jax.devices()))}
        optimizer = optax.sgd(LEARNING_RATE)
        call = lambda: jaxgd.descend(
            LANDSCAPE, optimizer, starts=starts[name], key=jax.random.key(1), is_noisy=is_noisy, keep=(), **how
        )

        def work_done(ends: jaxgd.Ends) -> WorkDone:
            steps = np.asarray(ends.num_steps)
            costs[name] = {"occupancy": ends.cost.occupancy, "max_over_mean": steps.max() / steps.mean()}
            share = ends.status_counts().get("stopped_by_event", 0) / nums[name]
            return WorkDone(amount=nums[name], converged=share, notes=costs[name])

        return System(name=f"jaxgd, {name}", build=lambda: call, work_done=work_done)

    def by_hand(name: str, is_noisy: bool) -> System:
        def build() -> Callable[[], Any]:
            value_and_grad = jax.value_and_grad(noisy_value if is_noisy else LANDSCAPE.value)
            run = vmap_while_loop(
                value_and_grad,
                optax.sgd(LEARNING_RATE),
                max_steps=MAX_STEPS,
                is_done=is_escaped,
                is_noisy=is_noisy,
            )
            return functools.partial(run, starts[name], jax.random.split(jax.random.key(1), nums[name]))

        share = lambda ends: float(np.mean(np.abs(ends[0][:, 0]) >= 0.5))
        work_done = lambda ends: WorkDone(amount=nums[name], converged=share(ends))
        return System(name=f"vmap, {name}", build=build, work_done=work_done)

    kinds = {"plain": False, "noisy": True}
    race = experiment.race(
        [system(name, is_noisy) for name, is_noisy in kinds.items() for system in (jaxgds, by_hand)],
        repeats=repeats,
    )
    ratios: dict[str, Any] = {}
    for name in kinds:
        found = race.ratio(f"jaxgd, {name}", f"vmap, {name}")
        assert found is not None
        ratios[f"vmap_{name}"] = found
        ratios |= {f"{fact}_{name}": number for fact, number in costs[name].items()}
        ratios[f"vmap_{name}_over_max_over_mean"] = found.value / costs[name]["max_over_mean"]
    return experiment.Benchmark(
        name="saddle_escape",
        work=f"Escapes of gradient descents ({nums['plain']:,} plain, {nums['noisy']:,} noisy) from beside a saddle, "
        f"{DIM} dimensions, float64.",
        rows=race.rows,
        ratios=ratios,
    )


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
