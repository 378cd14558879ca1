"""The least residual |H s - b| over a growing Krylov space, for a symmetric H of any inertia, in a few vectors.

H may be indefinite (beside a saddle) or singular (along zero modes): what can be solved is solved, and what is left
over lies in the kernel. Two measures end the process: the residual, and H times the residual, which is small when the
rest of b cannot be reached.

References:
  Paige and Saunders, Solution of Sparse Indefinite Systems of Linear Equations, SIAM J. Numer. Anal. 12, 617 (1975);
  Liu, Milzarek and Roosta, Obtaining Pseudo-inverse Solutions With MINRES, arXiv 2309.17096 (2023).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Solution(NamedTuple):
    """Where MINRES stopped.

    Attributes:
      step: (dim,) the solution.
      residual: () norm of H s - b.
      image: () norm of H times the residual one step before, over the norm of that residual.
      norm: () estimate of the largest absolute eigenvalue, from below.
      num_products: () int32.
    """

    step: jax.Array
    residual: jax.Array
    image: jax.Array
    norm: jax.Array
    num_products: jax.Array


class _State(NamedTuple):
    solution: Solution
    row: jax.Array  # the next Lanczos row, not yet of unit length
    last_row: jax.Array  # the one before it
    length: jax.Array  # of `row`
    last_length: jax.Array
    direction: jax.Array
    last_direction: jax.Array
    cosine: jax.Array
    sine: jax.Array
    diagonal_bar: jax.Array
    second: jax.Array  # entry two off the diagonal of the triangular factor


def minres(
    product: Callable[[jax.Array], jax.Array],
    b: jax.Array,
    *,
    tolerance: float,
    max_products: int | jax.Array,
    norm: jax.Array | None = None,
) -> Solution:
    """Returns the approximate solution of H s = b, without a part in the kernel of H.

    Args:
      product: maps a (dim,) vector to its product with H.
      b: (dim,) right-hand side.
      tolerance: stop at a residual of this share of |b|; or when |H r| for the residual r is less than sqrt(eps) |H|
        |r|, so that the rest cannot be solved.
      max_products: stop after so many, and one for the residual.
      norm: () a known lower bound on the norm of H; without it a zero b cannot be told from a small H.

    Example:
      >>> import jax.numpy as jnp
      >>> diagonal = jnp.array([-2.0, 1.0, 4.0])
      >>> found = minres(lambda v: diagonal * v, jnp.array([2.0, 1.0, 4.0]), tolerance=1e-6, max_products=9)
      >>> found.step.round(4).tolist()
      [-1.0, 1.0, 1.0]
    """
    zero, none = jnp.zeros_like(b), jnp.zeros((), b.dtype)
    known = none if norm is None else norm
    length = jnp.linalg.norm(b)
    tiny = jnp.finfo(b.dtype).tiny
    start = _State(
        solution=Solution(zero, length, jnp.full((), jnp.inf, b.dtype), known, jnp.zeros((), jnp.int32)),
        row=b,
        last_row=zero,
        length=length,
        last_length=none,
        direction=zero,
        last_direction=zero,
        cosine=-jnp.ones((), b.dtype),
        sine=none,
        diagonal_bar=none,
        second=none,
    )

    kernel = jnp.sqrt(jnp.finfo(b.dtype).eps)

    def is_going(state: _State) -> jax.Array:
        done = state.solution
        is_stuck = done.image <= kernel * done.norm
        has_room = (done.num_products < max_products) & (state.length > tiny)
        return has_room & (done.residual > tolerance * length) & ~is_stuck

    def advance(state: _State) -> _State:
        unit = state.row / state.length
        row = product(unit)
        ratio = state.length / jnp.where(state.last_length > 0, state.last_length, 1)
        row = row - jnp.where(state.last_length > 0, ratio, 0) * state.last_row
        diagonal = jnp.dot(unit, row)
        row = row - diagonal / state.length * state.row
        below = jnp.linalg.norm(row)
        norm = jnp.maximum(state.solution.norm, jnp.hypot(diagonal, below))

        # The new column of the tridiagonal matrix: rotated as before, then by a new rotation.
        first = state.cosine * state.diagonal_bar + state.sine * diagonal
        bar = state.sine * state.diagonal_bar - state.cosine * diagonal
        diagonal_bar = -state.cosine * below
        image = jnp.hypot(bar, diagonal_bar)
        pivot = jnp.maximum(jnp.hypot(bar, below), tiny)
        cosine, sine = bar / pivot, below / pivot

        # The step, unless it would be noise divided by noise.
        direction = (unit - state.second * state.last_direction - first * state.direction) / pivot
        is_solvable = image > kernel * norm
        share = jnp.where(is_solvable, cosine * state.solution.residual, 0)
        return _State(
            solution=Solution(
                step=state.solution.step + jnp.where(is_solvable, share * direction, 0),
                residual=jnp.where(is_solvable, sine, 1) * state.solution.residual,
                image=image,
                norm=norm,
                num_products=state.solution.num_products + 1,
            ),
            row=row,
            last_row=state.row,
            length=below,
            last_length=state.length,
            direction=direction,
            last_direction=state.direction,
            cosine=cosine,
            sine=sine,
            diagonal_bar=diagonal_bar,
            second=state.sine * below,
        )

    found = jax.lax.while_loop(is_going, advance, start).solution
    # What is left over when the rest of b cannot be reached spans the solution's part in the kernel.
    left = b - product(found.step)
    squared = jnp.dot(left, left)
    in_kernel = jnp.dot(left, found.step) / jnp.where(squared > 0, squared, 1) * left
    return found._replace(
        step=found.step - jnp.where(found.image <= kernel * found.norm, in_kernel, 0),
        residual=jnp.sqrt(squared),
        num_products=found.num_products + 1,
    )
