"""From an end to the critical point beside it, and the spectrum there, for one point at a time.

Newton's method on grad f = 0 goes to the nearest critical point of any index, with the symmetry's zero modes projected
out. It must not wander: a step is taken only if the gradient norm falls, the whole way stays within a few times the
first step (Kantorovich: where Newton converges quadratically, within twice of it), and no eigenvalue may change sign
clearly on the way. What breaks a rule is left where it was.

Everything is written for one point and one step, so that many points can be driven together and those that are done
left out: `begin`, then `advance` while `is_going`, then `finish`.

An eigenvalue counts as zero when it cannot be told from zero, and rounding is not the only reason. At a multiple root
of the gradient, x^3 say, floating-point numbers cannot place the root better than about sqrt(eps), and the curvature
found there is that of a point beside it: noise of either sign. So each eigenvalue's error bound also holds the change
of curvature along its eigenvector when the point moves over that distance.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgd.curvature import Spectrum, hessian, spectrum
from jaxgd.curvature.dense import nothing_known
from jaxgd.points.flat import Generators, motions_at, placement_error

Gradient = Callable[[jax.Array], jax.Array]

MAX_NEWTON_STEPS = 40
REACH = 4.0  # of the first Newton step; an m-fold root needs m - 1 of them, a simple one less than 2
SHORTENINGS = (1.0, 0.5, 0.25, 0.125)
DIGIT = 0.1  # share to which a step must bring the gradient down for its Hessian to serve once more


class Polished(NamedTuple):
    """What was found beside one end; scalars unless said otherwise."""

    x: jax.Array  # (dim,) the critical point, or the end itself where none was reached
    gradient_norm: jax.Array  # there
    move: jax.Array  # distance from the end
    is_critical: jax.Array  # bool, a critical point was reached
    is_gradient_flat: jax.Array  # bool, the gradient is not zero but lies in the Hessian's kernel
    num_negative: jax.Array  # int32, eigenvalues below zero by more than their error
    num_positive: jax.Array  # int32
    num_zero: jax.Array  # int32, neither, symmetry modes not counted
    num_symmetry_modes: jax.Array  # int32
    lowest_eigenvalue: jax.Array
    eigenvalue_error: jax.Array  # of the eigenvalue nearest to zero
    asymmetry: jax.Array  # of the Hessian at the end, as a share of its largest eigenvalue
    is_finite: jax.Array  # bool, whether the Hessian at the end is


class Inertia(NamedTuple):
    """How many eigenvalues lie below zero, above it, and neither; () int32 each."""

    num_negative: jax.Array
    num_positive: jax.Array
    num_zero: jax.Array


class Polishing(NamedTuple):
    """A point on its way; `num_steps` is -1 until its end has been looked at."""

    end: jax.Array  # (dim,) where the descent ended
    x: jax.Array  # (dim,)
    gradient: jax.Array  # (dim,) at x
    at: Spectrum  # of the Hessian at x
    step: jax.Array  # (dim,) the full Newton step from x
    move: jax.Array  # distance from the end
    reach: jax.Array  # how far it may be
    num_steps: jax.Array  # () int32
    improves: jax.Array  # bool, the last step brought the gradient down, and more is to be gained
    first: Inertia  # at the end
    gradient_norm_at_end: jax.Array
    asymmetry_at_end: jax.Array  # as a share of the largest eigenvalue

    def is_going(self) -> Any:
        """Returns whether another step is to be taken."""
        return self.improves & (self.num_steps < MAX_NEWTON_STEPS) & (self.move <= self.reach)


def begin(end: jax.Array) -> Polishing:
    """Returns an end (dim,) before anything is known of it."""
    zero, count = jnp.zeros((), end.dtype), jnp.zeros((), jnp.int32)
    return Polishing(
        end=end,
        x=end,
        gradient=jnp.full_like(end, jnp.inf),
        at=nothing_known(end.size, end.dtype),
        step=jnp.zeros_like(end),
        move=zero,
        reach=zero,
        num_steps=count - 1,
        improves=jnp.ones((), bool),
        first=Inertia(count, count, count),
        gradient_norm_at_end=zero,
        asymmetry_at_end=zero,
    )


def advance(gradient: Gradient, generators: Generators | None, state: Polishing, length: jax.Array) -> Polishing:
    """Returns the point after one Newton step and its repetitions, or after the first look at its end.

    Args:
      gradient: maps a flat point (dim,) to the gradient (dim,).
      generators: maps a flat point to (num_motions, dim) velocities of the continuous symmetries, or None.
      state: of one point.
      length: () the landscape's unit of length, which says how well a point can be placed.
    """
    trials = state.x[None] + jnp.asarray(SHORTENINGS, state.x.dtype)[:, None] * state.step[None]
    gradients = jax.vmap(gradient)(trials)
    norms = jnp.linalg.norm(gradients, axis=1)
    best = jnp.argmin(jnp.where(jnp.isfinite(norms), norms, jnp.inf))
    is_first = state.num_steps < 0
    improves = norms[best] < jnp.linalg.norm(state.gradient)
    x = jnp.where(improves, trials[best], state.x)
    at_x = jnp.where(improves | is_first, gradients[best], state.gradient)
    x, at_x = _repeat(gradient, x, at_x, state.at)
    at = spectrum(hessian(gradient, x), motions_at(generators, x, length))
    step, norm = newton_step(at, at_x), jnp.linalg.norm(at_x)
    can_begin = jnp.all(jnp.isfinite(step)) & (norm > 0)
    at_first = lambda new, old: jax.tree.map(lambda a, b: jnp.where(is_first, a, b), new, old)
    return state._replace(
        x=x,
        gradient=at_x,
        at=at,
        step=step,
        move=jnp.linalg.norm(x - state.end),
        reach=at_first(REACH * jnp.linalg.norm(step) + placement_error(x, length), state.reach),
        num_steps=state.num_steps + 1,
        improves=jnp.where(is_first, can_begin, improves & _is_left(x, norm, at)),
        first=at_first(_inertia(at, at.error), state.first),
        gradient_norm_at_end=at_first(norm, state.gradient_norm_at_end),
        asymmetry_at_end=at_first(at.asymmetry / jnp.where(at.norm > 0, at.norm, 1), state.asymmetry_at_end),
    )


def _is_left(x: jax.Array, norm: jax.Array, at: Spectrum) -> jax.Array:
    """Returns whether the gradient is above what one rounding of x makes of it."""
    return norm > jnp.finfo(x.dtype).eps * at.norm * jnp.linalg.norm(x)


def _repeat(gradient: Gradient, x: jax.Array, at_x: jax.Array, at: Spectrum) -> tuple[jax.Array, jax.Array]:
    """Returns where the same Hessian leads while it gains a digit a step, and the gradient there.

    A gradient costs far less than a spectrum.
    """

    def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, at_x, _ = carry
        new = x + newton_step(at, at_x)
        at_new = gradient(new)
        norm = jnp.linalg.norm(at_new)
        gains = norm <= DIGIT * jnp.linalg.norm(at_x)  # false where it is not finite
        return jnp.where(gains, new, x), jnp.where(gains, at_new, at_x), gains & _is_left(new, norm, at)

    goes = jnp.any(at.is_mode) & _is_left(x, jnp.linalg.norm(at_x), at)
    return jax.lax.while_loop(lambda carry: carry[2], step, (x, at_x, goes))[:2]


def finish(gradient: Gradient, state: Polishing, length: jax.Array) -> Polished:
    """Returns what was found beside an end; arguments as in `advance`."""
    at, x = state.at, state.x
    resolution = placement_error(state.end, length)
    error = at.error + curvature_change(gradient, at, x, resolution)
    inertia, first = _inertia(at, error), state.first
    is_settled = jnp.linalg.norm(state.step) <= 100 * resolution
    is_flat = _is_gradient_flat(at, state.gradient, length)
    keeps_signs = (first.num_negative <= inertia.num_negative + inertia.num_zero) & (
        first.num_positive <= inertia.num_positive + inertia.num_zero
    )
    is_finite = jnp.all(jnp.isfinite(state.gradient)) & jnp.isfinite(at.norm)
    is_critical = is_settled & ~is_flat & (state.move <= state.reach) & keeps_signs & is_finite
    nearest = jnp.argmin(jnp.where(at.is_mode, jnp.abs(at.eigenvalues), jnp.inf))
    return Polished(
        x=jnp.where(is_critical, x, state.end),
        gradient_norm=jnp.where(is_critical, jnp.linalg.norm(state.gradient), state.gradient_norm_at_end),
        move=jnp.where(is_critical, state.move, 0),
        is_critical=is_critical,
        is_gradient_flat=is_flat & is_finite,
        num_negative=inertia.num_negative,
        num_positive=inertia.num_positive,
        num_zero=inertia.num_zero,
        num_symmetry_modes=at.num_symmetry_modes,
        lowest_eigenvalue=jnp.where(at.is_mode[0], at.eigenvalues[0], jnp.nan),
        eigenvalue_error=error[nearest],
        asymmetry=state.asymmetry_at_end,
        is_finite=jnp.isfinite(state.asymmetry_at_end),
    )


def newton_step(at: Spectrum, gradient: jax.Array) -> jax.Array:
    """Returns the step to where the quadratic model's gradient vanishes, within the modes that have curvature."""
    is_curved = at.is_mode & (jnp.abs(at.eigenvalues) > at.error)
    along = at.vectors.T @ gradient
    return -at.vectors @ jnp.where(is_curved, along / jnp.where(is_curved, at.eigenvalues, 1), 0)


