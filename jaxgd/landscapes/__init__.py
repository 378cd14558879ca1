"""Functions to descend, one family a file, each with the facts that are known about it.

A builder returns a `jaxgd.Landscape`. All its arguments have names and defaults; invalid ones raise `InputValueError`
or `InputTypeError`. Dtypes follow the parameters; starts come in the session's default.
"""

from jaxgd.landscapes.changing_valley import changing_valley
from jaxgd.landscapes.digits_mlp import digits_mlp
from jaxgd.landscapes.digits_networks import digits_network
from jaxgd.landscapes.factorisation import deep_linear, rank_one_factorisation
from jaxgd.landscapes.gaussian_field import gaussian_field
from jaxgd.landscapes.lennard_jones import lennard_jones
from jaxgd.landscapes.long_valley import long_valley
from jaxgd.landscapes.mueller_brown import mueller_brown
from jaxgd.landscapes.octopus import octopus
from jaxgd.landscapes.one_dimensional import (
    double_well_1d,
    quartic,
    quartic_two_wells,
    sine_parabola,
    x_plus_sin_x,
)
from jaxgd.landscapes.quadratic_bowl import quadratic_bowl
from jaxgd.landscapes.rosenbrock import rosenbrock
from jaxgd.landscapes.saddles import monkey_saddle, quadratic_saddle
from jaxgd.landscapes.separable import product_double_well, rastrigin, rugged_bowl, styblinski_tang
from jaxgd.landscapes.sparse_goal import sparse_goal
from jaxgd.landscapes.spherical_p_spin import spherical_p_spin
from jaxgd.landscapes.two_layer_relu import two_layer_relu

__all__ = [  # noqa: RUF022 (grouped)
    # one number
    "double_well_1d",
    "quartic",
    "quartic_two_wells",
    "sine_parabola",
    "x_plus_sin_x",
    # all critical points known
    "changing_valley",
    "deep_linear",
    "long_valley",
    "monkey_saddle",
    "mueller_brown",
    "octopus",
    "product_double_well",
    "quadratic_bowl",
    "quadratic_saddle",
    "rank_one_factorisation",
    "rastrigin",
    "rosenbrock",
    "rugged_bowl",
    "sparse_goal",
    "styblinski_tang",
    # physics
    "gaussian_field",
    "lennard_jones",
    "spherical_p_spin",
    # neural networks
    "digits_mlp",
    "digits_network",
    "two_layer_relu",
]
