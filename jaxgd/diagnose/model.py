"""A model taken apart as its library does it: what is trained, what is fixed, and how the loss gets both together.

Trained are the floating-point arrays, but for those that a library keeps for something else:

    any pytree          all floating-point arrays; integers, keys, functions and `None` are fixed
    equinox modules     the same: a module is a pytree (`eqx.filter(model, eqx.is_inexact_array)`)
    flax linen          of {"params": ..., "batch_stats": ...} the collection "params"
    flax TrainState     `params`, with its optimizer (`tx`) and that one's state
    flax nnx            `nnx.split(model, nnx.Param, ...)`: no batch statistics, no streams of random numbers
    haiku               of (params, state) the first

No library is imported: what a model belongs to is only looked for where the user has imported it.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxgd.base import InputTypeError, InputValueError, Params

_HAIKU_AVERAGE = {"average", "counter", "hidden"}  # what haiku's moving averages keep


@dataclass(frozen=True)
class Joiner:
    """Puts trained and fixed leaves together again; equal for equal structures, so that programs are kept.

    Attributes:
      structure: of all leaves together.
      slots: for each leaf "trained" or "fixed", or the leaf itself where it is no array.
      graph: what `nnx.merge` needs beside the leaves; None elsewhere.
    """

    structure: Any
    slots: tuple[Any, ...]
    graph: Any = None

    def __call__(self, trained: list[Array], fixed: list[Array]) -> Any:
        """Returns the model as the loss is given it."""
        sources = {"trained": iter(trained), "fixed": iter(fixed)}
        leaves = [next(sources[slot]) if isinstance(slot, str) and slot in sources else slot for slot in self.slots]
        whole = jax.tree.unflatten(self.structure, leaves)
        return whole if self.graph is None else sys.modules["flax.nnx"].merge(self.graph, *whole)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A model taken apart.

    Attributes:
      params: the trained leaves, in the structure that an optimizer is given.
      fixed: arrays that are not trained.
      join: maps (leaves of params, fixed) to the model.
      names: of the leaves of params.
      fixed_names: of the arrays that are not trained.
      kind: "pytree", "equinox", "linen", "nnx" or "haiku".
      optimizer: of a model that brings its own; else None.
      optimizer_state: the same.
    """

    params: Params
    fixed: list[Array]
    join: Joiner
    names: tuple[str, ...]
    fixed_names: tuple[str, ...]
    kind: str
    optimizer: Any = None
    optimizer_state: Any = None


def take_apart(model: Any, trainable: Callable[[str], bool] | None = None) -> Parts:
    """Returns the trained and the fixed leaves of a model of any of the libraries above.

    Args:
      model: params as any pytree, or a model.
      trainable: maps a leaf's name, such as "layers/0/weight", to whether it is trained; by default what is said above.

    Raises:
      InputTypeError: there is no floating-point array in it, or a complex one.

    Example:
      >>> parts = take_apart({"params": {"w": np.ones(2)}, "batch_stats": {"mean": np.zeros(2)}})
      >>> parts.kind, parts.names, parts.fixed_names
      ('linen', ('params/w',), ('batch_stats/mean',))
    """
    optimizer = optimizer_state = graph = None
    kind, whole = "pytree", model
    is_trained = trainable or (lambda name: True)
    of_params: Callable[[Any], Any] = lambda tree: tree

    if _is_train_state(model):
        optimizer, optimizer_state, whole, kind = model.tx, model.opt_state, model.params, "linen"
    elif _is_a(model, "flax.nnx", "Module"):
        nnx = sys.modules["flax.nnx"]
        graph, trained, rest = nnx.split(model, nnx.Param, ...)
        kind, whole, of_params = "nnx", (trained, rest), lambda tree: tree[0]
    elif isinstance(model, Mapping) and "params" in model and len(model) > 1:
        kind, of_params = "linen", lambda tree: tree["params"]
    elif _is_haiku_pair(model):
        kind, of_params = "haiku", lambda tree: tree[0]
    elif _is_a(model, "equinox", "Module"):
        kind = "equinox"

    places, structure = jax.tree_util.tree_flatten_with_path(whole)
    inside = {id(leaf) for leaf in jax.tree.leaves(of_params(whole))}
    slots: list[Any] = []
    trained_leaves: list[Array] = []
    fixed: list[Array] = []
    names: list[str] = []
    fixed_names: list[str] = []
    kept: list[Any] = []
    for path, leaf in places:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        name = name.partition("/")[2].removesuffix("/value") if kind in ("nnx", "haiku") else name
        if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
            slots.append(leaf)
            kept.append(None)
            continue
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise InputTypeError(
                f"`{name}` is complex: give its real and its imaginary part as two leaves and join them in the loss."
            )
        if jnp.issubdtype(leaf.dtype, jnp.floating) and id(leaf) in inside and is_trained(name):
            slots.append("trained")
            trained_leaves.append(jnp.asarray(leaf))
            names.append(name)
            kept.append(trained_leaves[-1])
        else:
            slots.append("fixed")
            fixed.append(leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf))
            fixed_names.append(name)
            kept.append(None)
    if not trained_leaves:
        raise InputTypeError(
            f"there is nothing to train in the model, a {type(model).__name__}: give a pytree with floating-point"
            " arrays, or an equinox, flax or haiku model."
        )
    return Parts(
        params=of_params(jax.tree.unflatten(structure, kept)),
        fixed=fixed,
        join=Joiner(structure, tuple(slots), graph),
        names=tuple(names),
        fixed_names=tuple(fixed_names),
        kind=kind,
        optimizer=optimizer,
        optimizer_state=optimizer_state,
    )


