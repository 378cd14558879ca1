"""The dense Hessian and its whole spectrum, with a bound on the error of every eigenvalue.

A symmetric matrix known up to a perturbation E has eigenvalues known up to |E| (Weyl), and a computed pair (w, v) has
a true eigenvalue within |Hv - wv| of w. Both errors are measured, not assumed: the residual of every pair, and the
antisymmetric part that rounding (or a wrong custom derivative) leaves in the matrix.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgd.curvature.second_order import Gradient, Lengths, SecondOrder, second_order
from jaxgd.platforms import in_full_precision, platform

MAX_BYTES_TOGETHER, MAX_BYTES_OF_ACCELERATOR = 2**22, 2**26
"""Columns of a Hessian are made together as long as their intermediates take no more than this.

On CPU, intermediates that fit in a cache are faster: networks of 265 parameters on 1,000 and 10,000 samples take a
  third of the time of all columns at once. An accelerator must be kept busy, and may process many points.
"""


class Spectrum(NamedTuple):
    """Eigenvalues of a Hessian, without those of the symmetry's zero modes.

    Attributes:
      eigenvalues: (dim,) ascending; the last `num_symmetry_modes` entries are meaningless.
      vectors: (dim, dim), column i belongs to eigenvalue i.
      error: (dim,) bound on the error of each eigenvalue.
      is_mode: (dim,) bool, False for the entries set aside.
      num_symmetry_modes: () int32.
      norm: () largest absolute eigenvalue.
      asymmetry: () Frobenius norm of the antisymmetric part of the matrix that was given; NaN where it is not finite.
    """

    eigenvalues: jax.Array
    vectors: jax.Array
    error: jax.Array
    is_mode: jax.Array
    num_symmetry_modes: jax.Array
    norm: jax.Array
    asymmetry: jax.Array


@in_full_precision
def hessian(gradient: Gradient | SecondOrder, x: jax.Array, units: Lengths = 1.0) -> jax.Array:
    """Returns the (dim, dim) Hessian at the flat point `x`, a Hessian-vector product a column.

    As many columns are made together as fit into `MAX_BYTES_TOGETHER`.

    Args:
      gradient: maps a flat point (dim,) to the gradient (dim,); or what `second_order` found for it.
      x: (dim,).
      units: () or (dim,), length scale of each coordinate; only the steps of differences depend on it.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> hessian(jax.grad(lambda x: x[0] ** 2 * x[1]), jnp.array([1.0, 2.0])).tolist()
      [[4.0, 2.0], [2.0, 0.0]]
    """
    rule = _rule_of(gradient, x)
    return _columns(rule, rule.at(x, units), x)


@in_full_precision
def hessian_and_error(
    gradient: Gradient | SecondOrder, x: jax.Array, units: Lengths = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Returns the Hessian and (dim, dim) estimates of the errors of its entries.

    The error is zero, at no cost, if derivatives are exact. If the Hessian is made of differences, it is an estimate,
    not a bound, and costs three more Hessians. Arguments are those of `hessian`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> found, error = hessian_and_error(jax.grad(lambda x: x[0] ** 2 * x[1]), jnp.array([1.0, 2.0]))
      >>> found.tolist(), error.tolist()
      ([[4.0, 2.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    """
    rule = _rule_of(gradient, x)
    return _columns(rule, rule.with_error_at(x, units), x)


def _rule_of(gradient: Gradient | SecondOrder, x: jax.Array) -> SecondOrder:
    return gradient if isinstance(gradient, SecondOrder) else second_order(gradient, x)


