"""What a traced program depends on besides the function: shapes, types, and jax's settings in this thread.

Whatever was traced, checked or compiled once for a kind of arguments need not be done again for the same kind.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

import jax

_SETTINGS = (
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_default_matmul_precision",
)


class Kind(NamedTuple):
    """The kind of some arguments; hashable, so that it can be a name under which things are remembered."""

    structure: Any
    leaves: tuple[jax.ShapeDtypeStruct, ...]
    settings: tuple[Hashable, ...]

    @property
    def abstract(self) -> Any:
        """The arguments without their numbers."""
        return jax.tree.unflatten(self.structure, self.leaves)


def kind_of(*args: Any) -> Kind:
    """Returns the kind of these arguments, under the settings of the calling thread."""
    leaves, structure = jax.tree.flatten(args)
    abstract = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    return Kind(structure, abstract, tuple(getattr(jax.config, name) for name in _SETTINGS))
