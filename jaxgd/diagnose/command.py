"""`jaxgd diagnose`: the arguments of `jaxgd.diagnose` from a module or a file, and parameters from a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxgd import names
from jaxgd.base import InputTypeError, InputValueError
from jaxgd.diagnose.answer import Diagnosis
from jaxgd.diagnose.checkpoint import read_checkpoint, with_arrays
from jaxgd.diagnose.front import diagnose


def diagnosed(name: str, checkpoint: Path | None, seed: int, tier: Any) -> Diagnosis:
    """Returns the diagnosis of what `name` names.

    Args:
      name: "package.module:attribute" or "path/to/file.py:attribute", a dict of arguments or a function that returns
        one.
      checkpoint: a file that replaces the model's arrays; None keeps them.
      seed: of the key.
      tier: "full" or "cheap".

    Raises:
      InputTypeError: it is no dict with "model" and "loss".
      InputValueError: there is no such attribute, or the checkpoint does not fit.
    """
    if ":" not in name:
        raise InputValueError(f"say what to diagnose as module:attribute or file.py:attribute, got `{name}`.")
    found = names._imported(name)
    asked = found() if callable(found) else found
    if not isinstance(asked, Mapping) or not {"model", "loss"} <= set(asked):
        raise InputTypeError(f'`{name}` must be a dict with "model" and "loss", or a function that returns one.')
    asked = dict(asked)
    if checkpoint is not None:
        asked["model"] = with_arrays(asked["model"], read_checkpoint(checkpoint))
    asked.setdefault("key", jax.random.key(seed))
    return diagnose(**asked, tier=tier)
