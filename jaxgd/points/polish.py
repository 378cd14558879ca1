"""From an end to the critical point beside it, and the spectrum there, for one point at a time.

Newton's method on grad f = 0 goes to the nearest critical point of any index, with the symmetry's zero modes projected
out. It must not wander: a step is taken only if the gradient norm falls, the whole way stays within a few times the
first step (Kantorovich: where Newton converges quadratically, within twice of it), and no eigenvalue may change sign
clearly on the way. What breaks a rule is left where it was.

An eigenvalue counts as zero when it cannot be told from zero, and rounding is not the only reason. At a multiple root
of the gradient, x^3 say, floating-point numbers cannot place the root better than about sqrt(eps), and the curvature
found there is that of a point beside it: noise of either sign. So each eigenvalue's error bound also holds the change
of curvature along its eigenvector when the point moves over that distance.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgd.curvature import Spectrum, hessian, spectrum
from jaxgd.points.flat import Generators, motions_at, placement_error

MAX_NEWTON_STEPS = 40
REACH = 4.0  # of the first Newton step; an m-fold root needs m - 1 of them, a simple one less than 2
SHORTENINGS = (1.0, 0.5, 0.25, 0.125)
DIGIT = 0.1


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


class _State(NamedTuple):
    x: jax.Array
    gradient: jax.Array
    move: jax.Array
    at: Spectrum  # of the Hessian at x
    step: jax.Array  # the full Newton step from x
    num_steps: jax.Array
    improves: jax.Array


def polish(
    gradient: Callable[[jax.Array], jax.Array],
    generators: Generators | None,
    end: jax.Array,
    length: jax.Array,
) -> Polished:
    """Returns the critical point beside `end` and its inertia.

    Args:
      gradient: maps a flat point (dim,) to the gradient (dim,).
      generators: maps a flat point to (num_motions, dim) velocities of the continuous symmetries, or None.
      end: (dim,) where a descent ended.
      length: () the landscape's unit of length, which says how well a point can be placed.
    """
    spectrum_at = lambda x: spectrum(hessian(gradient, x), motions_at(generators, x, length))
    eps = jnp.finfo(end.dtype).eps
    resolution = placement_error(end, length)

    gradient_at_end = gradient(end)
    first = spectrum_at(end)
    first_step = newton_step(first, gradient_at_end)
    reach = REACH * jnp.linalg.norm(first_step) + resolution
    start = _State(
        x=end,
        gradient=gradient_at_end,
        move=jnp.zeros((), end.dtype),
        at=first,
        step=first_step,
        num_steps=jnp.zeros((), jnp.int32),
        improves=jnp.all(jnp.isfinite(first_step)) & (jnp.linalg.norm(gradient_at_end) > 0),
    )

    def is_going(state: _State) -> jax.Array:
        return state.improves & (state.num_steps < MAX_NEWTON_STEPS) & (state.move <= reach)

    # Once the gradient is below what one rounding of x makes of it, there is nothing left to gain.
    is_left = lambda x, norm, at: norm > eps * at.norm * jnp.linalg.norm(x)

    def advance(state: _State) -> _State:
        trials = state.x[None] + jnp.asarray(SHORTENINGS, state.x.dtype)[:, None] * state.step[None]
        gradients = jax.vmap(gradient)(trials)
        norms = jnp.linalg.norm(gradients, axis=1)
        best = jnp.argmin(jnp.where(jnp.isfinite(norms), norms, jnp.inf))
        improves = norms[best] < jnp.linalg.norm(state.gradient)
        x = jnp.where(improves, trials[best], state.x)
        x, new_gradient = hold(x, jnp.where(improves, gradients[best], state.gradient), state.at)
        at = spectrum_at(x)
        return _State(
            x=x,
            gradient=new_gradient,
            move=jnp.linalg.norm(x - end),
            at=at,
            step=newton_step(at, new_gradient),
            num_steps=state.num_steps + 1,
            improves=improves & is_left(x, jnp.linalg.norm(new_gradient), at),
        )

    def hold(x: jax.Array, at_x: jax.Array, at: Spectrum) -> tuple[jax.Array, jax.Array]:
        """Returns where the same Hessian leads while it gains a digit a step, and the gradient there.

        A gradient costs far less than a spectrum.
        """

        def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            x, at_x, _ = carry
            new = x + newton_step(at, at_x)
            at_new = gradient(new)
            norm = jnp.linalg.norm(at_new)
            gains = norm <= DIGIT * jnp.linalg.norm(at_x)  # false where it is not finite
            return jnp.where(gains, new, x), jnp.where(gains, at_new, at_x), gains & is_left(new, norm, at)

        start = x, at_x, is_left(x, jnp.linalg.norm(at_x), at)
        return jax.lax.while_loop(lambda carry: carry[2], step, start)[:2]

    final = jax.lax.while_loop(is_going, advance, start)
    at = final.at
    error = at.error + curvature_change(gradient, at, final.x, resolution)
    inertia = _inertia(at, error)
    inertia_at_end = _inertia(first, first.error)
    is_settled = jnp.linalg.norm(final.step) <= 100 * resolution
    is_flat = _is_gradient_flat(at, final.gradient, length)
    keeps_signs = (inertia_at_end.num_negative <= inertia.num_negative + inertia.num_zero) & (
        inertia_at_end.num_positive <= inertia.num_positive + inertia.num_zero
    )
    is_finite = jnp.all(jnp.isfinite(final.gradient)) & jnp.isfinite(at.norm)
    is_critical = is_settled & ~is_flat & (final.move <= reach) & keeps_signs & is_finite
    nearest = jnp.argmin(jnp.where(at.is_mode, jnp.abs(at.eigenvalues), jnp.inf))
    return Polished(
        x=jnp.where(is_critical, final.x, end),
        gradient_norm=jnp.linalg.norm(jnp.where(is_critical, final.gradient, gradient_at_end)),
        move=jnp.where(is_critical, final.move, 0),
        is_critical=is_critical,
        is_gradient_flat=is_flat & is_finite,
        num_negative=inertia.num_negative,
        num_positive=inertia.num_positive,
        num_zero=inertia.num_zero,
        num_symmetry_modes=at.num_symmetry_modes,
        lowest_eigenvalue=jnp.where(at.is_mode[0], at.eigenvalues[0], jnp.nan),
        eigenvalue_error=error[nearest],
        asymmetry=first.asymmetry / jnp.where(first.norm > 0, first.norm, 1),
        is_finite=jnp.isfinite(first.asymmetry),
    )


def newton_step(at: Spectrum, gradient: jax.Array) -> jax.Array:
    """Returns the step to where the quadratic model's gradient vanishes, within the modes that have curvature."""
    is_curved = at.is_mode & (jnp.abs(at.eigenvalues) > at.error)
    along = at.vectors.T @ gradient
    return -at.vectors @ jnp.where(is_curved, along / jnp.where(is_curved, at.eigenvalues, 1), 0)


