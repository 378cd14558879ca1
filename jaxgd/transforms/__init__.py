"""Gradient transformations that optax lacks, one method a file.

All are `optax.GradientTransformationExtraArgs` for one descent: map `init` and `update` for many. `update` costs one
gradient evaluation at most; its docstring says what a method needs beyond the gradient (`params`, or the extra
arguments `value`, `hvp` and `key`).
"""

from jaxgd.transforms.add_gradient_noise import add_gradient_noise
from jaxgd.transforms.ascend import ascend
from jaxgd.transforms.barzilai_borwein import barzilai_borwein
from jaxgd.transforms.cubic_newton import cubic_newton
from jaxgd.transforms.discard_large_updates import discard_large_updates
from jaxgd.transforms.fire import fire
from jaxgd.transforms.gentlest_ascent import gentlest_ascent
from jaxgd.transforms.gradient_norm_descent import gradient_norm_descent
from jaxgd.transforms.heavy_ball import heavy_ball
from jaxgd.transforms.known_minimum import known_minimum
from jaxgd.transforms.langevin import langevin
from jaxgd.transforms.lbfgs import lbfgs
from jaxgd.transforms.monitor import monitor
from jaxgd.transforms.negative_curvature import negative_curvature
from jaxgd.transforms.neon import neon
from jaxgd.transforms.nesterov_restart import nesterov_restart
from jaxgd.transforms.noise_when_stalled import noise_when_stalled
from jaxgd.transforms.nonlinear_cg import nonlinear_cg
from jaxgd.transforms.perturbed_accelerated import perturbed_accelerated
from jaxgd.transforms.perturbed_gradient import (
    always_perturbed_gradient,
    perturbed_gradient,
    perturbed_gradient_constants,
)
from jaxgd.transforms.saddle_dynamics import saddle_dynamics
from jaxgd.transforms.saddle_free_newton import saddle_free_newton
from jaxgd.transforms.scale_by_root_mean_square import scale_by_root_mean_square
from jaxgd.transforms.stay_close import pull_to_start, stay_within
from jaxgd.transforms.trust_region_newton import trust_region_newton
from jaxgd.transforms.underdamped_langevin import underdamped_langevin

__all__ = [  # noqa: RUF022 (grouped by subject)
    # Descent
    "barzilai_borwein",
    "fire",
    "heavy_ball",
    "lbfgs",
    "nesterov_restart",
    "nonlinear_cg",
    "scale_by_root_mean_square",
    # Noise
    "add_gradient_noise",
    "langevin",
    "underdamped_langevin",
    # Escape from saddles
    "always_perturbed_gradient",
    "negative_curvature",
    "neon",
    "noise_when_stalled",
    "perturbed_accelerated",
    "perturbed_gradient",
    "perturbed_gradient_constants",
    # Second order
    "cubic_newton",
    "saddle_free_newton",
    "trust_region_newton",
    # Seeking saddles
    "gentlest_ascent",
    "gradient_norm_descent",
    "saddle_dynamics",
    # Safety and steering
    "ascend",
    "discard_large_updates",
    "known_minimum",
    "monitor",
    "pull_to_start",
    "stay_within",
]
