"""What is known at the point itself, critical or not: gradient, curvature, steps, units, each with what limits it."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Literal

from jaxgd.base import Key
from jaxgd.curvature.lanczos import Ritz, lanczos
from jaxgd.diagnose.problem import Problem
from jaxgd.diagnose.response import Response
from jaxgd.diagnose.samples import Samples
from jaxgd.diagnose.units import Layer

MAX_WHOLE = 512
"""Parameters up to which the whole spectrum is found."""

_RESOLVED = 0.02  # of an eigenvalue, or of a thousandth of the largest: its residual
_PROBABILITY = 0.01  # of missed curvature, for which a limit is stated
_NO_INFLUENCE = 1e-6  # of the largest spread of a gradient's coordinate over batches
_AT_REST = 1e-6  # of the spread of losses: what the best step along the gradient would gain


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One number about the point.

    Attributes:
      name: in words.
      value: the number.
      low: lower end of where it lies; nan where there is no interval.
      high: upper end.
      note: how it was had, or what it means.
    """

    name: str
    value: float
    low: float = np.nan
    high: float = np.nan
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curvature:
    """The ends of the Hessian's spectrum at the point.

    Attributes:
      lowest: (value, low, high) of the lowest eigenvalue seen; one lies in [low, high].
      highest: the same of the highest.
      least: no eigenvalue is below it, but for a probability of 0.01; -inf if too little was seen.
      direction: (dim,) unit vector of curvature `lowest`.
      is_whole: whether the whole spectrum was found.
      num_negative: negative eigenvalues that are sure, at least.
      along_gradient: g'Hg / |g|^2; nan where the gradient is zero.
      along_update: u'Hu of the optimizer's step.
      num_products: what it cost.
    """

    lowest: tuple[float, float, float]
    highest: tuple[float, float, float]
    least: float
    direction: Array
    is_whole: bool
    num_negative: int
    along_gradient: float
    along_update: float
    num_products: int

    @property
    def norm(self) -> float:
        """Largest size of an eigenvalue seen."""
        return max(abs(self.lowest[0]), abs(self.highest[0]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """All findings in numbers, for the rules.

    Attributes:
      loss: at the point.
      gradient_norm: of the loss of all data.
      rounding: change of the gradient when every parameter moves to a neighbouring number, its norm.
      scale: spread of the loss over examples, or the size of the loss without data; the unit of every gain.
      samples: of batches; None without examples.
      curvature: None in the cheap tier, or where there are no second derivatives.
      response: of the optimizer.
      layers: activations that were seen.
      without_influence: (dim,) coordinates that no example moves.
      leaf_shares: of each leaf without influence.
      zero_leaves: names of leaves on which the loss does not depend at all.
      batch_size: of a training step; None where it sees all data.
    """

    loss: float
    gradient_norm: float
    rounding: float
    scale: float
    samples: Samples | None
    curvature: Curvature | None
    response: Response
    layers: list[Layer]
    without_influence: np.ndarray
    leaf_shares: dict[str, float]
    zero_leaves: tuple[str, ...]
    batch_size: int | None
    notes: tuple[str, ...] = field(default=())

    @property
    def signal_to_noise(self) -> float:
        """|g|^2 over the variance of the gradient of one training batch; inf where a step sees all data."""
        if self.samples is None or self.batch_size is None:
            return np.inf
        return self.gradient_norm**2 * self.batch_size / max(self.samples.trace, 1e-300)

    @property
    def best_along_gradient(self) -> float:
        """What the best step along the gradient would gain, by the quadratic model."""
        if self.curvature is None:
            return np.nan
        bend = self.curvature.along_gradient
        bend = bend if bend > 0 else self.curvature.norm
        return self.gradient_norm**2 / (2 * bend) if bend > 0 else (np.inf if self.gradient_norm > 0 else 0.0)

    @property
    def is_at_rest(self) -> bool:
        """Whether the gradient is as good as zero: rounding, or nothing to be gained along it."""
        return self.gradient_norm <= 8 * self.rounding or self.best_along_gradient <= _AT_REST * self.scale

    @property
    def num_silent(self) -> tuple[int, int]:
        """Silent units and all units that were seen."""
        return sum(layer.num_silent for layer in self.layers), sum(layer.num_units for layer in self.layers)


def curvature_at(problem: Problem, gradient: Array, update: Array, key: Key, num_products: int) -> Curvature:
    """Returns the ends of the spectrum, and the curvature along gradient and update."""
    product = problem.product()
    is_small = problem.dim <= MAX_WHOLE

    def is_enough(found: Ritz) -> bool:
        ends, residuals = found.values[0, [0, -1]], found.residuals[0, [0, -1]]
        return bool(np.all(residuals <= _RESOLVED * np.maximum(np.abs(ends), 1e-3 * found.norm[0])))

    found = lanczos(
        product, key, num_products=problem.dim if is_small else min(num_products, problem.dim),
        until=None if is_small else is_enough,
    )  # fmt: skip
    is_real = np.isfinite(found.values[0])
    last = int(np.flatnonzero(is_real)[-1]) if is_real.any() else 0
    end = lambda place: (float(found.values[0, place]), float(found.low[0, place]), float(found.high[0, place]))
    length = float(jnp.linalg.norm(gradient))
    unit = gradient / (length or 1.0)
    along = float(jnp.vdot(unit, product(unit[None])[0])) if length > 0 else np.nan
    update = jnp.asarray(update, problem.x.dtype)
    return Curvature(
        lowest=end(0), highest=end(last), least=float(found.least_curvature(_PROBABILITY)[0]),
        direction=found.vectors(np.array([[0]]))[0, 0], is_whole=is_small,
        num_negative=int(found.num_negative()[0]), along_gradient=along,
        along_update=float(jnp.vdot(update, product(update[None])[0])), num_products=found.num_products + 2,
    )  # fmt: skip


def gradient_rounding(problem: Problem, gradient: Array) -> float:
    """Returns the norm by which the gradient changes when every parameter moves to a neighbouring number."""
    eps = float(jnp.finfo(problem.x.dtype).eps)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], problem.dim)
    beside = problem.x + eps * jnp.abs(problem.x) * jnp.asarray(signs, problem.x.dtype)
    return float(jnp.linalg.norm(problem.gradient(beside)[1] - gradient))


