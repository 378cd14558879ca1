"""Whether a declared symmetry leaves the value unchanged, measured at random starts before anything rests on it.

Generators are held against the gradient, which must vanish along them; ready groups also draw random motions, under
which the value must stay. A symmetry that is none would hide directions of descent from verdicts and make points the
same that are not.
"""

import functools

import jax
import numpy as np

from jaxgd.base import InputValueError, Landscape, Params
from jaxgd.points.dense import programs_of
from jaxgd.points.evidence import Rows
from jaxgd.points.flat import Kind, as_params, as_rows, at_least_single, flat
from jaxgd.tracing import first_structure

_NUM_STARTS = 16
_MOST_ROUNDING, _LEAST_CHANGE = 0.375, 0.75  # powers of eps
_MANY = 4  # refused where one in so many starts shows it


def check_declared(landscape: Landscape, *, frozen: Params | None = None) -> None:
    """Refuses a symmetry along which the value changes; what fails with an error is left to judging.

    Args:
      landscape: whose symmetry is measured, if it has one.
      frozen: a bool for each leaf of the params, whether it is a constant of the question; None for no such leaf.

    Raises:
      InputValueError: the value changes along a generator, or under a random motion.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> ellipse = jaxgd.Landscape(value=lambda x: x[0, 0] ** 2 + 2 * x[0, 1] ** 2,
      ...                           sample=lambda key: jax.random.normal(key, (1, 2)),
      ...                           symmetry=jaxgd.symmetry.orthogonal())
      >>> check_declared(ellipse)  # doctest: +IGNORE_EXCEPTION_DETAIL
      Traceback (most recent call last):
      jaxgd.base.InputValueError: the value of landscape `landscape` changes along generator 0 ...
    """
    if landscape.symmetry is None:
        return
    flags = None if frozen is None else tuple(map(bool, jax.tree.leaves(frozen)))
    problem = _problem(landscape, flags, jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    if problem:
        raise InputValueError(
            f"the value of landscape `{landscape.name}` changes {problem}: declare only motions that leave it"
            " unchanged."
        )


@functools.lru_cache(maxsize=16)
@np.errstate(all="ignore")
def _problem(landscape: Landscape, frozen: tuple[bool, ...] | None, _: bool) -> str:
    """Returns along or under what the value changes; an empty text if it does not."""
    try:
        starts = jax.jit(jax.vmap(landscape.sample))(jax.random.split(jax.random.key(1), _NUM_STARTS))
        batch = jax.tree.unflatten(first_structure(landscape), map(at_least_single, jax.tree.leaves(starts)))
        x, kind = as_rows(batch, frozen)
        return _along_generators(landscape, kind, x) or _under_motions(landscape, kind, x)
    except Exception:
        return ""


def _along_generators(landscape: Landscape, kind: Kind, x: Rows) -> str:
    functions = flat(landscape, kind)
    if functions.generators is None:
        return ""
    value, gradient = programs_of(functions, x.dtype.name).evaluate(x)
    velocities = np.asarray(jax.jit(jax.vmap(functions.generators))(x))

    # Over a motion as long as the point itself, along the gradient and in all.
    size = np.linalg.norm(velocities, axis=2)
    along = np.abs(np.einsum("nkd,nd->nk", velocities, gradient)) / size
    share = along / np.linalg.norm(gradient, axis=1, keepdims=True)
    eps = np.finfo(x.dtype).eps
    lowest = eps**_LEAST_CHANGE * np.abs(value)[:, None] / np.linalg.norm(x, axis=1, keepdims=True)
    changes = np.isfinite(share) & (share > eps**_MOST_ROUNDING) & (along > lowest)
    is_wrong = _MANY * np.sum(changes, axis=0) >= np.maximum(np.sum(np.isfinite(share), axis=0), 1)
    if not is_wrong.any():
        return ""
    worst = int(np.argmax(is_wrong))
    return (
        f"along generator {worst} of its symmetry, {landscape.symmetry.name}"  # type: ignore[union-attr]
        f" (slope {np.nanmax(along[:, worst]):.2g} at a random start)"
    )


def _under_motions(landscape: Landscape, kind: Kind, x: Rows) -> str:
    move = landscape.symmetry.random_motion  # type: ignore[union-attr]
    if move is None:
        return ""
    keys = jax.random.split(jax.random.key(2), len(x))
    moved, _ = as_rows(jax.jit(jax.vmap(move))(as_params(x, kind), keys))
    evaluate = programs_of(flat(landscape, kind), x.dtype.name).evaluate
    before, after = evaluate(x)[0], evaluate(moved.astype(x.dtype))[0]
    spread = np.nanmedian(np.abs(before - np.nanmedian(before)))
    tolerance = np.finfo(x.dtype).eps ** _MOST_ROUNDING * np.maximum(np.abs(before), spread)
    is_known = np.isfinite(before) & np.isfinite(after)
    changes = is_known & (np.abs(after - before) > tolerance)
    if _MANY * np.sum(changes) < max(np.sum(is_known), 1):
        return ""
    worst = int(np.argmax(changes))
    return (
        f"under random motions of its symmetry, {landscape.symmetry.name}"  # type: ignore[union-attr]
        f" (from {before[worst]:.6g} to {after[worst]:.6g})"
    )