def _columns(rule: SecondOrder, operator: Callable[[jax.Array], Any], x: jax.Array) -> Any:
    """Returns the operator's product with each unit vector, as columns."""
    dim, rows = x.size, jnp.eye(x.size, dtype=x.dtype)
    most = MAX_BYTES_TOGETHER if platform() == "cpu" else MAX_BYTES_OF_ACCELERATOR
    num_together = max(1, most // max(rule.bytes_each, 1)) if rule.is_mappable else 1
    if dim <= num_together:
        return jax.vmap(operator, out_axes=1)(rows)

    # Groups of equal size, so that one program serves all; the last one is padded with zeros.
    num_groups = -(-dim // num_together)
    size = -(-dim // num_groups)
    groups = jnp.pad(rows, ((0, num_groups * size - dim), (0, 0))).reshape(num_groups, size, dim)
    made = jax.lax.map(rule.map(operator), groups)
    return jax.tree.map(lambda leaf: leaf.reshape(num_groups * size, dim)[:dim].T, made)


@in_full_precision
def spectrum(matrix: jax.Array, motions: jax.Array | None = None) -> Spectrum:
    """Returns the spectrum of a Hessian outside the directions in which symmetries move the point.

    Args:
      matrix: (dim, dim) Hessian, symmetric up to rounding.
      motions: (k, dim) these directions, each an orthonormal row or zero; None for none.

    Example:
      >>> import jax.numpy as jnp
      >>> found = spectrum(jnp.diag(jnp.array([3.0, 0.0, -1.0])), motions=jnp.array([[0.0, 1.0, 0.0]]))
      >>> found.eigenvalues[:2].round(6).tolist(), int(found.num_symmetry_modes)
      ([-1.0, 3.0], 1)
    """
    dim = matrix.shape[0]
    eps = jnp.finfo(matrix.dtype).eps
    symmetric = (matrix + matrix.T) / 2
    asymmetry = jnp.linalg.norm(matrix - matrix.T) / 2
    scale = jnp.linalg.norm(symmetric)
    basis = jnp.zeros((1, dim), matrix.dtype) if motions is None else motions
    num_symmetry_modes = num_not_zero(basis)
    # Symmetry modes are shifted above all other eigenvalues, so that they come last and can be cut off.
    height = 4 * (scale + jnp.finfo(matrix.dtype).tiny)
    across = symmetric - basis.T @ (basis @ symmetric)
    marked = across - (across @ basis.T) @ basis + height * (basis.T @ basis)
    eigenvalues, vectors = jnp.linalg.eigh((marked + marked.T) / 2)
    is_mode = jnp.arange(dim, dtype=jnp.int32) < dim - num_symmetry_modes
    norm = jnp.max(jnp.where(is_mode, jnp.abs(eigenvalues), 0), initial=0)
    residual = jnp.linalg.norm(marked @ vectors - vectors * eigenvalues[None, :], axis=0)
    return Spectrum(
        eigenvalues=eigenvalues,
        vectors=vectors,
        error=residual + asymmetry + dim * eps * norm,
        is_mode=is_mode,
        num_symmetry_modes=num_symmetry_modes,
        norm=norm,
        asymmetry=asymmetry,
    )


def orthonormal_rows(rows: jax.Array, slowest: jax.Array | float = 0.0) -> jax.Array:
    """Returns an orthonormal basis of the span of the (k, dim) rows, padded with zero rows to k.

    Directions smaller than `slowest`, or than rounding, are left out.
    """
    if rows.shape[0] == 0:
        return rows
    eps, tiny = jnp.finfo(rows.dtype).eps, jnp.finfo(rows.dtype).tiny
    shortest = jnp.maximum(1e3 * eps * jnp.max(jnp.linalg.norm(rows, axis=1), initial=tiny), slowest)

    def take_longest(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        basis, rest = carry
        lengths = jnp.linalg.norm(rest, axis=1)
        longest = jnp.argmax(lengths)
        unit = rest[longest] / jnp.maximum(lengths[longest], tiny)
        unit -= (basis @ unit) @ basis  # once more, since rounding leaves what the first time removed
        unit = jnp.where(lengths[longest] > shortest, unit / jnp.maximum(jnp.linalg.norm(unit), tiny), 0)
        return basis.at[i].set(unit), rest - jnp.outer(rest @ unit, unit)

    return jax.lax.fori_loop(0, rows.shape[0], take_longest, (jnp.zeros_like(rows), rows))[0]


def num_not_zero(rows: jax.Array) -> jax.Array:
    """Returns () int32, how many of the (k, dim) rows, each of unit length or zero, are not zero."""
    return jnp.sum(jnp.sum(rows**2, axis=1) > 0.5).astype(jnp.int32)
