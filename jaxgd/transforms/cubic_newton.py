r"""Newton's method with cubic regularisation: each step minimises an upper bound of the function.

$$s = \arg\min_s\; g\cdot s + \tfrac12 s\cdot H s + \tfrac{M}{6} |s|^3, \qquad
(H + \tfrac{M}{2}|s|)\,s = -g, \quad H + \tfrac{M}{2}|s| \succeq 0.$$

Source: Nesterov and Polyak, Math. Program. 108, 177 (2006); on Krylov subspaces Cartis, Gould, Toint,
Math. Program. 127, 245 (2011).
"""

import jax
import jax.numpy as jnp
import optax

from jaxgd.transforms import checks
from jaxgd.transforms.krylov import EigenModel, model_descent

NUM_BISECTIONS = 100  # of a logarithm's range: more than double precision can tell apart


def cubic_newton(
    hessian_lipschitz: checks.Scalar, *, num_vectors: int | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Returns cubic Newton; `update` needs the extra argument `hvp`.

    If M is at least the Lipschitz constant of the Hessian, the value falls at every step, and the steps end
    at a point without negative curvature at a rate that theory gives: exact saddles included, which it leaves
    along the lowest eigenvector. Too small an M overshoots, too large a one is slow far from the end. Cost:
    as for `saddle_free_newton`; the Krylov form does not see negative directions to which the gradient is
    orthogonal.

    Args:
      hessian_lipschitz: the M of the equation (> 0), in value / length^3.
      num_vectors: size of the Krylov subspace (>= 1); None for the whole space up to 128 parameters, 32
        above.

    Returns:
      A transformation whose state counts Hessian-vector products in `num_hvps`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `hvp`.
      InputTypeError: when `num_vectors` is not an integer.

    Example:
      From the exact saddle x = 0 of x^4/4 - x^2/2, with M = 6, the step has length 2/M:

      >>> import jax.numpy as jnp
      >>> optimizer, x = cubic_newton(6.0), jnp.zeros(1)
      >>> move, _ = optimizer.update(jnp.zeros(1), optimizer.init(x), x, hvp=lambda v: -v)
      >>> print(f"{abs(move[0]):.6f}")
      0.333333
    """
    checks.positive("hessian_lipschitz", hessian_lipschitz)
    if num_vectors is not None:
        checks.count("num_vectors", num_vectors)

    def step_fn(model: EigenModel) -> jax.Array:
        return _cubic_step(model, jnp.asarray(hessian_lipschitz, model.slopes.dtype))

    return model_descent("cubic_newton", step_fn, num_vectors)


def _cubic_step(model: EigenModel, lipschitz: jax.Array) -> jax.Array:
    """Returns the minimiser's coefficients: bisects for t = lowest + M|s|/2, |s(t)| = 2 (t - lowest) / M."""
    values, dtype = model.eigenvalues, model.slopes.dtype
    epsilon, tiny = jnp.finfo(dtype).eps, jnp.finfo(dtype).tiny
    gaps, lowest = values - values[0], values[0]
    # The hard case: a component along the lowest eigenvector too small to be seen is made just visible.
    size = jnp.maximum(jnp.linalg.norm(model.slopes), lowest * lowest / lipschitz)
    visible = jnp.maximum(epsilon * size, tiny)
    is_hidden = (jnp.abs(model.slopes) < visible) & (gaps == 0)
    slopes = jnp.where(is_hidden, visible, model.slopes)

    length_of = lambda t: jnp.linalg.norm(slopes / (gaps + t))
    excess = lambda t: length_of(t) - 2 * (t - lowest) / lipschitz  # falls with t
    # At t = max(lowest, 0) the length on the right is least; at the upper end it exceeds every |s(t)|.
    low = jnp.maximum(lowest, epsilon * visible)
    high = low + jnp.abs(lowest) + jnp.sqrt(lipschitz * jnp.linalg.norm(slopes)) + tiny

    def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = jnp.sqrt(low) * jnp.sqrt(high)
        is_low = excess(middle) > 0
        return jnp.where(is_low, middle, low), jnp.where(is_low, high, middle)

    low, high = jax.lax.fori_loop(0, NUM_BISECTIONS, halve, (low, high))
    return -slopes / (gaps + (low + high) / 2)
