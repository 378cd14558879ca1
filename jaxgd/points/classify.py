"""A verdict for every end: polished to the critical point beside it, judged by the spectrum there.

A verdict never comes from a small step or a small gradient alone. What polish does not bring to a critical point is
no critical point: it is `gradient_flat` where the gradient lies in the Hessian's kernel, `plateau` where the descent
itself had come to rest on a small gradient, `diverged` where it had left the finite range, and `undecided` otherwise.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgd.base import Ends, InputValueError, Landscape, Params, Points, Status, Verdict
from jaxgd.lanes.checks import check_params, check_value
from jaxgd.lanes.tune import work_of
from jaxgd.points.polish import Polished, polish

MAX_DENSE_DIM = 1024
"""Above this many parameters the whole Hessian is not formed, and every verdict is `undecided`."""

_BYTES_PER_CHUNK = 2**28  # of intermediate arrays of Hessians held at once
_MAX_CHUNK = 256
_NUM_LENGTH_STARTS = 16


def classify(
    landscape: Landscape, ends: Ends | Params, *, progress: Callable[[int, int], None] | None = None
) -> Points:
    """Returns what each end is, judged by curvature.

    Args:
      landscape: what was descended.
      ends: ends of `descend`, or any batch of params with one leading axis.
      progress: called as progress(points judged, points in all) now and then.

    Returns:
      `Points`, in the order of the ends. Above `MAX_DENSE_DIM` parameters all verdicts are `undecided`.

    Raises:
      InputValueError: the ends kept no params, or the batch does not fit the landscape.
      InputTypeError: the batch is not of floating-point arrays.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> saddle = jaxgd.Landscape(value=lambda x: x[0] ** 2 - x[1] ** 2, sample=lambda k: jax.random.normal(k, (2,)))
      >>> points = jaxgd.classify(saddle, jnp.array([[0.1, 0.2]]))
      >>> points.verdict_counts(), int(points.index[0])
      ({'saddle': 1}, 1)
    """
    batch, status = _batch_and_status(landscape, ends)
    one = jax.tree.map(lambda leaf: leaf[0], batch)
    flat, unravel = ravel_pytree(one)
    num_points, dim = jax.tree.leaves(batch)[0].shape[0], flat.size
    rows = np.concatenate([np.asarray(leaf).reshape(num_points, -1) for leaf in jax.tree.leaves(batch)], axis=1)
    rows = rows.astype(flat.dtype)
    if dim > MAX_DENSE_DIM:
        return _undecided(landscape, batch, status)

    judge = _judge(landscape, jax.tree.structure(one), tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(one)))
    length = jnp.asarray(_unit_of_length(landscape), flat.dtype)
    bytes_each = work_of(landscape.evaluate, one).largest * dim * flat.dtype.itemsize
    num_together = min(int(np.clip(_BYTES_PER_CHUNK // bytes_each, 1, _MAX_CHUNK)), num_points)
    parts = []
    for begin in range(0, num_points, num_together):
        chunk = rows[begin : begin + num_together]
        missing = num_together - len(chunk)  # the last chunk is filled up, so that one program serves all
        filled = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
        part = jax.device_get(judge(jnp.asarray(filled), length))
        parts.append(jax.tree.map(lambda leaf, n=num_together - missing: leaf[:n], part))
        if progress is not None:
            progress(begin + len(chunk), num_points)
    value, polished = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return _points(value, polished, status, jax.vmap(unravel)(jnp.asarray(polished.x)))


def _batch_and_status(landscape: Landscape, ends: Any) -> tuple[Params, np.ndarray | None]:
    if isinstance(ends, Ends):
        if ends.params is None:
            raise InputValueError('these ends kept no params; descend with keep=("params",) to judge them.')
        batch, status = ends.params, np.asarray(ends.status)
    else:
        batch, status = jax.tree.map(np.asarray, ends), None
    leaves = jax.tree.leaves(batch)
    if not leaves or any(np.ndim(leaf) == 0 for leaf in leaves) or len({len(leaf) for leaf in leaves}) != 1:
        raise InputValueError("the points to judge must be params with one leading axis of points in every leaf.")
    if len(leaves[0]) == 0:
        raise InputValueError("there are no points to judge.")
    one = jax.eval_shape(lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), batch)
    check_params(one, "the points to judge")
    start = jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
    shapes = lambda tree: jax.tree.map(lambda leaf: leaf.shape, tree)
    if shapes(one) != shapes(start):
        raise InputValueError(
            f"the points to judge have shapes {shapes(one)}, but landscape `{landscape.name}` has {shapes(start)}."
        )
    check_value(landscape, one)
    return batch, status


@functools.lru_cache(maxsize=32)
def _judge(landscape: Landscape, treedef: Any, leaf_types: tuple[Any, ...]) -> Callable[..., Any]:
    """Returns the compiled judge of a batch of flat points: (points, dim), () -> (value, Polished)."""
    example = jax.tree.unflatten(treedef, [jnp.zeros(shape, dtype) for shape, dtype in leaf_types])
    unravel = ravel_pytree(example)[1]
    flatten = lambda tree: ravel_pytree(tree)[0]
    symmetry = landscape.symmetry
    generators = None
    if symmetry is not None and symmetry.generators is not None:
        generators = lambda x: jax.vmap(flatten)(symmetry.generators(unravel(x)))

    def one(end: jax.Array, length: jax.Array) -> tuple[jax.Array, Polished]:
        found = polish(lambda x: flatten(landscape.gradient(unravel(x))), generators, end, length)
        return landscape.value(unravel(found.x)), found

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


def _unit_of_length(landscape: Landscape) -> float:
    """Returns the largest coordinate among a few starts: how far apart things are in this landscape."""
    starts = jax.vmap(landscape.sample)(jax.random.split(jax.random.key(0), _NUM_LENGTH_STARTS))
    return max(float(jnp.max(jnp.abs(leaf), initial=0)) for leaf in jax.tree.leaves(starts))


def _points(value: np.ndarray, polished: Polished, status: np.ndarray | None, params: Params) -> Points:
    num_points = len(value)
    is_at_rest = np.isin(status, [int(Status.CONVERGED), int(Status.PLATEAU)]) if status is not None else False
    is_diverged = ~np.isfinite(value) | ~np.isfinite(polished.gradient_norm)
    if status is not None:
        is_diverged |= status == int(Status.DIVERGED)
    has = {kind: getattr(polished, f"num_{kind}") > 0 for kind in ("negative", "positive", "zero")}
    verdict = np.select(
        [
            is_diverged,
            ~polished.is_critical & polished.is_gradient_flat,
            ~polished.is_critical & is_at_rest,
            ~polished.is_critical,
            has["negative"] & has["positive"],
            has["zero"],
            has["negative"],
        ],
        [
            Verdict.DIVERGED,
            Verdict.GRADIENT_FLAT,
            Verdict.PLATEAU,
            Verdict.UNDECIDED,
            Verdict.SADDLE,
            Verdict.DEGENERATE,
            Verdict.MAXIMUM,
        ],
        Verdict.MINIMUM,
    ).astype(np.int8)
    known = verdict <= int(Verdict.DEGENERATE)

    def unless_known(found: Any, otherwise: float, dtype: Any) -> np.ndarray:
        return np.asarray(np.where(known, found, otherwise), dtype)

    return Points(
        params=jax.tree.map(np.asarray, params),
        value=value,
        gradient_norm=polished.gradient_norm,
        verdict=verdict,
        index=unless_known(polished.num_negative, -1, np.int32),
        index_high=unless_known(polished.num_negative + polished.num_zero, -1, np.int32),
        num_zero_modes=unless_known(polished.num_zero + polished.num_symmetry_modes, -1, np.int32),
        num_symmetry_modes=unless_known(polished.num_symmetry_modes, -1, np.int32),
        lowest_eigenvalue=unless_known(polished.lowest_eigenvalue, np.nan, value.dtype),
        eigenvalue_error=unless_known(polished.eigenvalue_error, np.nan, value.dtype),
        move=polished.move.reshape(num_points),
    )


def _undecided(landscape: Landscape, batch: Params, status: np.ndarray | None) -> Points:
    """Returns verdicts without curvature: diverged, or undecided."""

    def evaluate(params: Params) -> tuple[jax.Array, jax.Array]:
        value, grad = landscape.evaluate(params)
        return value, jnp.linalg.norm(ravel_pytree(grad)[0])

    value, norm = jax.device_get(jax.jit(lambda batch: jax.lax.map(evaluate, batch))(batch))
    unknown = np.full(len(value), -1, np.int32)
    nan = np.full(len(value), np.nan, value.dtype)
    is_diverged = ~np.isfinite(value) | ~np.isfinite(norm)
    if status is not None:
        is_diverged |= status == int(Status.DIVERGED)
    return Points(
        params=batch,
        value=value,
        gradient_norm=norm,
        verdict=np.where(is_diverged, Verdict.DIVERGED, Verdict.UNDECIDED).astype(np.int8),
        index=unknown,
        index_high=unknown,
        num_zero_modes=unknown,
        num_symmetry_modes=unknown,
        lowest_eigenvalue=nan,
        eigenvalue_error=nan,
        move=np.zeros(len(value), value.dtype),
    )
