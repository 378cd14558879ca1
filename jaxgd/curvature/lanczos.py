"""The ends of a spectrum from Hessian-vector products alone, with certain and probable bounds.

The Lanczos process with full reorthogonalisation builds orthonormal rows Q, one product each, and the projection
T = Q H Q'. Its eigenpairs (t, y) are the Ritz pairs, and three things are known of them:

- There is an eigenvalue of H within r = |H Q'y - t Q'y| of t.
- By Cauchy's interlacing, H has at least as many eigenvalues below zero as T. That is exact for orthonormal rows, so
  the count of Ritz values below zero by more than the error of T is a lower bound on the index, without
  any condition on r: Ritz values of orthonormal rows are never counted twice.
- What was not seen is bounded by a probability only (`jaxgd.curvature.missed`).

The error of T is measured, not assumed: rounding and a wrong custom derivative both make the computed Q H Q'
asymmetric, and a loss of orthogonality shows in Q Q' - 1. To these sqrt(dim) rounding units of the largest Ritz value
are added for the part of the rounding that is symmetric (dot products of length dim, Higham and Mary 2019). The bounds
hold up to that estimate.

The host drives the process, one product at a time, so that it can stop whenever enough is known; rows are kept in
blocks that grow with it. When they fill the memory granted, the process restarts from its outermost Ritz vectors
(thick restart, Wu and Simon 2000). matfree does the same inside one compiled program with all columns allocated
beforehand; that costs a third of a product a step at a million parameters, where this one costs a tenth or less
(`python -m experiments.benchmarks.curvature`).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import InputValueError, Key
from jaxgd.curvature.missed import least_curvature, missed_probability
from jaxgd.curvature.products import Product
from jaxgd.platforms import platform

MAX_BASIS_BYTES = 2**30
"""Rows of the basis, of all lanes together, before the process restarts."""

_BLOCK_ENTRIES = 2**23  # of the rows that are allocated and multiplied together; 4 to 16 rows
_MIN_ROWS = 48
_LOOK_EVERY = 8
_KEPT_HIGHEST = 0.25  # of the Ritz vectors kept at a restart
_CLEAN = 0.25  # of the rounding error of a Ritz value: components along older rows below this need not be removed
_MAX_PASSES = 3
_HIGHEST = jax.lax.Precision.HIGHEST


@dataclass(frozen=True, kw_only=True, eq=False)
class Ritz:
    """What a Lanczos process found of the spectra of several lanes; entries of directions that do not exist are NaN.

    Attributes:
      values: (lanes, k) Ritz values, ascending.
      residuals: (lanes, k) norm of H v - t v; an eigenvalue lies within it, and `error`, of the Ritz value.
      error: (lanes,) bound on the error of every Ritz value by rounding and asymmetry.
      asymmetry: (lanes,) Frobenius norm of the antisymmetric part of the projected matrix, as measured.
      norm: (lanes,) largest absolute Ritz value.
      spread: (lanes,) largest minus smallest Ritz value.
      dim: (lanes,) dimension of the space searched, zero modes taken off.
      num_products: products that were computed.
      num_krylov: dimension of the Krylov space of the random start, before any restart.
      basis: the rows, in blocks of (lanes, rows, dim).
      coefficients: (lanes, rows, k) of the Ritz vectors in the rows.
    """

    values: np.ndarray
    residuals: np.ndarray
    error: np.ndarray
    asymmetry: np.ndarray
    norm: np.ndarray
    spread: np.ndarray
    dim: np.ndarray
    num_products: int
    num_krylov: int
    basis: tuple[jax.Array, ...]
    coefficients: np.ndarray

    @property
    def low(self) -> np.ndarray:
        """(lanes, k), each with an eigenvalue between it and `high`."""
        return self.values - self.residuals - self.error[:, None]

    @property
    def high(self) -> np.ndarray:
        """(lanes, k), see `low`."""
        return self.values + self.residuals + self.error[:, None]

    def num_negative(self) -> np.ndarray:
        """Returns (lanes,) int32 a lower bound on the number of eigenvalues below zero."""
        return np.sum(self.values < -self.error[:, None], axis=1).astype(np.int32)

    def num_positive(self) -> np.ndarray:
        """Returns (lanes,) int32 a lower bound on the number of eigenvalues above zero."""
        return np.sum(self.values > self.error[:, None], axis=1).astype(np.int32)

    def missed_probability(self, depth: np.ndarray | float) -> np.ndarray:
        """Returns (lanes,) a bound on the probability that curvature below -`depth` exists."""
        return missed_probability(self.values[:, 0] - self.error, self.spread, depth, self.dim, self.num_krylov)

    def least_curvature(self, probability: float) -> np.ndarray:
        """Returns (lanes,) a bound that no eigenvalue is below, except with `probability`."""
        return least_curvature(self.values[:, 0] - self.error, self.spread, probability, self.dim, self.num_krylov)

    def vectors(self, which: np.ndarray) -> jax.Array:
        """Returns (lanes, m, dim) unit Ritz vectors of the (lanes, m) places in `values`."""
        chosen = np.take_along_axis(self.coefficients, np.asarray(which)[:, None, :], axis=2)
        return _combine(self.basis, _padded(chosen, self.basis).transpose(0, 2, 1))


def lanczos(
    product: Product,
    key: Key,
    *,
    num_products: int,
    zero_modes: jax.Array | None = None,
    until: Callable[[Ritz], bool] | None = None,
    max_bytes: int = MAX_BASIS_BYTES,
) -> Ritz:
    """Returns Ritz values from a start uniform on the sphere, with their error bounds.

    Rows and sums are float64 if jax has it enabled, whatever type the product uses.

    Args:
      product: the operator of every lane.
      key: of the random start; lanes draw their own.
      num_products: products at most (>= 1); never more than the dimension.
      zero_modes: (lanes, m, dim) orthonormal or zero rows of directions to leave out, such as a symmetry's motions.
      until: called with the result every eight products, less often in small dimensions; may end the process.
      max_bytes: memory for the rows of all lanes, 48 rows at least.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxgd.curvature import product_of
      >>> diagonal = jnp.array([-2.0, 1.0, 3.0])
      >>> found = lanczos(product_of(lambda v: diagonal * v, 3), jax.random.key(0), num_products=3)
      >>> found.values.round(3).tolist(), found.num_negative().tolist()
      ([[-2.0, 1.0, 3.0]], [1])
    """
    if isinstance(num_products, bool) or not isinstance(num_products, (int, np.integer)) or num_products < 1:
        raise InputValueError(f"`num_products` must be an integer of at least 1, got {num_products!r}.")
    process = _Process(product, key, zero_modes, max_bytes)
    num_products = min(int(num_products), int(process.free_dim.max()))
    next_look = _LOOK_EVERY
    while process.num_products < max(num_products, 1):
        process.extend()
        if until is not None and process.num_products == next_look:
            if until(process.ritz()):
                break
            # the small eigenproblem should not cost more than the rows added since the last one
            next_look += _LOOK_EVERY * max(1, process.num_rows**2 // (3 * product.dim))
    return process.ritz(is_last=True)


class _Process:
    """A Lanczos process under way, driven from the host."""

    def __init__(self, product: Product, key: Key, zero_modes: jax.Array | None, max_bytes: int) -> None:
        lanes, dim = product.num_lanes, product.dim
        wide = jnp.zeros(()).dtype  # float64 if enabled
        self.product, self.key = product, key
        self.dtype = max(wide, jnp.dtype(product.dtype), key=lambda dtype: dtype.itemsize)
        self.rounding = float(jnp.finfo(self.dtype).eps) * math.sqrt(dim)
        num_modes = np.zeros(lanes, int)
        self.modes = []
        if zero_modes is not None:
            num_modes = np.asarray(jnp.sum(jnp.sum(zero_modes**2, axis=2) > 0.5, axis=1))
            self.modes = [zero_modes.astype(self.dtype)] if np.any(num_modes) else []
        self.free_dim = dim - num_modes

        # How many rows fit into memory.
        self.rows_together = int(np.clip(_BLOCK_ENTRIES // (lanes * dim), 4, 16))
        rows = max_bytes // (lanes * dim * self.dtype.itemsize)
        self.max_rows = int(max(_MIN_ROWS, rows // self.rows_together * self.rows_together))

        # The basis and the projection, empty so far.
        self.num_products = self.num_krylov = self.num_rows = 0
        self.blocks: list[jax.Array] = []
        self.matrix = np.zeros((lanes, 0, 0))  # Q H Q', as computed
        self.border = np.zeros((lanes, 0))  # of the next row, against the rows that are there
        self.is_row = np.zeros((lanes, 0), bool)
        self.span = np.stack([np.full(lanes, np.inf), np.full(lanes, -np.inf)])

        # A random start, orthogonal to the directions left out.
        start = jax.random.normal(jax.random.fold_in(key, 0), (lanes, dim), self.dtype)
        self.last_two = (jnp.zeros_like(start), jnp.zeros_like(start))
        for block in self.modes:
            start = _subtract(start, _along(block, start), block)
        length = np.asarray(_lengths(start))
        self.is_next = self.free_dim > 0
        self.next = _scaled(start, np.where(self.is_next, 1 / np.where(length > 0, length, 1), 0))

    def extend(self) -> None:
        """Adds one row and its product."""
        if self.num_rows == self.max_rows:
            self.restart()
        k, lanes = self.num_rows, self.product.num_lanes
        place = k % self.rows_together
        if place == 0:
            self.blocks.append(jnp.zeros((lanes, self.rows_together, self.product.dim), self.dtype))

        # The new row, and its product with the operator.
        row = self.next
        self.blocks[-1] = _place(self.blocks[-1], np.int32(place), row)
        self.last_two = (self.last_two[1], row)
        self.is_row = np.concatenate([self.is_row, self.is_next[:, None]], axis=1)
        column, length = self.orthogonalise(self.product(row))

        # The projected matrix grows by the product's column.
        grown = np.zeros((lanes, k + 1, k + 1))
        grown[:, :k, :k], grown[:, k, :k] = self.matrix, self.border
        grown[:, :, k] = column
        self.matrix = grown
        self.border = np.zeros((lanes, k + 1))
        self.border[:, k] = length

        self.num_rows += 1
        self.num_products += 1
        if self.num_products <= self.max_rows:
            self.num_krylov = self.num_products

    def orthogonalise(self, product: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        """Sets the next row from a product; returns its coefficients in the rows, and the length of what is left."""
        vector, near, size, length = _strip_two(product, *self.last_two)
        size, length = np.asarray(size), np.asarray(length)
        vector, column, length = self.strip(vector, length)
        column[:, -2:] += np.asarray(near)[:, -column.shape[1] :]
        is_done = length <= 10 * float(jnp.finfo(self.dtype).eps) * size
        self.is_next = np.ones(len(length), bool)
        if np.any(is_done):  # an invariant subspace: go on from a new random direction
            key = jax.random.fold_in(self.key, self.num_products + 1)
            fresh, left = jax.random.normal(key, vector.shape, self.dtype), length
            for _ in range(3):
                size = np.maximum(np.asarray(_lengths(fresh)), float(jnp.finfo(self.dtype).tiny))
                fresh, _, left = self.strip(_scaled(fresh, 1 / size), np.ones_like(left))
            # what is left of a unit vector is small where the rows span the whole space
            self.is_next = ~is_done | (left > 0.5)
            vector = jnp.where(jnp.asarray(is_done[:, None]), _scaled(fresh, np.where(left > 0.5, 1 / left, 0)), vector)
            length = np.where(is_done, 0.0, length)
        self.next = _scaled(vector, 1 / np.where(is_done, 1.0, length))
        return column, length

    def strip(self, vector: jax.Array, length: np.ndarray) -> tuple[jax.Array, np.ndarray, np.ndarray]:
        """Returns what is left of a vector off modes and rows, its coefficients in the rows, and its length.

        The last two rows have taken away nearly everything, and what is left of the others is rounding: then to measure
        it is enough. Not after a restart, nor when a Ritz value has settled or little is left: once or twice more.
        """
        blocks = (*self.modes, *self.blocks)
        total = np.zeros((len(length), sum(block.shape[1] for block in blocks)))
        clean = _CLEAN * self.rounding
        for _ in range(_MAX_PASSES):
            along = [_along(block, vector) for block in blocks]
            column = np.concatenate([np.asarray(part, np.float64) for part in along], axis=1)
            total += column
            if np.all(np.max(np.abs(column), axis=1) <= clean * length):
                break
            for block, part in zip(blocks, along, strict=True):
                vector = _subtract(vector, part, block)
            before, length = length, np.asarray(_lengths(vector))
            if np.all(length > 0.9 * before):
                break
        num_modes = sum(block.shape[1] for block in self.modes)
        return vector, total[:, num_modes : num_modes + self.num_rows + 1], length

    def loss_of_orthogonality(self) -> np.ndarray:
        """Returns (lanes,) the Frobenius norm of Q Q' - 1, rows that do not exist left out."""
        total = np.zeros(self.product.num_lanes)
        for i, one in enumerate(self.blocks):
            for other in self.blocks[:i]:
                total += 2 * np.sum(_products(one, other) ** 2, axis=(1, 2))
            own = _products(one, one)
            total += np.sum(((1 - np.eye(own.shape[1]))[None] * own) ** 2, axis=(1, 2))
        return np.sqrt(total)

    def restart(self) -> None:
        """Keeps the outermost Ritz vectors, the lowest ones above all."""
        found = self.ritz()
        num_kept = self.max_rows // 2
        num_highest = int(num_kept * _KEPT_HIGHEST)
        kept = np.r_[: num_kept - num_highest, self.num_rows - num_highest : self.num_rows]
        vectors = found.coefficients[:, :, kept]
        turn = vectors.transpose(0, 2, 1)
        self.blocks = list(_turned(tuple(self.blocks), turn))
        self.matrix = turn @ self.matrix @ vectors
        self.border = np.einsum("lk,lkm->lm", self.border, vectors)
        self.is_row = np.isfinite(found.values[:, kept])
        self.num_rows = num_kept
        self.last_two = (jnp.zeros_like(self.next), jnp.zeros_like(self.next))

    def ritz(self, is_last: bool = False) -> Ritz:
        """Returns what is known so far; the loss of orthogonality is measured for the last result only."""
        is_fine = np.all(np.isfinite(self.matrix), axis=(1, 2)) & np.all(np.isfinite(self.border), axis=1)
        matrix = np.where(is_fine[:, None, None], self.matrix, 0.0)
        symmetric = (matrix + matrix.transpose(0, 2, 1)) / 2
        asymmetry = np.linalg.norm((matrix - matrix.transpose(0, 2, 1)) / 2, axis=(1, 2))
        # rows that do not exist are moved above everything else, where they come out last
        beyond = 4 * (np.linalg.norm(symmetric, axis=(1, 2)) + np.finfo(np.float64).tiny)
        symmetric += np.eye(self.num_rows)[None] * (np.where(self.is_row, 0.0, beyond[:, None]))[:, None, :]
        values, coefficients = np.linalg.eigh(symmetric)
        is_real = np.arange(self.num_rows)[None] < self.is_row.sum(axis=1)[:, None]
        is_real &= is_fine[:, None]
        seen = np.where(is_real, values, np.nan)
        lowest = np.minimum(np.min(np.where(is_real, values, np.inf), axis=1), self.span[0])
        highest = np.maximum(np.max(np.where(is_real, values, -np.inf), axis=1), self.span[1])
        norm = np.where(is_fine, np.maximum(np.abs(lowest), np.abs(highest)), np.nan)
        self.span = np.where(is_fine[None], np.stack([lowest, highest]), self.span)
        eps = float(jnp.finfo(self.product.dtype).eps)
        loss = self.loss_of_orthogonality() if is_last else 0.0
        error = 2 * asymmetry + norm * (eps * np.sqrt(self.product.dim) + loss)
        residuals = np.abs(np.einsum("lk,lkm->lm", np.where(is_fine[:, None], self.border, 0), coefficients))
        return Ritz(
            values=seen,
            residuals=np.where(is_real, residuals, np.nan),
            error=np.where(is_fine, error, np.nan),
            asymmetry=np.where(is_fine, asymmetry, np.nan),
            norm=norm,
            spread=np.where(is_fine, highest - lowest, np.nan),
            dim=self.free_dim,
            num_products=self.num_products,
            num_krylov=self.num_krylov,
            basis=tuple(self.blocks),
            coefficients=coefficients,
        )


