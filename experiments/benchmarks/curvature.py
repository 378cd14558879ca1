"""The most negative curvature of a large Hessian: the same operator, the same accuracy, by jaxgd and by its rivals.

Two operators. A network of a million parameters on all 1,797 images of digits, at a random start, by Hessian-vector
products that cost seconds together: here a method should cost nothing beside them. And a matrix of 10,000 with a known
spectrum, a reflected diagonal with three negative eigenvalues below a semicircle, where products cost next to nothing.
All look for the lowest eigenvalue to a residual of a thousandth of the largest. scipy's eigsh gets jaxgd's own
products; hessian-eigenthings and curvlinops bring theirs, of the same network in torch.
"""

import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import jaxgd
from jaxgd import experiment
from jaxgd.curvature import Product, Ritz, hessian_product, lanczos, product_of
from jaxgd.experiment import Missing, System, Timed, WorkDone

WIDTHS, QUICK_WIDTHS = (964, 964), (64, 64)
TOLERANCE = 1e-3
MAX_PRODUCTS = 400
SPIKES = (-3.0, -2.5, -2.2)
PRODUCTS, OURS, EIGSH = "products alone", "jaxgd", "scipy eigsh"


def measure(options: experiment.Options) -> experiment.Benchmark:
    """Returns seconds to the lowest eigenvalue, and how many of them the products took."""
    widths, repeats = (QUICK_WIDTHS, 1) if options.quick else (WIDTHS, 3)
    operators = {"network": network(widths), "spiked": spiked(1_000 if options.quick else 10_000)}
    systems: list[System] = []
    for name, product in operators.items():
        systems += systems_of(name, product)
    systems += [
        SECONDS(name=f"{rival}, network", build=functools.partial(build, widths))
        for rival, build in {"hessian-eigenthings": eigenthings, "curvlinops": curvlinops}.items()
    ]
    race = experiment.race(systems, repeats=repeats)
    ratios: dict[str, Any] = {}
    for name in operators:
        ratios[f"products_over_jaxgd_{name}"] = share_of_products(race, name)
        ratios[f"scipy_eigsh_{name}"] = faster(race, f"{OURS}, {name}", f"{EIGSH}, {name}")
    ratios["hessian_eigenthings"] = faster(race, f"{OURS}, network", "hessian-eigenthings, network")
    ratios["curvlinops"] = faster(race, f"{OURS}, network", "curvlinops, network")
    return experiment.Benchmark(
        name="curvature",
        work=f"Lowest eigenvalue to a residual of {TOLERANCE:g} of the largest: the Hessian of a network of"
        f" {operators['network'].dim:,} parameters on 1,797 digits, and a spiked matrix of"
        f" {operators['spiked'].dim:,}.",
        rows=race.rows,
        ratios=ratios,
        packages=("scipy", "torch", "hessian-eigenthings", "curvlinops-for-pytorch", "scikit-learn"),
    )


SECONDS = functools.partial(System, unit="seconds", work_done=lambda result: WorkDone(amount=None, notes=result))


def systems_of(name: str, product: Product) -> list[System]:
    """Returns jaxgd, scipy, and the bare products that jaxgd took."""
    return [
        SECONDS(name=f"{OURS}, {name}", build=lambda: lambda: timed(lambda: by_jaxgd(product))),
        SECONDS(name=f"{PRODUCTS}, {name}", build=lambda: lambda: timed(lambda: products_alone(product))),
        SECONDS(name=f"{EIGSH}, {name}", build=lambda: lambda: timed(lambda: by_eigsh(product))),
    ]


def timed(call: Callable[[], dict[str, Any]]) -> Timed:
    """Returns the notes that a call made, with its seconds."""
    began = time.perf_counter()
    notes = call()
    return Timed(result=notes, seconds=time.perf_counter() - began)


def faster(race: experiment.Race, system: str, rival: str) -> experiment.Ratio | None:
    """Returns how many times faster a system was than a rival, both measured in seconds."""
    return race.ratio(rival, system)


def share_of_products(race: experiment.Race, name: str) -> float | None:
    """Returns the share of jaxgd's time that its products alone would take."""
    ours, alone = race[f"{OURS}, {name}"], race[f"{PRODUCTS}, {name}"]
    if ours.rate is None or alone.rate is None:
        return None
    return alone.rate / alone.notes["num_products"] * ours.notes["num_products"] / ours.rate


# ---------------------------------------------------------------------------------------------- operators


def network(widths: tuple[int, ...]) -> Product:
    """Returns the Hessian of a network's loss on all digits, at a random start."""
    landscape = jaxgd.landscapes.digits_mlp(widths)
    x, unravel = ravel_pytree(landscape.sample(jax.random.key(0)))
    return hessian_product(lambda point: ravel_pytree(landscape.gradient(unravel(point)))[0], x)


def spiked(dim: int) -> Product:
    """Returns a symmetric matrix whose spectrum is known: a diagonal between two reflections."""
    rng = np.random.default_rng(0)
    bulk = np.cos(np.pi * (np.arange(dim - len(SPIKES)) + 0.5) / (dim - len(SPIKES))) + 1.2
    diagonal = jnp.asarray(np.concatenate([SPIKES, bulk]))
    normals = rng.standard_normal((2, dim))
    first, second = jnp.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))
    reflect = lambda vector, normal: vector - 2 * (normal @ vector) * normal

    def product(vector: jax.Array) -> jax.Array:
        turned = reflect(reflect(vector, first), second)
        return reflect(reflect(diagonal * turned, second), first)

    return product_of(product, dim)


