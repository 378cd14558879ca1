"""A two-layer ReLU network that learns another one from infinitely much data, in closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop
from jaxgd.landscapes import checks
from jaxgd.symmetry import permutations

# Losses of the commonest spurious minima for k = n, to the digits published; there are more.
SPURIOUS = {
    6: (0.02508,),
    8: (0.02151,),
    10: (0.01870, 0.03533),
    12: (0.01652, 0.03155, 0.04546),
    20: (0.01128, 0.02192, 0.03215, 0.04202),
}


def two_layer_relu(k: int = 6, n: int = 6) -> Landscape:
    """Returns the loss of k ReLU neurons that imitate n orthogonal ones on Gaussian inputs.

        value(W) = 1/2 E_{x ~ N(0, I)} (sum_i relu(w_i . x) - sum_j relu(v_j . x))^2,    v_j = e_j,
                 = 1/2 sum_ij f(w_i, w_j) - sum_ij f(w_i, v_j) + 1/2 sum_ij f(v_i, v_j),
        f(w, v) = |w||v| (sin t + (pi - t) cos t) / (2 pi),    t the angle between w and v,

    with W of shape (k, n), a neuron a row. For k = n the global minima, value 0, are the permutations of the
    identity. From n = 6 on there are others: of 1,000 runs the share that ends in a spurious minimum is 0.3 %
    for n = 6, 12.6 % for 8, 34.6 % for 10, 58.5 % for 12, 94.9 % for 20. They are true minima, with
    smallest curvatures above 1e-4, and vanish from the counts neither with the step nor with patience,
    except that too few steps report more of them.

    Starts are N(0, 1/n) in every entry, as published; there the step is 0.1 and the stop rule
    max_i |2 pi dvalue/dw_i| <= 1e-9 in float64, up to about 40,000 steps.

    Exchanging neurons, or input directions, changes nothing; points count as the same when their sorted
    entries, row products and column products agree. Gradient and Hessian are finite wherever no neuron is
    zero, parallel and opposite neurons included; at a zero neuron the loss has a kink and the gradient
    returned leaves out its angle.

    Args:
      k: number of neurons, at least 1.
      n: number of target neurons, which is the dimension of the inputs, at least 1.

    Example:
      >>> print(f"{abs(two_layer_relu(k=6, n=6).value(jnp.eye(6))):.4f}")
      0.0000

    References:
      Safran and Shamir, International Conference on Machine Learning (2018), arXiv:1712.08968;
      Cho and Saul, Advances in Neural Information Processing Systems 22 (2009), for f.
    """
    k = checks.integer("k", k, at_least=1)
    n = checks.integer("n", n, at_least=1)
    is_other = 1 - np.eye(k)
    # |v_i| = 1; f(v, v) = 1/2, and f = 1 / (2 pi) at right angles.
    targets = (n / 2 + n * (n - 1) / (2 * np.pi)) / 2

    def value_and_grad(weights: Array) -> tuple[Array, Array]:
        other = jnp.asarray(is_other, weights.dtype)
        square = jnp.sum(weights**2, axis=1, keepdims=True)
        is_zero = square == 0
        norm = jnp.sqrt(jnp.where(is_zero, 1, square))
        unit = weights / norm
        norm = jnp.where(is_zero, 0, norm)

        # A neuron against itself has angle 0: set aside, with 0 for the cosine so that nothing is singular.
        sine, turn = _sine_and_turn(other * (unit @ unit.T))
        sine_target, turn_target = _sine_and_turn(unit)

        # Gradient of f with respect to w: (|v| sin(t) w / |w| + (pi - t) v) / (2 pi).
        along = jnp.sum(other * sine * norm.T, axis=1, keepdims=True)
        along = along - jnp.sum(sine_target, axis=1, keepdims=True)
        grad = weights / 2 + (along * unit + (other * turn) @ weights - turn_target) / (2 * np.pi)
        # f is homogeneous of degree one in w, so that w . df/dw = f: no second formula for the value.
        pull = (sine_target + turn_target * unit) / (2 * np.pi)
        return (jnp.sum(grad * weights) - jnp.sum(norm * pull)) / 2 + targets, grad

    spurious = SPURIOUS.get(n, ()) if k == n else ()
    return Landscape(
        name="two_layer_relu",
        value=lambda weights: value_and_grad(weights)[0],
        sample=lambda key: jax.random.normal(key, (k, n)) / math.sqrt(n),
        value_and_grad=value_and_grad,
        symmetry=permutations(columns=True),
        facts=Facts(
            source="Safran and Shamir 2018, arXiv:1712.08968",
            points=(
                *((KnownPoint(value=0.0, index=0, params=np.eye(n), name="global minimum"),) if k == n else ()),
                *(KnownPoint(value=each, index=0, name="spurious minimum") for each in spurious),
            ),
        ),
        default_optimizer="sgd:learning_rate=0.1",
        default_stop=Stop(gradient_norm=1e-9 / (2 * np.pi), max_steps=40_000),
    )


def _sine_and_turn(cosine: Array) -> tuple[Array, Array]:
    """Returns sin t and pi - t of angles given by their cosines, derivatives finite at t = 0 and pi too.

    There the derivatives of both grow like 1 / sin t, but every use multiplies them by what vanishes as fast.
    """
    square = 1 - cosine**2
    is_flat = square <= 0
    sine = jnp.where(is_flat, 0, jnp.sqrt(jnp.where(is_flat, 1, square)))
    safe_cosine = jnp.where(is_flat, jnp.sign(cosine), cosine)
    return sine, jnp.arctan2(sine, -safe_cosine)
