"""What a landscape must keep so that its ends can be judged: its derivatives agree, its symmetry holds, starts vary.

Everything is asked at random starts of the landscape's own law.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import Landscape
from jaxgd.checks import check_count
from jaxgd.front_door import as_key, as_landscape


def assert_derivatives_agree(landscape: Landscape, *, num_starts: int = 4, seed: int = 0) -> None:
    """Asserts that value, gradient and Hessian of a landscape are finite and belong to one function.

    The gradient that the landscape gives is held against differences of the value and, where it is written by hand,
    against automatic differentiation; products with the Hessian against differences of the gradient. All are taken
    along one random direction at each start.

    Args:
      landscape: what is tested.
      num_starts: random starts to look at (>= 1).
      seed: of the starts.

    Raises:
      AssertionError: one of them is not finite, or they disagree by more than differences allow.

    Example:
      >>> import jaxgd
      >>> assert_derivatives_agree(jaxgd.landscapes.styblinski_tang(dim=2))
    """
    landscape = as_landscape(landscape)
    starts = _starts(landscape, num_starts, seed)
    first, restore = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts))
    value = lambda x: landscape.evaluate(restore(x))[0]
    gradient = lambda x: ravel_pytree(landscape.gradient(restore(x)))[0]
    automatic = lambda x: ravel_pytree(jax.grad(landscape.value)(restore(x)))[0]

    def at(x: jax.Array, key: Any) -> dict[str, jax.Array]:
        along = jax.random.normal(key, x.shape, x.dtype)
        along = along / jnp.linalg.norm(along)
        step = jnp.finfo(x.dtype).eps ** (1 / 3) * (1 + jnp.max(jnp.abs(x)))
        ahead, behind = x + step * along, x - step * along
        there, product = jax.jvp(gradient, (x,), (along,))
        return {
            "value": value(x),
            "plain value": landscape.value(restore(x)),
            "gradient": there,
            "automatic": automatic(x),
            "slope": there @ along,
            "product": product,
            "slope by differences": (value(ahead) - value(behind)) / (2 * step),
            "product by differences": (gradient(ahead) - gradient(behind)) / (2 * step),
        }

    flat = jax.vmap(lambda start: ravel_pytree(start)[0])(starts)
    seen = jax.jit(jax.vmap(at))(flat, jax.random.split(jax.random.key(1), num_starts))
    found: dict[str, Any] = {name: np.asarray(array, np.float64) for name, array in seen.items()}
    for name in ("value", "gradient", "product"):
        assert np.isfinite(found[name]).all(), f"the {name} is not finite at every random start"

    # What is computed twice agrees up to rounding, what is computed by differences up to their error.
    rounding = float(jnp.finfo(first.dtype).eps)
    size = np.abs(found["value"]).max() / rounding ** (1 / 3) * rounding
    _close(found, "value", "plain value", 1e3 * rounding, 0, "`value_and_grad` returns another value than `value`")
    _close(found, "gradient", "automatic", 1e5 * rounding, 0, "`value_and_grad` returns another gradient than `value`")
    _close(found, "slope", "slope by differences", 1e-3, 10 * size, "the gradient is not that of the value")
    size = np.abs(found["gradient"]).max() / rounding ** (1 / 3) * rounding
    _close(found, "product", "product by differences", 1e-3, 10 * size, "the Hessian is not that of the gradient")


def _close(found: dict[str, Any], one: str, other: str, relative: float, absolute: float, message: str) -> None:
    """Asserts that two arrays agree, relative to the largest entry."""
    scale = max(float(np.abs(found[one]).max()), float(np.abs(found[other]).max()))
    np.testing.assert_allclose(
        found[one], found[other], rtol=0, atol=relative * scale + absolute, err_msg=f"{message} ({one}, {other})"
    )


def assert_symmetry_holds(landscape: Landscape, *, seed: int = 0) -> None:
    """Asserts that what a landscape declares as its symmetry is one; one without symmetry passes.

    The value must not change along the generators, nor by a random motion; the invariants, a vector, must not change
    either, and must differ between two random starts.

    Args:
      landscape: what is tested.
      seed: of the start and the motion.

    Raises:
      AssertionError: one of these does not hold; points that differ would be counted as one, or one as several.

    Example:
      >>> import jaxgd
      >>> assert_symmetry_holds(jaxgd.landscapes.lennard_jones(num_atoms=4))
    """
    landscape = as_landscape(landscape)
    symmetry = landscape.symmetry
    if symmetry is None:
        return
    starts = _starts(landscape, 2, seed)
    start, other = (jax.tree.map(lambda leaf, place=place: leaf[place], starts) for place in (0, 1))
    value, grad = jax.jit(landscape.evaluate)(start)
    rounding = float(jnp.finfo(value.dtype).eps)

    # invariants
    own = np.asarray(symmetry.invariants(start))
    assert own.ndim == 1, f"`invariants` must return a vector, got shape {own.shape}"
    apart = np.abs(own - np.asarray(symmetry.invariants(other))).max(initial=0.0)
    size = max(float(np.abs(own).max(initial=0.0)), 1e-300)
    assert apart > 1e3 * rounding * size, "the invariants of two random starts are equal; they tell no points apart"

    # generators
    if symmetry.generators is not None:
        motions = symmetry.generators(start)
        shapes = [
            [leaf.shape[1:] for leaf in jax.tree.leaves(motions)],
            [leaf.shape for leaf in jax.tree.leaves(start)],
        ]
        assert shapes[0] == shapes[1], "`generators` must return the params' pytree with one leading axis of motions"
        flat = np.asarray(jax.vmap(lambda motion: ravel_pytree(motion)[0])(motions), np.float64)
        slope = flat @ np.asarray(ravel_pytree(grad)[0], np.float64)
        allowed = 1e4 * rounding * (1 + float(np.abs(ravel_pytree(grad)[0]).max())) * float(np.abs(flat).max())
        assert np.abs(slope).max() <= allowed, f"the value changes along a generator, at the rate {np.abs(slope).max()}"
        _, change = jax.vmap(lambda motion: jax.jvp(symmetry.invariants, (start,), (motion,)))(motions)
        message = "the invariants change along a generator"
        assert np.abs(np.asarray(change)).max() <= 1e5 * rounding * (1 + size) * (1 + float(np.abs(flat).max())), (
            message
        )

    # a random motion
    if symmetry.random_motion is not None:
        moved = symmetry.random_motion(start, jax.random.key(seed + 1))
        change = abs(float(jax.jit(landscape.evaluate)(moved)[0]) - float(value))
        steep = float(np.linalg.norm(ravel_pytree(grad)[0])) * float(np.linalg.norm(ravel_pytree(start)[0]))
        allowed = 1e3 * rounding * (1 + abs(float(value)) + steep)
        assert change <= allowed, f"the value changes by {change} under a random motion"
        turned = np.asarray(symmetry.invariants(moved))
        np.testing.assert_allclose(
            turned, own, rtol=0, atol=1e5 * rounding * (1 + size), err_msg="the invariants change under a random motion"
        )


def assert_sample_uses_key(landscape: Landscape, *, seed: int = 0) -> None:
    """Asserts that starts are functions of their keys: equal for equal keys, different for different ones.

    Args:
      landscape: what is tested.
      seed: of the keys.

    Raises:
      AssertionError: all starts are one, which makes every weight a coin that never falls; or the same key gives
        different starts, so that no descent can be repeated.

    Example:
      >>> import jaxgd
      >>> assert_sample_uses_key(jaxgd.landscapes.styblinski_tang(dim=2))
    """
    landscape = as_landscape(landscape)
    one, again = _starts(landscape, 3, seed), _starts(landscape, 3, seed)
    rows = [np.concatenate([np.ravel(leaf[place]) for leaf in jax.tree.leaves(one)]) for place in range(3)]
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), one, again)
    assert all(jax.tree.leaves(same)), "the same key gives different starts; use nothing but `jax.random` in `sample`"
    message = "different keys give the same start; pass the `key` on to `jax.random`"
    assert not any(np.array_equal(rows[0], row) for row in rows[1:]), message


def assert_landscape(landscape: Landscape, *, seed: int = 0) -> None:
    """Asserts all that jaxgd's own landscapes keep: derivatives that agree, a symmetry that holds, random starts.

    Args:
      landscape: what is tested.
      seed: of the random starts.

    Raises:
      AssertionError: one of these does not hold.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> mine = jaxgd.Landscape(value=lambda x: jnp.sum(x**4 - x**2), sample=lambda k: jax.random.normal(k, (3,)))
      >>> assert_landscape(mine)
    """
    assert_sample_uses_key(landscape, seed=seed)
    assert_derivatives_agree(landscape, seed=seed)
    assert_symmetry_holds(landscape, seed=seed)


def _starts(landscape: Landscape, num: int, seed: int) -> Any:
    """Returns random starts, params with one leading axis."""
    keys = jax.random.split(as_key(None, seed), check_count("num_starts", num))
    return jax.vmap(landscape.sample)(keys)