class _Inertia(NamedTuple):
    num_negative: jax.Array
    num_positive: jax.Array
    num_zero: jax.Array


def _inertia(at: Spectrum, error: jax.Array) -> _Inertia:
    count = lambda mask: jnp.sum(mask & at.is_mode).astype(jnp.int32)
    return _Inertia(
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
    curvature = lambda at_x, vector: vector @ jax.jvp(gradient, (at_x,), (vector,))[1]
    curvatures = jax.vmap(jax.vmap(curvature, in_axes=(None, 1)), in_axes=(0, None))(x[None] + moves, at.vectors)
    return jnp.max(jnp.abs(curvatures - at.eigenvalues[None]), axis=0)


def _is_gradient_flat(at: Spectrum, gradient: jax.Array, length: jax.Array) -> jax.Array:
    """Returns whether the gradient lies in the kernel of the Hessian without being zero."""
    along = at.vectors.T @ gradient
    image = jnp.linalg.norm(jnp.where(at.is_mode, at.eigenvalues * along, 0))
    norm = jnp.linalg.norm(jnp.where(at.is_mode, along, 0))
    rounding = jnp.sqrt(jnp.finfo(gradient.dtype).eps)
    return (image <= rounding * at.norm * norm) & (norm > rounding * at.norm * length) & (norm > 0)
