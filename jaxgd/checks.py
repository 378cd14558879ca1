"""Checks of the arguments that callers pass: each error is one sentence that says what would be accepted.

Nothing raises inside a run: a bad lane is a status. Mistakes are therefore found beforehand, from the arguments and by
tracing their functions, without computing anything.
"""

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.base import InputTypeError, InputValueError, Key, Landscape, Params

_RAISED = re.compile(r"[\w.]+(Error|Exception): ")  # in a traceback


def check_count(name: str, count: Any, low: int = 1, high: int = 2**31 - 1) -> int:
    """Returns `count` as an int.

    Raises:
      InputTypeError: it is not an integer.
      InputValueError: it does not lie in [low, high).
    """
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
        raise InputTypeError(f"`{name}` must be an integer, got {count!r}.")
    if not low <= count < high:
        raise InputValueError(f"`{name}` must be at least {low} and less than {high}, got {count}.")
    return int(count)


def check_share(name: str, given: Any) -> None:
    """Checks that `given` is a number strictly between 0 and 1."""
    if isinstance(given, bool) or not isinstance(given, (int, float, np.integer, np.floating)):
        raise InputTypeError(f"`{name}` must be a number strictly between 0 and 1, got {what_is(given)}.")
    if not 0 < given < 1:
        raise InputValueError(f"`{name}` must lie strictly between 0 and 1, got {given}.")


def check_key(key: Any) -> Key:
    """Returns `key` as one typed key.

    Raises:
      InputTypeError: it is not a key of `jax.random.key` or `jax.random.PRNGKey`.
    """
    is_array = isinstance(key, jax.Array)
    if is_array and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    if is_array and key.dtype == jnp.uint32 and key.ndim == 1:
        return jax.random.wrap_key_data(key)
    raise InputTypeError(f"`key` must be one key such as jax.random.key(0), got {described(key)}.")


def check_optimizer(optimizer: Any) -> optax.GradientTransformation:
    """Returns `optimizer`.

    Raises:
      InputTypeError: it is not a gradient transformation.
    """
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise InputTypeError(
            f"`optimizer` must be an optax.GradientTransformation such as optax.sgd(0.01), got {optimizer!r}."
        )
    return optimizer


def check_starts(starts: Params) -> int:
    """Returns how many starts a batch of params holds.

    Raises:
      InputValueError: there are none, or the leading axes differ.
    """
    check_params(starts, "`starts`")
    leaves = jax.tree.leaves(starts)
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in leaves}
    if len(lengths) != 1 or None in lengths:
        raise InputValueError(
            f"`starts` must be params with one leading axis of starts in every leaf, got leading axes {lengths}."
        )
    return check_count("num_starts", lengths.pop())


def check_params(params: Params, what: str) -> None:
    """Checks that a pytree can be optimized.

    Raises:
      InputValueError: it holds no number.
      InputTypeError: a leaf is not a floating-point array.
    """
    check_static(what, jax.tree.structure(params))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        is_number = hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float, complex))
        dtype = (getattr(leaf, "dtype", None) or jnp.result_type(leaf)) if is_number else None
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            place, kind, advice = jax.tree_util.keystr(path), dtype or described(leaf), _what_to_do(params, leaf)
            raise InputTypeError(
                f"{what} must be floating-point arrays, but {place or 'the whole'} is {kind}; {advice}."
            )
    if sum(int(np.prod(np.shape(leaf))) for _, leaf in leaves) == 0:
        raise InputValueError(f"{what} hold no numbers to descend in.")


def check_static(what: str, *structures: Any) -> None:
    """Checks that static data can key jax's compiled programs: it must be hashable and comparable."""
    try:
        for structure in structures:
            hash(structure), bool(structure == structures[0])
    except Exception as error:
        raise InputTypeError(
            f"{what} hold static data that cannot be hashed or compared ({first_line(error)}); hold tuples instead of"
            " lists, dictionaries and arrays, or give their class `__hash__` and `__eq__`."
        ) from error


_SPLITS = {
    "equinox": "split off the arrays, `params, rest = equinox.partition(model, equinox.is_inexact_array)`, and call"
    " `equinox.combine(params, rest)` in `value`",
    "flax": "split off the parameters, `graph, params, rest = flax.nnx.split(model, flax.nnx.Param, ...)`, and call"
    " `flax.nnx.merge(graph, params, rest)` in `value`",
}


