"""Gradient descent where products of matrices take the time: a 3-spin glass and a small network.

The 3-spin glass of 40 spins on the sphere, and a 64-16-10 network on 256 images of digits, each for a fixed
number of steps of gradient descent, in float64 and float32. jaxgd chooses how many lanes step together; the
loops by hand are tried with several tiles and the best counts, as somebody with patience would do.
torch.func maps all at once, on one thread and on all.
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

import jaxgd
from experiments.benchmarks.rivals import in_tiles, vmap_while_loop
from jaxgd import experiment
from jaxgd.experiment import System, WorkDone

NUM_SPINS, NUM_IMAGES = 40, 256


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is descended: the function, how far, how often, and its gradient in torch."""

    landscape: Callable[[], jaxgd.Landscape]
    torch_gradient: Callable[[Any], Callable[[Any], Any]]
    learning_rate: float
    num_steps: int
    num_starts: int


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns gradients per second for each function and precision."""
    share, repeats, tiles = (16, 2, (8,)) if options.quick else (1, 5, (1, 8, 32, 128, 512))
    works = {
        "p_spin": Work(
            landscape=lambda: jaxgd.landscapes.spherical_p_spin(NUM_SPINS),
            torch_gradient=torch_p_spin,
            learning_rate=0.05,
            num_steps=200,
            num_starts=1024 // share,
        ),
        "mlp": Work(
            landscape=lambda: jaxgd.landscapes.digits_mlp((16,), num_images=NUM_IMAGES),
            torch_gradient=torch_mlp,
            learning_rate=0.1,
            num_steps=100,
            num_starts=256 // share,
        ),
    }
    systems: list[System] = []
    names = [f"{name} {dtype}" for name in works for dtype in ("float64", "float32")]
    for name in names:
        systems += systems_of(name, works[name.split()[0]], name.split()[1], tiles)
    race = experiment.race(systems, repeats=repeats)
    ratios: dict[str, Any] = {}
    for name in names:
        short = name.replace(" ", "_")
        ratios[f"vmap_best_tile_{short}"] = race.ratio(f"jaxgd, {name}", race.best(f"vmap, {name}"))
        ratios[f"torch_func_{short}"] = race.ratio(f"jaxgd, {name}", race.best(f"torch.func, {name}"))
    steps = ", ".join(f"{work.num_starts} x {work.num_steps} steps of {name}" for name, work in works.items())
    return experiment.Benchmark(
        name="matmul",
        work=f"Gradient descent: {steps}.",
        rows=race.rows,
        ratios=ratios,
        packages=("torch", "scikit-learn"),
    )


def systems_of(name: str, work: Work, dtype: str, tiles: tuple[int, ...]) -> list[System]:
    """Returns jaxgd, the loops by hand, and torch."""
    landscape = work.landscape()
    keys = jax.random.split(jax.random.key(0), work.num_starts)
    starts = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), jax.vmap(landscape.sample)(keys))
    optimizer = optax.sgd(work.learning_rate)
    stop = jaxgd.Stop(gradient_norm=1e-30, max_steps=work.num_steps)
    how = {
        "key": jax.random.key(0),
        "stop": stop,
        "keep": ("params",),
        "engine": jaxgd.Engine(num_devices=len(jax.devices())),
    }
    work_done = lambda ends: WorkDone(amount=work.num_starts * (work.num_steps + 1))
    new = functools.partial(System, work_done=work_done, unit="gradients/s")

    def by_hand(tile: int) -> Callable[[], Any]:
        loop = vmap_while_loop(landscape.evaluate, optimizer, tolerance=1e-30, max_steps=work.num_steps)
        return in_tiles(loop, tile, starts, keys)

    on_torch = functools.partial(torch_descents, work, starts, dtype)
    call = lambda: jaxgd.descend(landscape, optimizer, starts=starts, **how).params
    return [
        new(name=f"jaxgd, {name}", build=lambda: call),
        *(
            new(name=f"vmap, {name}, {tile} at a time", build=functools.partial(by_hand, tile))
            for tile in tiles
            if tile <= work.num_starts
        ),
        *(
            new(name=f"torch.func, {name}, threads: {n}", build=functools.partial(on_torch, n))
            for n in sorted({1, experiment.num_cores()})
        ),
    ]


# ------------------------------------------------------------------------------------------------- torch


def torch_descents(work: Work, starts: Any, dtype: str, num_threads: int) -> Callable[[], Any]:
    """Returns the call that does the work with torch.func."""
    import torch

    as_tensor = lambda array: torch.tensor(np.asarray(array), dtype=getattr(torch, dtype))
    gradient = torch.func.vmap(work.torch_gradient(as_tensor))
    tensors = jax.tree.map(as_tensor, starts)

    def call() -> Any:
        torch.set_num_threads(num_threads)
        params = tensors
        for _ in range(work.num_steps + 1):
            params = jax.tree.map(lambda x, g: x - work.learning_rate * g, params, gradient(params))
        return jax.tree.map(lambda x: x.numpy(), params)

    return call


def torch_p_spin(as_tensor: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns the gradient of the 3-spin glass, by hand as jaxgd has it."""
    drawn = np.random.default_rng(0).standard_normal((NUM_SPINS,) * 3)
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    couplings = as_tensor(sum(drawn.transpose(order) for order in orders) / (6 * NUM_SPINS))

    def gradient(x: Any) -> Any:
        radius = (x**2).sum().sqrt()
        spins = NUM_SPINS**0.5 * x / radius
        field = (couplings.reshape(-1, NUM_SPINS) @ spins).reshape(NUM_SPINS, NUM_SPINS) @ spins
        energy = (field * spins).sum()
        return 3 * NUM_SPINS**0.5 / radius * (field - energy / NUM_SPINS * spins)

    return gradient


def torch_mlp(as_tensor: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns the gradient of the network's loss."""
    import torch
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    images, labels = as_tensor(pixels[:NUM_IMAGES] / 16), as_tensor(np.eye(10)[digits[:NUM_IMAGES]])

    def loss(params: Any) -> Any:
        first, second = params["layer_1"], params["layer_2"]
        hidden = torch.tanh(images @ first["weights"] + first["bias"])
        answer = torch.log_softmax(hidden @ second["weights"] + second["bias"], dim=1)
        penalty = sum((leaf**2).sum() for leaf in jax.tree.leaves(params))
        return 5e-4 * penalty - (labels * answer).sum() / NUM_IMAGES

    return torch.func.grad(loss)


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
