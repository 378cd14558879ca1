"""Assertions for your own tests: what every transformation and every landscape of jaxgd keeps, on yours.

    def test_my_optimizer():
        jaxgd.testing.assert_transformation(my_optimizer(0.1))

Each assertion returns nothing, or raises an AssertionError whose message says what is broken and what follows from it.
They need nothing but jax and numpy, and run in any test framework.
"""

from jaxgd.testing.landscape import (
    assert_derivatives_agree,
    assert_landscape,
    assert_sample_uses_key,
    assert_symmetry_holds,
)
from jaxgd.testing.transformation import (
    assert_dtypes_kept,
    assert_iterates,
    assert_lanes_independent,
    assert_noise_differs,
    assert_traced_once,
    assert_transformation,
)

__all__ = [
    "assert_derivatives_agree",
    "assert_dtypes_kept",
    "assert_iterates",
    "assert_landscape",
    "assert_lanes_independent",
    "assert_noise_differs",
    "assert_sample_uses_key",
    "assert_symmetry_holds",
    "assert_traced_once",
    "assert_transformation",
]
