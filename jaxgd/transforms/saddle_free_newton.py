r"""Saddle-free Newton: Newton's step with the absolute values of the Hessian's eigenvalues.

$$x \leftarrow x - \eta\,|H|^{-1} g, \qquad |H| = \sum_i \max(|\lambda_i|, \lambda_{\min})\, q_i q_i^\top.$$

Source: Dauphin, Pascanu, Gulcehre, Cho, Ganguli, Bengio, NeurIPS 2014, arXiv:1406.2572.
"""

import jax
import jax.numpy as jnp
import optax

from jaxgd.transforms import checks
from jaxgd.transforms.krylov import EigenModel, model_descent


def saddle_free_newton(
    learning_rate: checks.Scalar = 1.0,
    *,
    min_curvature: checks.Scalar = 1e-6,
    max_step: checks.Scalar | None = None,
    num_vectors: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns saddle-free Newton; `update` needs the extra argument `hvp`.

    On an indefinite quadratic one step sends every stable coordinate to zero and doubles every unstable one:
    saddles repel it as strongly as minima attract it, whatever the scales. It costs as many Hessian-vector
    products a step as there are parameters, up to 128 parameters, and 32 above that, on the Krylov subspace
    of the gradient, which does not see a negative direction to which the gradient is orthogonal. It cannot
    leave an exact critical point.

    Args:
      learning_rate: the eta of the equation (> 0).
      min_curvature: smaller curvatures, in absolute value, count as this (> 0), so that zero modes do not
        blow up.
      max_step: longest Euclidean move of one step (> 0); None for no cap. Give one far from critical points.
      num_vectors: size of the Krylov subspace (>= 1); None for the rule above.

    Returns:
      A transformation whose state counts Hessian-vector products in `num_hvps`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` lacks `hvp`.
      InputTypeError: when `num_vectors` is not an integer.

    Example:
      >>> import jax.numpy as jnp
      >>> curvature, x = jnp.array([3.0, -0.01]), jnp.array([1.0, 1.0])
      >>> optimizer = saddle_free_newton()
      >>> move, _ = optimizer.update(curvature * x, optimizer.init(x), x, hvp=lambda v: curvature * v)
      >>> (x + move).tolist()
      [0.0, 2.0]

    References:
      The source damps |H| by a multiple of the identity; here small curvatures are raised to `min_curvature`,
      which leaves the others exact.
    """
    checks.positive("learning_rate", learning_rate)
    checks.positive("min_curvature", min_curvature)
    if max_step is not None:
        checks.positive("max_step", max_step)
    if num_vectors is not None:
        checks.count("num_vectors", num_vectors)

    def step_fn(model: EigenModel) -> jax.Array:
        dtype = model.slopes.dtype
        curvature = jnp.maximum(jnp.abs(model.eigenvalues), jnp.asarray(min_curvature, dtype))
        step = -jnp.asarray(learning_rate, dtype) * model.slopes / curvature
        if max_step is not None:
            length = jnp.linalg.norm(step)
            limit = jnp.asarray(max_step, dtype)
            step = jnp.where(length > limit, limit / length, 1) * step
        return step

    return model_descent("saddle_free_newton", step_fn, num_vectors)
