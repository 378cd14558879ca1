"""The quadratic model of a function at a point, from Hessian-vector products: whole, or on a Krylov subspace.

Parameters are handled as one flat vector here, the Hessian as its eigenvalues on a subspace. In a subspace
built by the Lanczos process from a start vector, with full reorthogonalisation, the basis rows are
orthonormal; a row of zeros stands for a direction that does not exist because the process ended early.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxgd.base import Params
from jaxgd.transforms import checks

MAX_DENSE = 128  # parameters up to which the whole Hessian is formed, unless the caller says otherwise
DEFAULT_VECTORS = 32  # size of the Krylov subspace above that

Vector = jax.Array  # (dim,)
VectorProduct = Callable[[Vector], Vector]
HessianProduct = Callable[[Params], Params]


class EigenModel(NamedTuple):
    """A quadratic model g.s + s.H.s / 2 in an eigenbasis of H, or of its projection.

    Attributes:
      eigenvalues: (k,) ascending.
      vectors: (k, dim) unit rows, or zeros.
      slopes: (k,) the gradient's components along the rows.
    """

    eigenvalues: jax.Array
    vectors: jax.Array
    slopes: jax.Array


class Lanczos(NamedTuple):
    """A Lanczos process under way.

    Attributes:
      basis: (k, dim) orthonormal rows, zeros from the first unknown one on.
      diagonal: (k,) of the tridiagonal matrix.
      off_diagonal: (k,) next to it; the last entry is the norm of what is left over.
    """

    basis: jax.Array
    diagonal: jax.Array
    off_diagonal: jax.Array


def flatten(
    method: str, tree: Params, hvp: HessianProduct | None
) -> tuple[Vector, VectorProduct, Callable[[Vector], Params]]:
    """Returns a pytree as a vector, the Hessian-vector product on vectors, and the way back."""
    if hvp is None:
        raise checks.missing(method, "hvp")
    vector, unflatten = ravel_pytree(tree)
    return vector, lambda v: ravel_pytree(hvp(unflatten(v)))[0], unflatten


def begin_lanczos(start: Vector, num_vectors: int) -> Lanczos:
    """Returns the process before its first product; a start of zero stays zero."""
    length = jnp.linalg.norm(start)
    basis = jnp.zeros((num_vectors, start.size), start.dtype)
    basis = basis.at[0].set(start / jnp.where(length > 0, length, 1))
    return Lanczos(basis, jnp.zeros(num_vectors, start.dtype), jnp.zeros(num_vectors, start.dtype))


def lanczos_row(state: Lanczos, step: jax.Array) -> Vector:
    """Returns the basis vector whose product with the Hessian is wanted at `step`."""
    return _unit(state, step) @ state.basis


def extend_lanczos(state: Lanczos, step: jax.Array, product: Vector) -> Lanczos:
    """Returns the process after the product of the Hessian with `lanczos_row(state, step)`."""
    scale = jnp.linalg.norm(product)
    diagonal = jnp.dot(lanczos_row(state, step), product)
    for _ in range(2):  # twice is enough
        product = product - (state.basis @ product) @ state.basis
    length = jnp.linalg.norm(product)
    is_new = length > 100 * jnp.finfo(product.dtype).eps * scale
    row = jnp.where(is_new, product / jnp.where(is_new, length, 1), 0)
    return Lanczos(
        basis=state.basis + _unit(state, step + 1)[:, None] * row[None, :],
        diagonal=state.diagonal + _unit(state, step) * diagonal,
        off_diagonal=state.off_diagonal + _unit(state, step) * jnp.where(is_new, length, 0),
    )


def ritz(state: Lanczos) -> tuple[jax.Array, jax.Array]:
    """Returns the Ritz values (k,), ascending, and vectors (k, dim); those of no direction come last."""
    is_row = jnp.any(state.basis != 0, axis=1)
    beyond = 1 + 4 * jnp.max(jnp.abs(state.diagonal) + jnp.abs(state.off_diagonal))
    off = state.off_diagonal[:-1]
    matrix = jnp.diag(jnp.where(is_row, state.diagonal, beyond)) + jnp.diag(off, 1) + jnp.diag(off, -1)
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors.T @ state.basis


def _unit(state: Lanczos, step: jax.Array) -> jax.Array:
    places = jnp.arange(len(state.basis), dtype=jnp.int32)
    return (places == jnp.asarray(step, jnp.int32)).astype(state.basis.dtype)


def subspace_size(dim: int, num_vectors: int | None) -> int:
    """Returns how many Hessian-vector products a model takes: `dim` where it is dense."""
    if num_vectors is None:
        num_vectors = dim if dim <= MAX_DENSE else DEFAULT_VECTORS
    return min(num_vectors, dim)


def quadratic_model(grad: Vector, product: VectorProduct, num_vectors: int | None) -> EigenModel:
    """Returns the model, dense or on the Krylov subspace of the gradient, at `subspace_size` products."""
    size = subspace_size(grad.size, num_vectors)
    if size == grad.size:
        hessian = jax.vmap(product)(jnp.eye(size, dtype=grad.dtype))
        values, vectors = jnp.linalg.eigh((hessian + hessian.T) / 2)
        vectors = vectors.T
    else:

        def body(step: jax.Array, state: Lanczos) -> Lanczos:
            return extend_lanczos(state, step, product(lanczos_row(state, step)))

        values, vectors = ritz(jax.lax.fori_loop(0, size, body, begin_lanczos(grad, size)))
    return EigenModel(eigenvalues=values, vectors=vectors, slopes=vectors @ grad)


class SecondOrderState(NamedTuple):
    """What a method carries that remembers nothing but its cost.

    Attributes:
      num_hvps: () int32, Hessian-vector products so far.
    """

    num_hvps: jax.Array


def model_descent(
    method: str, step_fn: Callable[[EigenModel], jax.Array], num_vectors: int | None
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation whose update is `step_fn`'s coefficients in the model's eigenbasis."""

    def init(params: Params) -> SecondOrderState:
        del params
        return SecondOrderState(num_hvps=jnp.zeros([], jnp.int32))

    def update(
        updates: Params,
        state: SecondOrderState,
        params: Params | None = None,
        *,
        hvp: HessianProduct | None = None,
        **extra: Any,
    ) -> tuple[Params, SecondOrderState]:
        del params, extra
        grad, product, unflatten = flatten(method, updates, hvp)
        model = quadratic_model(grad, product, num_vectors)
        move = unflatten(step_fn(model) @ model.vectors)
        return move, SecondOrderState(state.num_hvps + subspace_size(grad.size, num_vectors))

    return optax.GradientTransformationExtraArgs(init, update)