def fitted_state(state: Any, like: Any) -> Any:
    """Returns an optimizer's state in the structure of a fresh one.

    Args:
      state: what the user has, for example from an nnx or equinox training loop.
      like: a fresh state for the same params, arrays or their shapes.

    Raises:
      InputValueError: the arrays are not those of such a state.
    """
    given = [leaf for leaf in jax.tree.leaves(state) if hasattr(leaf, "shape")]
    wanted, structure = jax.tree.flatten(like)
    if [tuple(leaf.shape) for leaf in given] != [tuple(leaf.shape) for leaf in wanted]:
        raise InputValueError(
            f"`optimizer_state` has {len(given)} arrays that do not fit the {len(wanted)} of `optimizer.init(params)`:"
            " give the state of this optimizer for these params, or leave it out for a fresh one."
        )
    return jax.tree.unflatten(
        structure, [jnp.asarray(leaf, other.dtype) for leaf, other in zip(given, wanted, strict=True)]
    )


def taken_optimizer(optimizer: Any, state: Any) -> tuple[Any, Any]:
    """Returns an optax optimizer and its state, also from an `nnx.Optimizer`, which holds both."""
    if optimizer is not None and hasattr(optimizer, "tx") and hasattr(optimizer, "opt_state"):
        return optimizer.tx, optimizer.opt_state if state is None else state
    return optimizer, state


def flat_dtype(leaves: list[Array]) -> Any:
    """Returns the widest type of some leaves, float32 at least."""
    return max([jnp.dtype(jnp.float32), *(jnp.dtype(leaf.dtype) for leaf in leaves)], key=lambda dtype: dtype.itemsize)


def num_half(leaves: list[Array]) -> int:
    """Returns how many leaves have fewer bits than float32."""
    return sum(np.dtype(leaf.dtype).itemsize < 4 for leaf in leaves)


def _is_a(model: Any, module: str, name: str) -> bool:
    there = sys.modules.get(module)
    return there is not None and isinstance(model, getattr(there, name, ()))


def _is_train_state(model: Any) -> bool:
    return all(hasattr(model, name) for name in ("params", "tx", "opt_state", "apply_fn"))


def _is_haiku_pair(model: Any) -> bool:
    """Whether it is what `hk.transform_with_state(...).init` returns, with averages in its state."""
    if not (isinstance(model, tuple) and len(model) == 2 and "haiku" in sys.modules):
        return False
    if not all(isinstance(part, Mapping) and all(isinstance(x, Mapping) for x in part.values()) for part in model):
        return False
    return any(set(inner) == _HAIKU_AVERAGE for inner in model[1].values())
