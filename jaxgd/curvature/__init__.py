"""Second derivatives: Hessian matrices and their spectra with error bounds."""

from jaxgd.curvature.dense import Spectrum, hessian, spectrum

__all__ = ["Spectrum", "hessian", "spectrum"]
