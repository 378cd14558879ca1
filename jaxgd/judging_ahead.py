"""Whether the ends of a landscape can be judged, found before any descent: by tracing, and at a few starts.

Descents need a gradient alone. Judging needs products of the Hessian with vectors, and the invariants and generators of
the symmetry, if there is one. What of these cannot be traced is refused, or said, before hours are spent on descents.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxgd.base import InputValueError, Landscape, Params
from jaxgd.checks import first_line
from jaxgd.points.declared import check_declared
from jaxgd.points.flat import as_rows, at_least_single, flat
from jaxgd.tracing import first_structure


def check_judging(landscape: Landscape, *, frozen: Params | None = None) -> tuple[str, ...]:
    """Returns what is to be said of how ends of this landscape will be judged, one sentence each.

    Args:
      landscape: whose second derivatives and symmetry are traced; its value and gradient have been checked.
      frozen: a bool for each leaf of the params, whether the optimizer never moves it; None for no such leaf.

    Raises:
      InputValueError: the symmetry's functions cannot be traced, their results have the wrong shape, or the value
        changes under the symmetry at random starts.

    Example:
      >>> import jaxgd
      >>> check_judging(jaxgd.landscapes.styblinski_tang(dim=2))
      ()
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    leaves = jax.tree.leaves(jax.eval_shape(landscape.sample, key))
    start = jax.tree.unflatten(first_structure(landscape), leaves)
    _check_symmetry(landscape, start)
    check_declared(landscape, frozen=frozen)
    batch = jax.tree.map(lambda leaf: at_least_single(np.zeros((1, *leaf.shape), leaf.dtype)), start)
    rows, kind = as_rows(batch, frozen)
    note = flat(landscape, kind).second_order(jax.ShapeDtypeStruct(rows.shape[1:], rows.dtype)).note
    return (note,) if note else ()


def _check_symmetry(landscape: Landscape, start: Params) -> None:
    symmetry = landscape.symmetry
    if symmetry is None:
        return
    _traced(landscape, "invariants", symmetry.invariants, start)
    if symmetry.generators is None:
        return
    motions = _traced(landscape, "generators", symmetry.generators, start)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (motions, start)]
    if [shape[1:] for shape in shapes[0]] != shapes[1] or len({shape[:1] for shape in shapes[0]}) != 1:
        raise InputValueError(
            f"`generators` of the symmetry of landscape `{landscape.name}` must return params with one leading axis of"
            f" motions, got shapes {shapes[0]} for params of {shapes[1]}."
        )


def _traced(landscape: Landscape, name: str, fn: Callable[[Params], Any], start: Params) -> Any:
    """Returns the shapes of what a function of the symmetry makes of a point."""
    try:
        return jax.eval_shape(fn, start)
    except Exception as error:
        raise InputValueError(
            f"`{name}` of the symmetry of landscape `{landscape.name}` raised {type(error).__name__}:"
            f" {first_line(error)}"
        ) from error
