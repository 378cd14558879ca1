"""The smallest problems of matrix factorisation and deep linear networks, with every critical point known."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, InputValueError, KnownPoint, Landscape, Stop, Symmetry
from jaxgd.landscapes import checks
from jaxgd.symmetry import sign_flips


def rank_one_factorisation(eigenvalues: tuple[float, ...] = (3.0, 2.0, 1.0), *, scale: float = 1.0) -> Landscape:
    """Returns the distance of u u' to a diagonal matrix: no minimum but the global one, a ladder of saddles.

        value(u) = 1/4 |u u' - M|_F^2 = 1/4 (|u|^4 - 2 u' M u + |M|_F^2),    M = diag(eigenvalues).

    With eigenvalues l_1 > ... > l_d > 0 the critical points, counted up to signs, are 0 (index d, a maximum)
    and sqrt(l_i) e_i, with Hessian l_i - l_j along e_j and 2 l_i along e_i, hence of index i - 1, and value
    1/4 (sum_j l_j^2 - l_i^2). Descent from small starts visits the saddles on its way. Starts are N(0,
    scale^2) in every coordinate.

    Args:
      eigenvalues: the distinct positive eigenvalues of M, one a coordinate.
      scale: standard deviation of the start law, at least 0.

    Example:
      >>> [(point.value, point.index) for point in rank_one_factorisation((3, 2, 1)).facts.points]
      [(1.25, 0), (2.5, 1), (3.25, 2), (3.5, 3)]

    References:
      Baldi and Hornik, Neural Networks 2, 53 (1989).
    """
    spectrum = np.array([checks.real("eigenvalues", each) for each in checks.sequence("eigenvalues", eigenvalues)])
    if np.min(spectrum) <= 0 or len(np.unique(spectrum)) < len(spectrum):
        raise InputValueError(f"`eigenvalues` must be positive and distinct, got {tuple(eigenvalues)!r}.")
    scale = checks.real("scale", scale, at_least=0)
    dim = len(spectrum)

    def value(u: Array) -> Array:
        matrix = jnp.asarray(spectrum, u.dtype)
        square = u**2
        return (jnp.sum(square) ** 2 - 2 * jnp.sum(matrix * square) + jnp.sum(matrix**2)) / 4

    falling = np.argsort(-spectrum)
    total = float(np.sum(spectrum**2)) / 4
    points = tuple(
        KnownPoint(
            value=total - float(spectrum[axis] ** 2) / 4,
            index=index,
            params=np.sqrt(spectrum[axis]) * np.eye(dim)[axis],
        )
        for index, axis in enumerate(falling)
    )
    return Landscape(
        name="rank_one_factorisation",
        value=value,
        sample=lambda key: scale * jax.random.normal(key, (dim,)),
        symmetry=sign_flips(),
        facts=Facts(
            source="M u = |u|^2 u",
            points=(*points, KnownPoint(value=total, index=dim, params=np.zeros(dim), name="origin")),
            num_minima=1,
            num_critical_points=dim + 1,
            max_learning_rate=1 / float(spectrum.max()),
        ),
        default_optimizer=f"sgd:learning_rate={0.1 / float(spectrum.max()):.3g}",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )


def deep_linear(depth: int = 3, *, scale: float = 0.5) -> Landscape:
    """Returns a chain of scalar weights that should multiply to one.

        value(w) = 1/2 (w_1 w_2 ... w_depth - 1)^2.

    Its minima fill the surface where the product is one. Points with two or more zero weights are critical
    with value 1/2: at the origin the Hessian is +-1 for depth 2, and zero for depth 3 and more, a saddle
    without negative curvature that no Hessian can tell from a minimum. Descent from small starts waits
    there, for a time that grows like scale^(2 - depth). Starts are N(0, scale^2) in every weight.

    Rescaling one weight against the next leaves the value unchanged: depth - 1 zero modes at every minimum.
    Points count as the same when the products agree, so that all minima are one, and all critical points of
    product zero.

    Args:
      depth: number of weights, at least 2.
      scale: standard deviation of the start law, at least 0.

    Example:
      >>> print(deep_linear(depth=2).facts.points[1].index, deep_linear(depth=3).facts.points[1].index)
      1 0

    References:
      Kawaguchi, Advances in Neural Information Processing Systems 29 (2016), arXiv:1605.07110.
    """
    depth = checks.integer("depth", depth, at_least=2)
    scale = checks.real("scale", scale, at_least=0)

    def rescalings(weights: Array) -> Array:
        here = np.eye(depth)[:-1]
        return jnp.asarray(here - np.roll(here, 1, axis=1), weights.dtype) * weights[None, :]

    return Landscape(
        name="deep_linear",
        value=lambda weights: (jnp.prod(weights) - 1) ** 2 / 2,
        sample=lambda key: scale * jax.random.normal(key, (depth,)),
        symmetry=Symmetry(
            name="rescaling of one weight against the next",
            invariants=lambda weights: jnp.prod(weights)[None],
            generators=rescalings,
        ),
        facts=Facts(
            source="gradient (product - 1) * product of the other weights",
            points=(
                KnownPoint(value=0.0, index=0, params=np.ones(depth), name="minimum"),
                KnownPoint(value=0.5, index=int(depth == 2), params=np.zeros(depth), name="origin"),
            ),
            num_minima=1,
            num_critical_points=2,
        ),
        default_optimizer="sgd:learning_rate=0.05",
        default_stop=Stop(gradient_norm=1e-8, max_steps=20_000),
    )
