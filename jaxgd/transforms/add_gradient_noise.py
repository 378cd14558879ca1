r"""Noise on the gradient: isotropic, anisotropic or heavy-tailed, drawn anew for each lane and step.

$$g \leftarrow g + \sigma \odot \xi.$$

Sources: Neelakantan et al. (2015), arXiv:1511.06807, for Gaussian noise; Simsekli, Sagun, Gurbuzbalaban
(2019), arXiv:1901.06053, for symmetric stable noise as a model of minibatch noise.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Key, Params
from jaxgd.transforms import checks
from jaxgd.transforms.algebra import add_scaled, at_step
from jaxgd.transforms.randomness import normal, step_key, symmetric_stable


class GradientNoiseState(NamedTuple):
    """What `add_gradient_noise` carries.

    Attributes:
      num_steps: () int32, updates so far.
      key: the builder's key, or None.
    """

    num_steps: jax.Array
    key: Key | None


def add_gradient_noise(
    scale: checks.ScalarOrSchedule | Params,
    *,
    tail_index: checks.Scalar | None = None,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns the gradient with noise added; put it before an optimizer in `optax.chain`.

    Unlike `optax.add_noise` it draws different noise in every lane, and the noise can be anisotropic or
    heavy-tailed. Noise of norm r shortens the stay at a saddle to log(1/r); noise in few directions may miss
    the unstable one; in d dimensions isotropic noise of size sigma has norm sigma sqrt(d) but only sigma
    along any one direction.

    Args:
      scale: the sigma of the equation (>= 0): a number, a schedule, or a pytree like the parameters with a
        number or an array for each leaf.
      tail_index: None for Gaussian noise; else the alpha in (0, 2] of symmetric stable noise, whose tails
        fall like |x|^-(alpha + 1) (2: Gaussian of variance 2, 1: Cauchy).
      key: a key for use without the extra argument `key`; one for each lane.

    Returns:
      A transformation whose state is a `GradientNoiseState`.

    Raises:
      InputValueError: for a hyperparameter outside its range, or when `update` has no key.

    Example:
      The median of |noise| is 1 for Cauchy noise of unit scale:

      >>> import jax, jax.numpy as jnp
      >>> noisy = add_gradient_noise(1.0, tail_index=1.0, key=jax.random.key(0))
      >>> grad = jnp.zeros(100_001)
      >>> noise, _ = noisy.update(grad, noisy.init(grad))
      >>> print(f"{jnp.median(jnp.abs(noise)):.1f}")
      1.0
    """
    is_one_scale = callable(scale) or jax.tree_util.all_leaves([scale])
    if is_one_scale:
        checks.not_negative("scale", scale, schedule=True)
    if tail_index is not None:
        checks.between("tail_index", tail_index, 0, 2, closed=True)

    def init(params: Params) -> GradientNoiseState:
        del params
        return GradientNoiseState(num_steps=jnp.zeros([], jnp.int32), key=key)

    def update(
        updates: Params,
        state: GradientNoiseState,
        params: Params | None = None,
        *,
        key: Key | None = None,
        **extra: Any,
    ) -> tuple[Params, GradientNoiseState]:
        del params, extra
        key = step_key("add_gradient_noise", key, state.key, state.num_steps)
        noise = normal(key, updates) if tail_index is None else symmetric_stable(key, updates, tail_index)
        if is_one_scale:
            noisy = add_scaled(updates, at_step(scale, state.num_steps), noise)
        else:
            noisy = jax.tree.map(add_scaled, updates, scale, noise)
        return noisy, GradientNoiseState(num_steps=state.num_steps + 1, key=state.key)

    return optax.GradientTransformationExtraArgs(init, update)
