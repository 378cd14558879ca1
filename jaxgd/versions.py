"""The versions of everything that a number may depend on."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import jax


def versions() -> dict[str, str]:
    """Returns the versions of Python, of the packages that compute, and the platform."""
    packages = ("jaxgd", "jax", "jaxlib", "optax", "numpy", "scipy")
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "platform": f"{sys.platform} {platform.machine()} {jax.default_backend()}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


__version__ = _version("jaxgd")
"""The version of jaxgd, which stands in pyproject.toml alone."""