# ------------------------------------------------------------------------------------------------ systems


def by_jaxgd(product: Product) -> dict[str, Any]:
    """Returns what jaxgd finds."""

    def is_found(found: Ritz) -> bool:
        return bool(found.residuals[0, 0] <= TOLERANCE * found.norm[0])

    found = lanczos(product, jax.random.key(0), num_products=MAX_PRODUCTS, until=is_found)
    return {
        "lowest": float(found.values[0, 0]),
        "low": float(found.low[0, 0]),
        "high": float(found.high[0, 0]),
        "index_at_least": int(found.num_negative()[0]),
        "num_products": found.num_products,
    }


def products_alone(product: Product) -> dict[str, Any]:
    """Multiplies one vector sixteen times, with nothing done in between."""
    vector = jnp.ones((1, product.dim)) / math.sqrt(product.dim)
    for _ in range(16):
        vector = product(vector)
    jax.block_until_ready(vector)
    return {"num_products": 16}


def by_eigsh(product: Product) -> dict[str, Any]:
    """Returns what scipy's ARPACK finds, from the same products, to the same residual."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    count = [0]

    def multiply(vector: np.ndarray) -> np.ndarray:
        count[0] += 1
        return np.asarray(product(jnp.asarray(vector.reshape(1, -1))))[0]

    operator = LinearOperator((product.dim, product.dim), matvec=multiply, dtype=np.float64)
    # ARPACK's tolerance is relative to the eigenvalue itself, ours to the largest one
    largest = abs(by_jaxgd_norm(product))
    start = np.random.default_rng(0).standard_normal(product.dim)
    lowest = lambda tol: eigsh(operator, k=1, which="SA", tol=tol, v0=start, return_eigenvectors=True)
    values, vectors = lowest(TOLERANCE * largest / max(abs(by_jaxgd_lowest(product)), 1e-12))
    residual = np.linalg.norm(multiply(vectors[:, 0]) - values[0] * vectors[:, 0])
    return {"lowest": float(values[0]), "residual": float(residual), "num_products": count[0] - 1}


@functools.cache
def _known(product: Product) -> Ritz:
    return lanczos(product, jax.random.key(1), num_products=48)


def by_jaxgd_norm(product: Product) -> float:
    """Returns the largest absolute eigenvalue, computed once and not timed after the first round."""
    return float(_known(product).norm[0])


def by_jaxgd_lowest(product: Product) -> float:
    """Returns about the lowest eigenvalue, see `by_jaxgd_norm`."""
    return float(_known(product).values[0, 0])


# -------------------------------------------------------------------------------------------------- torch


def torch_network(widths: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
    """Returns the same network in torch at the same start, with images, labels and penalty left to the caller."""
    import torch
    from sklearn.datasets import load_digits

    torch.set_default_dtype(torch.float64)
    params = jaxgd.landscapes.digits_mlp(widths).sample(jax.random.key(0))
    layers: list[Any] = []
    for number, layer in enumerate(params.values()):
        weights, bias = np.asarray(layer["weights"]), np.asarray(layer["bias"])
        linear = torch.nn.Linear(*weights.shape)
        linear.weight.data, linear.bias.data = torch.tensor(weights.T.copy()), torch.tensor(bias)
        layers += [linear] if number == 0 else [torch.nn.Tanh(), linear]
    pixels, digits = load_digits(return_X_y=True)
    return torch.nn.Sequential(*layers), torch.tensor(pixels / 16), torch.tensor(digits), torch.nn.CrossEntropyLoss()


def eigenthings(widths: tuple[int, ...]) -> Callable[[], Timed]:
    """Returns the call of hessian-eigenthings' Lanczos; the penalty of 1e-3 shifts its eigenvalue.

    It takes a number of steps, not an accuracy: the smallest power of two that reaches it is found beforehand.
    """
    from hessian_eigenthings import HessianOperator, lanczos, supervised_loss

    model, images, labels, loss = torch_network(widths)
    operator = HessianOperator(model, [(images, labels)], supervised_loss(loss))
    solve = lambda num_products, which: lanczos(operator, k=1, max_iter=num_products, which=which, seed=0)
    largest = float(solve(8, "LM").eigenvalues.abs()[0])
    num_products = 8
    while float(solve(num_products, "SA").residuals[0]) > TOLERANCE * largest and num_products < MAX_PRODUCTS:
        num_products *= 2

    def call() -> dict[str, Any]:
        found = solve(num_products, "SA")
        lowest, residual = float(found.eigenvalues[0]), float(found.residuals[0])
        return {"lowest": lowest + 1e-3, "residual": residual, "num_products": num_products}

    return lambda: timed(call)


def curvlinops(widths: tuple[int, ...]) -> Callable[[], Timed]:
    """Returns the call of scipy's eigsh on curvlinops' Hessian."""
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import eigsh

    model, images, labels, loss = torch_network(widths)
    params = [p for p in model.parameters() if p.requires_grad]
    operator = HessianLinearOperator(model, loss, params, [(images, labels)])
    if not hasattr(operator, "to_scipy"):
        raise Missing("this curvlinops has no `to_scipy`")

    def call() -> dict[str, Any]:
        values = eigsh(operator.to_scipy(), k=1, which="SA", tol=TOLERANCE, return_eigenvectors=False)
        return {"lowest": float(values[0]) + 1e-3}

    return lambda: timed(call)


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__))
