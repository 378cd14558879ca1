"""The peak memory of a traced program, read from its equations.

Equations run in order, and a value is held from the equation that computes it to the last one that reads it. The
compiler fuses operations, so a compiled program nearly always needs less.
"""

import math
from collections.abc import Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal


def bytes_held(program: ClosedJaxpr, is_wanted: Sequence[bool]) -> int:
    """Returns the peak number of bytes held by values that depend on some of a program's arguments.

    Args:
      program: what `jax.make_jaxpr` returns.
      is_wanted: for each argument, whether values that depend on it count.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> fn = lambda x, y: jnp.outer(jnp.sin(x), y).sum()
      >>> arguments = [jax.ShapeDtypeStruct((size,), "float32") for size in (10, 20)]
      >>> bytes_held(jax.make_jaxpr(fn)(*arguments), [True, True]) >= 10 * 20 * 4
      True
    """
    return _most_held(program.jaxpr, is_wanted)


def _most_held(jaxpr: Jaxpr, is_wanted: Sequence[bool]) -> int:
    held = {var: _size(var) for var, flag in zip(jaxpr.invars, is_wanted, strict=True) if flag}
    wanted = set(held)
    last_use = {atom: number for number, eqn in enumerate(jaxpr.eqns) for atom in eqn.invars if not _is_literal(atom)}
    last_use |= {atom: len(jaxpr.eqns) for atom in jaxpr.outvars if not _is_literal(atom)}
    most = sum(held.values())

    for number, eqn in enumerate(jaxpr.eqns):
        flags = [not _is_literal(atom) and atom in wanted for atom in eqn.invars]
        if not any(flags):
            continue

        # what a program inside holds, beyond its arguments
        given = sum(_size(atom) for atom, flag in zip(eqn.invars, flags, strict=True) if flag)
        inside = max((_most_held(inner, _inner_flags(inner, flags)) for inner in programs_in(eqn)), default=0)
        most = max(most, sum(held.values()) + max(inside - given, 0))

        held |= {var: _size(var) for var in eqn.outvars}
        wanted.update(eqn.outvars)
        most = max(most, sum(held.values()))
        held = {var: size for var, size in held.items() if last_use.get(var, -1) > number}
    return most


def programs_in(eqn: JaxprEqn) -> list[Jaxpr]:
    """Returns the programs among an equation's parameters: those of loops, branches and calls."""
    values = [
        value for entry in eqn.params.values() for value in (entry if isinstance(entry, (tuple, list)) else [entry])
    ]
    opened = [value.jaxpr if isinstance(value, ClosedJaxpr) else value for value in values]
    return [value for value in opened if isinstance(value, Jaxpr)]


def _inner_flags(inner: Jaxpr, flags: list[bool]) -> Sequence[bool]:
    return flags if len(inner.invars) == len(flags) else [True] * len(inner.invars)


def _is_literal(atom: Any) -> bool:
    return isinstance(atom, Literal)


def _size(atom: Any) -> int:
    aval = atom.aval
    return math.prod(aval.shape) * aval.dtype.itemsize if hasattr(aval, "shape") else 0
