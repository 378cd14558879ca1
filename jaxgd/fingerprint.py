"""The fingerprint of a computation: a hash of what jax traced of it, with the data inside it.

Two processes with the same fingerprint, versions and flags compute the same thing, whatever the source text looks like.
The text of a traced program will not do: it holds addresses, names of functions and sets in no order. So the program is
walked instead, and variables are named by the place where they first occur; the hash is the same on every Python.
"""

import dataclasses
import enum
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxgd.base import Landscape, Stop
from jaxgd.descend import descent_of

JUDGING_VERSION = 5
"""Version of the rules that judge ends, in `jaxgd.points` and `jaxgd.curvature`.

Raise it by one whenever the same ends may get other verdicts, indices or polished points; run directories begun under
another version are then not continued, only read.
"""

_IGNORED = ("name", "debug_info", "source_info", "ctx_mesh", "jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "callback")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+|0x[0-9a-f]+")


def descent_fingerprint(landscape: Landscape, optimizer: Any, is_noisy: bool) -> str:
    """Returns a hash of one tick of a descent, and of everything that judging its end asks of the landscape.

    Neither the stop rule nor the engine are part of it.
    """
    descent = descent_of(landscape, optimizer, False, Stop(gradient_norm=None), None, (), is_noisy, False)

    def life(number: jax.Array, tick: jax.Array, key: jax.Array) -> Any:
        return descent.tick(descent.begin(number, jax.numpy.zeros_like(number), key, None), tick, key)

    count = jax.ShapeDtypeStruct((), np.int32)
    return _hash([(life, (count, count, _key())), *_functions(landscape)])


def landscape_fingerprint(landscape: Landscape) -> str:
    """Returns a hash of a landscape: its starts, its value, its gradient and its symmetry."""
    return _hash([(landscape.sample, (_key(),)), *_functions(landscape)])


_Traced = tuple[Callable[..., Any] | None, tuple[Any, ...]]


def _functions(landscape: Landscape) -> list[_Traced]:
    """Returns what judging calls, with the shapes of the arguments."""
    params = (jax.eval_shape(landscape.sample, _key()),)
    symmetry = landscape.symmetry
    return [
        (landscape.value, params),
        (landscape.evaluate, params),
        (symmetry.invariants if symmetry else None, params),
        (symmetry.generators if symmetry else None, params),
    ]


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))


def _hash(functions: list[_Traced]) -> str:
    found = hashlib.sha256()
    for function, arguments in functions:
        for piece in [b"none"] if function is None else _program(jax.make_jaxpr(function)(*arguments)):
            found.update(str(len(piece)).encode() + b":" + piece)
    return found.hexdigest()


def _program(program: Any) -> Iterator[bytes]:
    """Yields a traced program piece by piece: its constants, then its equations."""
    jaxpr = program.jaxpr if isinstance(program, ClosedJaxpr) else program
    for constant in getattr(program, "consts", ()):
        yield from _value(constant)

    places: dict[Any, int] = {}

    def variables(them: Any) -> Iterator[bytes]:
        for variable in them:
            if isinstance(variable, Literal):
                yield from _value(variable.val)
            else:
                place = places.setdefault(variable, len(places))
                yield f"{place} {variable.aval.str_short()}".encode()

    yield b"in"
    yield from variables((*jaxpr.constvars, *jaxpr.invars))
    for equation in jaxpr.eqns:
        yield equation.primitive.name.encode()
        yield from variables(equation.invars)
        for name in sorted(equation.params.keys() - set(_IGNORED)):
            yield name.encode()
            yield from _value(equation.params[name])
        yield from variables(equation.outvars)
    yield b"out"
    yield from variables(jaxpr.outvars)


def _value(value: Any) -> Iterator[bytes]:
    """Yields a constant or a parameter of an equation."""
    # programs and numbers
    if isinstance(value, (ClosedJaxpr, Jaxpr)):
        yield from _program(value)
    elif isinstance(value, (jax.Array, np.ndarray, np.generic)):
        if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        array = np.asarray(value)
        yield f"{array.dtype}{array.shape}".encode()
        yield array.tobytes()

    # what holds other values, in an order that is the same in every process
    elif isinstance(value, enum.Enum):
        yield f"{type(value).__name__}.{value.name}".encode()
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            yield repr(key).encode()
            yield from _value(value[key])
    elif isinstance(value, (set, frozenset)):
        yield " ".join(sorted(map(repr, value))).encode()
    elif isinstance(value, (tuple, list)):
        yield f"{type(value).__name__ if hasattr(value, '_fields') else 'list'} {len(value)}".encode()
        for item in value:
            yield from _value(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value).__name__.encode()
        for item in dataclasses.fields(value):
            yield from _value(getattr(value, item.name))

    # anything else, without what differs from process to process
    elif value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.dtype, type)):
        yield (getattr(value, "__name__", None) or repr(value)).encode()
    elif callable(value):
        yield b"function"  # its work is in the equations
    else:
        yield _ADDRESS.sub("", f"{type(value).__name__} {value}").encode()
