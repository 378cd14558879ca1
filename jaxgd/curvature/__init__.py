"""Second derivatives: Hessian-vector products, whole spectra, and the ends of spectra that are too large to compute."""

from jaxgd.curvature.dense import Spectrum, hessian, hessian_and_error, spectrum
from jaxgd.curvature.density import Density, Share, density
from jaxgd.curvature.lanczos import Ritz, lanczos
from jaxgd.curvature.minres import Solution, minres
from jaxgd.curvature.missed import least_curvature, missed_probability, num_steps_for
from jaxgd.curvature.products import Product, batched_hessian_product, hessian_product, product_of
from jaxgd.curvature.second_order import SecondOrder, second_order

__all__ = [  # noqa: RUF022 (grouped)
    # whole
    "Spectrum",
    "hessian",
    "hessian_and_error",
    "spectrum",
    # how, where derivatives of the gradient are not at hand
    "SecondOrder",
    "second_order",
    # by products
    "Product",
    "product_of",
    "hessian_product",
    "batched_hessian_product",
    # its ends
    "Ritz",
    "lanczos",
    "missed_probability",
    "least_curvature",
    "num_steps_for",
    # what lies between, and systems of equations
    "Density",
    "Share",
    "density",
    "Solution",
    "minres",
]