def _inertia(at: Spectrum, error: jax.Array) -> Inertia:
    count = lambda mask: jnp.sum(mask & at.is_mode).astype(jnp.int32)
    return Inertia(
        num_negative=count(at.eigenvalues < -error),
        num_positive=count(at.eigenvalues > error),
        num_zero=count(jnp.abs(at.eigenvalues) <= error),
    )


def curvature_change(
    gradient: Callable[[jax.Array], jax.Array], at: Spectrum, x: jax.Array, distance: jax.Array
) -> jax.Array:
    """Returns (dim,) how much the curvature along each eigenvector changes when x moves by `distance` in every mode.

    The largest change over three moves of random signs, so that no third derivative goes unseen but by accident.
    """
    signs = jax.random.rademacher(jax.random.key(0), (2, x.size), x.dtype)
    moves = distance * jnp.stack([signs[0], -signs[0], signs[1]]) @ at.vectors.T
    curvature = lambda moved: jnp.sum(at.vectors * (hessian(gradient, moved) @ at.vectors), axis=0)
    return jnp.max(jnp.abs(jax.vmap(curvature)(x[None] + moves) - at.eigenvalues[None]), axis=0)


def _is_gradient_flat(at: Spectrum, gradient: jax.Array, length: jax.Array) -> jax.Array:
    """Returns whether the gradient lies in the kernel of the Hessian without being zero."""
    along = at.vectors.T @ gradient
    image = jnp.linalg.norm(jnp.where(at.is_mode, at.eigenvalues * along, 0))
    norm = jnp.linalg.norm(jnp.where(at.is_mode, along, 0))
    rounding = jnp.sqrt(jnp.finfo(gradient.dtype).eps)
    return (image <= rounding * at.norm * norm) & (norm > rounding * at.norm * length) & (norm > 0)