def _what_to_do(params: Params, leaf: Any) -> str:
    """Returns advice on a leaf that cannot be optimized, in the terms of the library that made the params."""
    if is_dataclass(leaf):
        return f"make it a pytree, `jax.tree_util.register_dataclass({type(leaf).__name__})`"
    libraries: set[str] = set()

    def look(node: Any) -> bool:
        libraries.update(base.__module__.partition(".")[0] for base in type(node).__mro__)
        return False

    jax.tree.flatten(params, is_leaf=look)
    found = [split for library, split in _SPLITS.items() if library in libraries]
    return found[0] if found else "convert it, or leave it out of the params and let `value` close over it"


def check_value(landscape: Landscape, params: Params) -> None:
    """Checks that the value is one real floating-point number and that the gradient has the structure of the params."""
    check_scalar("`value`", lambda: jax.eval_shape(_of_arrays(landscape.value), params))
    value, grad = call_checked("the gradient", lambda: jax.eval_shape(landscape.evaluate, params))
    if isinstance(value, tuple):
        raise InputValueError("`value_and_grad` must return (loss, gradient), but its first item is itself a tuple.")
    check_scalar("`value_and_grad`", lambda: value)
    if not is_like(grad, params):
        raise InputValueError(f"the gradient of `{landscape.name}` must have the params' structure and shapes.")


def _of_arrays(value: Callable[[Params], Any]) -> Callable[[Params], Any]:
    """Returns the function, made to reject Python numbers, which jax would at first accept as arrays."""

    def checked(params: Params) -> Any:
        found = value(params)
        if isinstance(found, (bool, int, float, complex)):
            raise InputTypeError(
                f"`value` returns the Python number {found!r}, which does not depend on the params; compute it from"
                " them with jax.numpy."
            )
        return found

    return checked


def is_like(one: Any, other: Any) -> bool:
    """Returns whether two pytrees have the same structure and shapes.

    Leaves are compared one by one, since the classes of a pytree may define no equality.
    """
    structures: list[Any] = [jax.tree.structure(tree) for tree in (one, other)]
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (one, other)]
    return bool(structures[0] == structures[1]) and shapes[0] == shapes[1]


def check_scalar(what: str, call: Callable[[], Any]) -> None:
    """Checks that a call returns one floating-point number, or its shape."""
    value = call_checked(what, call)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(value, tuple):
        raise InputValueError(f"{what} returns a tuple; return only the loss, for example `lambda p: loss(p)[0]`.")
    if shape != () or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise InputValueError(f"{what} must return one floating-point number, got {described(value)}.")


def call_checked(what: str, call: Callable[[], Any]) -> Any:
    """Returns what `call` returns; an exception becomes one sentence about `what`."""
    try:
        return call()
    except (InputValueError, InputTypeError):
        raise
    except Exception as error:
        hint = next((f"; {hint}" for kind, hint in _HINTS.items() if isinstance(error, kind)), "")
        raise InputValueError(
            f"{what} raised {type(error).__name__}: {first_line(error).rstrip('.')}{hint}."
        ) from error


_HINTS: dict[type[Exception], str] = {
    jax.errors.TracerArrayConversionError: "write it with jax.numpy instead of numpy",
    jax.errors.TracerBoolConversionError: "use jax.numpy.where instead of `if`, `and`, `or`, `min` and `max`",
    jax.errors.TracerIntegerConversionError: "index with jax.numpy.take instead of a Python integer",
    jax.errors.ConcretizationTypeError: "do not convert traced values to Python numbers",
}
"""What to write instead, by the error that jax raises; the first that fits is shown."""


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message that is not empty.

    If the error was raised by a function called from a compiled program, it is the last line of that traceback.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(line.endswith("Traceback (most recent call last):") for line in lines):
        lines = [line for line in lines if _RAISED.match(line)][-1:] or lines
    return lines[0] if lines else type(error).__name__


def described(thing: Any) -> str:
    """Describes the type of an object in words."""
    if hasattr(thing, "shape") and hasattr(thing, "dtype"):
        return f"an array of shape {tuple(thing.shape)} and type {thing.dtype}"
    return f"a {type(thing).__name__}"


def what_is(thing: Any) -> str:
    """Describes an argument of the wrong kind: short literals as they are, anything else by its type."""
    if isinstance(thing, type):
        return f"the class `{thing.__name__}` itself"
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes)):
        return repr(thing) if len(repr(thing)) < 60 else f"a {type(thing).__name__}"
    return f"{'an' if type(thing).__name__[0] in 'AEIOU' else 'a'} {type(thing).__name__}"
