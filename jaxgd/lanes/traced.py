"""Traced programs: what they depend on besides the function, what they hold, and whether tracing again gives the same.

Whatever was traced, checked or compiled once for a kind of arguments (shapes, types, and jax's settings in this thread)
need not be done again for the same kind.
"""

import itertools
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

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


def equations(program: Any) -> Iterator[Any]:
    """Yields the equations of a traced program and of the programs within it."""
    for inner in _programs(program):
        yield from inner.eqns


def constants(program: Any) -> Iterator[Any]:
    """Yields the arrays and numbers that a traced program holds, those of the programs within it included."""
    for inner in _programs(program):
        yield from getattr(inner, "consts", ())
        jaxpr = getattr(inner, "jaxpr", inner)
        operands = itertools.chain(jaxpr.outvars, *(equation.invars for equation in jaxpr.eqns))
        yield from (operand.val for operand in operands if isinstance(operand, Literal))


def is_repeatable(fn: Callable[..., Any], *args: Any) -> bool:
    """Returns whether tracing `fn` twice gives programs with the same numbers in them.

    What NumPy or Python draw inside a function is a constant of its trace, another one in each.
    """
    programs = [jax.make_jaxpr(lambda *args: fn(*args))(*args) for _ in range(2)]

    # Run-time checks of jax are numbered anew in every trace, so that their programs cannot be compared.
    if any(equation.primitive.name == "check" for equation in equations(programs[0])):
        return True
    one, two = (list(constants(program)) for program in programs)
    return len(one) != len(two) or all(_is_same(a, b) for a, b in zip(one, two, strict=True))


def uses(program: Any) -> bool:
    """Returns whether any output of a traced program depends on its inputs."""
    known = set(program.jaxpr.invars)
    for equation in program.jaxpr.eqns:
        if any(not isinstance(operand, Literal) and operand in known for operand in equation.invars):
            known.update(equation.outvars)
    return any(not isinstance(out, Literal) and out in known for out in program.jaxpr.outvars)


def _programs(program: Any) -> Iterator[Any]:
    """Yields a traced program and those within it."""
    yield program
    for equation in getattr(program, "jaxpr", program).eqns:
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if hasattr(inner, "eqns"):
                    yield from _programs(inner)


def _is_same(one: Any, other: Any) -> bool:
    """Returns whether two constants are the same numbers; what is no number is taken for the same."""
    if one is other or isinstance(one, jax.core.Tracer) or isinstance(other, jax.core.Tracer):
        return True
    one, other = (
        leaf if isinstance(leaf, (np.ndarray, np.generic, jax.Array)) else np.asarray(leaf) for leaf in (one, other)
    )
    if any(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in (one, other)):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype.hasobject or (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )
