"""How long descents dwell at points of each index, by probing the curvature at regular steps.

A trajectory is never exactly at a saddle, but the index of the Hessian at its current point tells in how many
directions it could fall away. The probe does not influence the descents, which are those of `descend` with the same
key. `statistics.index_spells` cuts the observations into spells, the input of `survival_curve` and `log_rank`.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxgd.base import Engine, InputValueError, Key, Landscape, Params
from jaxgd.checks import call_checked, check_params
from jaxgd.curvature import hessian
from jaxgd.face import Face
from jaxgd.front_door import front_door
from jaxgd.points.judge import MAX_DENSE_DIM
from jaxgd.statistics import Spells, index_spells, time_by_index
from jaxgd.trajectory import Observe, trajectories


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DwellByIndex(Face):
    """The curvature along descents.

    Attributes:
      steps: (k,) int32, ticks at which it was probed.
      index: (n, k) int32, eigenvalues below zero by more than rounding; -1 where the Hessian was not finite.
      lowest_eigenvalue: (n, k), NaN where not finite.
      value: (n, k) the landscape's value there, without noise.
      gradient_norm: (n, k) Euclidean norm of its gradient.
      spells: the observations cut into spells of equal index.
    """

    steps: np.ndarray
    index: np.ndarray
    lowest_eigenvalue: np.ndarray
    value: np.ndarray
    gradient_norm: np.ndarray
    spells: Spells

    def __str__(self) -> str:
        lines = [f"{'index':>5} {'mean ticks':>11} {'95% interval':>20} {'spells':>8} {'ended':>8}"]
        for index, time in time_by_index(self.spells).items():
            ticks, escaped = self.spells.of(index)
            name = index if index >= 0 else "?"
            limits = f"{time.low:,.1f} to {time.high:,.1f}"
            lines.append(f"{name:>5} {time.value:>11,.1f} {limits:>20} {ticks.size:>8,} {escaped.sum():>8,}")
        watched = int(self.steps[-1])
        return "\n".join([*lines, f"{self.spells.num_lanes:,} descents, each watched for {watched:,} ticks."])


@front_door
def dwell_by_index(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    num_starts: int | None = None,
    *,
    key: Key,
    num_steps: int,
    every: int = 10,
    starts: Params | None = None,
    is_noisy: bool = False,
    engine: Engine | None = None,
) -> DwellByIndex:
    """Returns the index of the Hessian along descents, probed every `every` steps.

    An eigenvalue counts as negative below -sqrt(eps) times the largest. Away from critical points the modes of a
    symmetry are not zero: the rotations of a cluster may add up to three negative ones.

    Args:
      landscape: what to descend; the Hessian is that of `value`, also where descents are noisy.
      optimizer: any optax transformation, as in `descend`.
      num_starts: how many starts to draw (>= 1); omit it if `starts` is given. Memory must hold one Hessian for each
        descent that runs at the same time: all of them, unless `engine` limits the lanes.
      key: a key such as `jax.random.key(0)`; start i and its noise are those of `descend`.
      num_steps: ticks to watch (>= 1).
      every: ticks from one probe to the next (>= 1); a probe costs as many gradients as there are parameters.
      starts: explicit starts instead, params with one leading axis.
      is_noisy: descend random draws of the landscape's `noisy_value`.
      engine: layout ("lanes_first" by default) and number of lanes, on one device.

    Raises:
      InputValueError, InputTypeError: an argument is invalid, or there are more than `MAX_DENSE_DIM` parameters.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> well = jaxgd.landscapes.double_well_1d()  # index 1 where 3 x^2 < 1
      >>> seen = dwell_by_index(
      ...     well, optax.sgd(0.1), key=jax.random.key(0), num_steps=60, every=1, starts=jnp.array([0.01, -0.3]))
      >>> print(seen.spells.of(1))
      (array([45.,  9.]), array([ True,  True]))
    """
    one = call_checked("the `sample` of the landscape", lambda: jax.eval_shape(landscape.sample, key))
    check_params(one, f"the starts of landscape `{landscape.name}`")
    dim = sum(leaf.size for leaf in jax.tree.leaves(one))
    if dim > MAX_DENSE_DIM:
        raise InputValueError(
            f"the index is read from whole Hessians, of at most {MAX_DENSE_DIM} parameters; this landscape has {dim}."
        )

    steps, seen = trajectories(
        landscape,
        optimizer,
        num_starts,
        key=key,
        num_steps=num_steps,
        every=every,
        starts=starts,
        observe=_probe(landscape),
        is_noisy=is_noisy,
        engine=engine,
    )

    steps = np.asarray(steps)
    index, lowest, value, gradient_norm = (np.asarray(leaf) for leaf in seen)
    return DwellByIndex(
        steps=steps,
        index=index,
        lowest_eigenvalue=lowest,
        value=value,
        gradient_norm=gradient_norm,
        spells=index_spells(steps, index),
    )


@functools.lru_cache(maxsize=8)
def _probe(landscape: Landscape) -> Observe:
    """Returns the observations at an iterate: index, lowest eigenvalue, value, gradient norm."""

    def look(params: Params, state: Any) -> Any:
        del state
        x, unravel = ravel_pytree(params)
        value, grad = landscape.evaluate(params)
        matrix = hessian(lambda x: ravel_pytree(landscape.gradient(unravel(x)))[0], x)
        eigenvalues = jnp.linalg.eigvalsh((matrix + matrix.T) / 2)
        zero = jnp.sqrt(jnp.finfo(x.dtype).eps) * jnp.max(jnp.abs(eigenvalues))
        is_known = jnp.isfinite(value) & jnp.all(jnp.isfinite(eigenvalues))
        index = jnp.where(is_known, jnp.sum(eigenvalues < -zero), -1)
        return index.astype(jnp.int32), eigenvalues[0], value, optax.tree.norm(grad)

    return look