# --------------------------------------------------------------------------------------- compiled parts


@functools.partial(jax.jit, donate_argnums=0)
def _place(block: jax.Array, place: jax.Array, row: jax.Array) -> jax.Array:
    return block.at[:, place].set(row)


@jax.jit
def _strip_two(vector: jax.Array, older: jax.Array, newer: jax.Array) -> tuple[jax.Array, ...]:
    """Returns (what is left of a vector off two rows, its coefficients in them, the length before, the length left)."""
    size = jnp.linalg.norm(vector, axis=1)
    along = jnp.stack([_dot(older, vector), _dot(newer, vector)], axis=1)
    vector = vector - along[:, :1] * older - along[:, 1:] * newer
    return vector, along, size, jnp.linalg.norm(vector, axis=1)


def _dot(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.einsum("ln,ln->l", one, other, precision=_HIGHEST)


@jax.jit
def _along(block: jax.Array, vector: jax.Array) -> jax.Array:
    return jnp.einsum("lkn,ln->lk", block, vector, precision=_HIGHEST)


@functools.partial(jax.jit, donate_argnums=0)
def _subtract(vector: jax.Array, along: jax.Array, block: jax.Array) -> jax.Array:
    return vector - jnp.einsum("lk,lkn->ln", along, block, precision=_HIGHEST)


@jax.jit
def _lengths(vector: jax.Array) -> jax.Array:
    return jnp.linalg.norm(vector, axis=1)


@jax.jit
def _scaled(vector: jax.Array, factor: np.ndarray) -> jax.Array:
    return vector * factor.astype(vector.dtype)[:, None]


def _products(rows: jax.Array, others: jax.Array) -> np.ndarray:
    """Returns (lanes, k, m) products of a few long rows: on CPU by BLAS, which not every XLA calls for them."""
    if platform() == "cpu":
        return np.asarray(rows) @ np.asarray(others).transpose(0, 2, 1)
    return np.asarray(jnp.einsum("lkn,lmn->lkm", rows, others, precision=_HIGHEST))


def _combine(blocks: tuple[jax.Array, ...], coefficients: jax.Array) -> jax.Array:
    """Returns (lanes, m, dim) combinations of the rows with (lanes, m, rows) coefficients."""
    total = jnp.zeros((*coefficients.shape[:2], blocks[0].shape[2]), blocks[0].dtype)
    for block, part in zip(blocks, jnp.split(coefficients, len(blocks), axis=2), strict=True):
        total = _add_combination(total, part, block)
    return total


@functools.partial(jax.jit, donate_argnums=0)
def _add_combination(total: jax.Array, coefficients: jax.Array, block: jax.Array) -> jax.Array:
    return total + jnp.einsum("lmk,lkn->lmn", coefficients, block, precision=_HIGHEST)


def _turned(blocks: tuple[jax.Array, ...], turn: np.ndarray) -> tuple[jax.Array, ...]:
    """Returns new blocks of rows, (lanes, m, rows) combinations of the old ones, one block at a time."""
    padded = _padded(turn.transpose(0, 2, 1), blocks).transpose(0, 2, 1)
    together = blocks[0].shape[1]
    padded = jnp.pad(padded, ((0, 0), (0, -padded.shape[1] % together), (0, 0)))
    return tuple(_combine(blocks, padded[:, i : i + together]) for i in range(0, padded.shape[1], together))


def _padded(coefficients: np.ndarray, blocks: tuple[jax.Array, ...]) -> jax.Array:
    """Returns (lanes, rows, m) coefficients with zeros for the rows of the last block that are still empty."""
    missing = sum(block.shape[1] for block in blocks) - coefficients.shape[1]
    return jnp.asarray(np.pad(coefficients, ((0, 0), (0, missing), (0, 0))), blocks[0].dtype)
