"""Parameters from a file, into the model by their names: `.npz` of numpy, or safetensors."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import InputValueError


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name; nothing in it is executed.

    Raises:
      InputValueError: there is no such file, it cannot be read, or safetensors is not installed.
    """
    if not path.is_file():
        raise InputValueError(f"there is no checkpoint `{path}`.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        if path.suffix == ".safetensors":
            try:
                from safetensors.numpy import load_file
            except ImportError as error:
                raise InputValueError(f"`{path}` needs `pip install safetensors`.") from error
            return load_file(path)
    except (ValueError, OSError) as error:
        raise InputValueError(f"`{path}` could not be read: {error}") from error
    raise InputValueError(f"a checkpoint must be .npz or .safetensors, got `{path}`.")


def with_arrays(model: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Returns the model with its arrays replaced by those of the same name, such as "layers/0/weight".

    Dots will do for slashes. What the file has no array for, and what it has too much, is an error.

    Raises:
      InputValueError: names or shapes do not fit.

    Example:
      >>> with_arrays({"a": {"w": np.zeros(2)}}, {"a.w": np.ones(2)})["a"]["w"].tolist()
      [1.0, 1.0]
    """
    given = {name.replace(".", "/"): array for name, array in arrays.items()}
    used = set()

    def replace(path: Any, leaf: Any) -> Any:
        if not hasattr(leaf, "shape"):
            return leaf
        name = jax.tree_util.keystr(path, simple=True, separator="/").replace(".", "/")
        if name not in given:
            raise InputValueError(f"the checkpoint has no `{name}`; it has {', '.join(sorted(given)[:8])}.")
        if given[name].shape != leaf.shape:
            raise InputValueError(
                f"`{name}` has shape {given[name].shape} in the checkpoint and {leaf.shape} in the model."
            )
        used.add(name)
        return jnp.asarray(given[name], leaf.dtype)

    new = jax.tree_util.tree_map_with_path(replace, model)
    if extra := sorted(set(given) - used):
        raise InputValueError(f"the model has no {', '.join(extra[:8])}, which the checkpoint has.")
    return new