def influence_of(problem: Problem, gradient: Array, samples: Samples | None) -> tuple[np.ndarray, dict[str, float]]:
    """Returns which coordinates no example moves, and their share in each leaf."""
    sizes = np.abs(np.asarray(gradient, np.float64)) if samples is None else samples.spread
    is_without = sizes <= _NO_INFLUENCE * np.max(sizes, initial=0.0)
    shares = {name: float(np.mean(is_without[part])) for name, part in zip(problem.names, problem.slices, strict=True)}
    return is_without, shares


def zero_leaves_of(problem: Problem) -> tuple[str, ...]:
    """Returns the names of leaves on which the loss does not depend, as its equations say."""
    leaves = problem.objective.leaves(problem.x)
    batch = None if problem.data.arrays is None else jax.tree.map(lambda leaf: leaf[:2], problem.data.arrays)

    def loss(leaves: list[Array]) -> Array:
        arguments = (batch, problem.operand.key) if problem.objective.has_key else (batch,)
        found = problem.objective.loss(problem.objective.join(leaves, problem.operand.fixed), *arguments)
        return found[0] if problem.objective.has_aux else found

    jaxpr = jax.make_jaxpr(loss)(leaves).jaxpr
    wanted = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    for equation in reversed(jaxpr.eqns):
        if wanted & set(equation.outvars):
            wanted |= {atom for atom in equation.invars if not isinstance(atom, Literal)}
    return tuple(name for name, var in zip(problem.names, jaxpr.invars, strict=True) if var not in wanted)


def listed(facts: Observations, problem: Problem) -> list[Finding]:
    """Returns the findings for a table."""
    found = [
        Finding(name="loss", value=facts.loss),
        Finding(name="gradient norm", value=facts.gradient_norm, note=f"rounding alone makes {facts.rounding:.2g}"),
    ]
    samples, curvature, response = facts.samples, facts.curvature, facts.response
    if samples is not None:
        square = max(facts.gradient_norm**2, 1e-300)
        found.append(
            Finding(
                name="critical batch size", value=samples.trace / square, low=samples.low / square,
                high=samples.high / square, note="examples at which the noise of a step equals its gradient",
            )
        )  # fmt: skip
        if facts.batch_size is not None:
            ratio = facts.signal_to_noise
            noise = [
                facts.gradient_norm**2 * facts.batch_size / max(end, 1e-300) for end in (samples.high, samples.low)
            ]
            found.append(
                Finding(
                    name="signal to noise", value=ratio, low=noise[0], high=noise[1],
                    note=f"of a step on {facts.batch_size:,} examples",
                )
            )  # fmt: skip
    if curvature is not None:
        value, low, high = curvature.lowest
        seen = (
            "the whole spectrum was found"
            if curvature.is_whole
            else f"but for a probability of 0.01 none is below {curvature.least:.3g}"
        )
        found.append(Finding(name="lowest curvature", value=value, low=low, high=high, note=seen))
        value, low, high = curvature.highest
        found.append(Finding(name="highest curvature", value=value, low=low, high=high))
        if response.is_linear and np.isfinite(response.rate) and response.rate > 0:
            half = response.rate / 2
            found.append(
                Finding(
                    name="highest curvature over 2/rate", value=half * value, low=half * low, high=half * high,
                    note="above 1 plain descent bounces along it",
                )
            )  # fmt: skip
        if response.rate > 0 and curvature.lowest[2] < 0:
            found.append(
                Finding(
                    name="steps to escape", value=1 / (response.rate * -curvature.lowest[0]),
                    low=1 / (response.rate * -curvature.lowest[1]), high=1 / (response.rate * -curvature.lowest[2]),
                    note="for a factor of e along the lowest curvature",
                )
            )  # fmt: skip
        slope = -response.rate * facts.gradient_norm**2
        found.append(
            Finding(
                name="predicted change in one step", value=slope + curvature.along_update / 2,
                note="by the quadratic model along the optimizer's step",
            )
        )  # fmt: skip
    if np.isfinite(response.clip_norm):
        share = float(np.mean(samples.norms > response.clip_norm)) if samples is not None else 1.0
        found.append(Finding(name="clipped to", value=response.clip_norm, note=f"{share:.0%} of steps"))
    if response.is_used:
        found.append(
            Finding(
                name="step with fresh state", value=response.staleness, note="its length in steps with the state given"
            )
        )
    silent, units = facts.num_silent
    if units:
        found.append(Finding(name="silent units", value=silent / units, note=f"{silent} of {units} dead or saturated"))
    sizes = [
        (float(np.linalg.norm(response.update[part])) / max(float(jnp.linalg.norm(problem.x[part])), 1e-300), name)
        for name, part in zip(problem.names, problem.slices, strict=True)
    ]
    least, most = min(sizes), max(sizes)
    found.append(Finding(name="least step of a leaf", value=least[0], note=f"{least[1]}, relative to its size"))
    found.append(Finding(name="largest step of a leaf", value=most[0], note=f"{most[1]}, relative to its size"))
    return found
