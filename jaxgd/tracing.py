"""Traced programs: what a trace depends on, what it contains, how much work it is, and whether it is repeatable.

Whatever was traced, checked or compiled once for a signature (shapes and types of the arguments, and jax's settings in
this thread) need not be repeated for the same signature.
"""

import functools
import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxgd.base import Landscape

_SETTINGS = (
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_default_matmul_precision",
)

_LARGE_PRODUCT = 2**14  # multiplications from which a matrix product is faster as a separate product
_RANDOM = 100  # operations that a random number counts for


class Signature(NamedTuple):
    """Structure, shapes and types of some arguments, and jax's settings; hashable, so that it can key a cache."""

    structure: Any
    leaves: tuple[jax.ShapeDtypeStruct, ...]
    settings: tuple[Hashable, ...]

    @property
    def abstract(self) -> Any:
        """The shapes and types of the arguments, in their structure."""
        return jax.tree.unflatten(self.structure, self.leaves)


def signature_of(*args: Any) -> Signature:
    """Returns the signature of these arguments under the settings of the calling thread."""
    leaves, structure = jax.tree.flatten(args)
    abstract = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    return Signature(structure, abstract, tuple(getattr(jax.config, name) for name in _SETTINGS))


@functools.lru_cache(maxsize=16)
def first_structure(landscape: Landscape) -> Any:
    """Returns the structure of the params that `sample` gives when it is first traced.

    Later ones may hold static data that are new objects each time (a function, a class without `__eq__`), so that the
    structures compare unequal. They are equivalent: data that do not depend on the key are the same for all starts.
    """
    return jax.tree.structure(jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0))))


def equations(program: Any) -> Iterator[Any]:
    """Yields the equations of a traced program and of the programs within it."""
    for inner in _programs(program):
        yield from inner.eqns


def constants(program: Any) -> Iterator[Any]:
    """Yields the constants of a traced program and of the programs within it."""
    for inner in _programs(program):
        yield from getattr(inner, "consts", ())
        jaxpr = getattr(inner, "jaxpr", inner)
        operands = itertools.chain(jaxpr.outvars, *(equation.invars for equation in jaxpr.eqns))
        yield from (operand.val for operand in operands if isinstance(operand, Literal))


def is_repeatable(fn: Callable[..., Any], *args: Any) -> bool:
    """Returns whether tracing `fn` twice gives programs with the same numbers in them.

    A number drawn by NumPy or Python inside a function is a constant of its trace, and differs between traces.
    """
    programs = [jax.make_jaxpr(lambda *args: fn(*args))(*args) for _ in range(2)]

    # jax numbers its run-time checks anew in every trace, so programs that contain them cannot be compared.
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


class Work(NamedTuple):
    """The work of a function, read from its trace: its text, the size of its largest array, and its operations."""

    text: str
    largest: int
    is_product: bool
    num_operations: int


def work_of(fn: Callable[..., Any], *args: Any) -> Work:
    """Returns the work of `fn` for arguments of these shapes."""
    traced = jax.make_jaxpr(fn)(*args)
    products = operations = 0
    largest = max((math.prod(leaf.shape) for leaf in jax.tree.leaves(args)), default=1)
    for equation in _lane_equations(traced.jaxpr, [True] * len(traced.jaxpr.invars)):
        size = max((math.prod(out.aval.shape) for out in equation.outvars if hasattr(out.aval, "shape")), default=0)
        largest = max(largest, size)
        if equation.primitive.name == "dot_general":
            products += _cost_of_product(equation)
        operations += _RANDOM * size if equation.primitive.name == "random_bits" else size
    return Work(str(traced), largest, 4 * products > operations, operations + products)


def _cost_of_product(equation: Any) -> int:
    """Returns the multiplications of a large matrix product; 0 for matrix-vector products, which lanes last suits."""
    contracted, batched = equation.params["dimension_numbers"]
    shapes = [operand.aval.shape for operand in equation.invars]
    free = [
        math.prod(size for axis, size in enumerate(shape) if axis not in (*contracted[side], *batched[side]))
        for side, shape in enumerate(shapes)
    ]
    cost = math.prod(shapes[0]) * free[1]
    return cost if min(free) > 1 and cost >= _LARGE_PRODUCT else 0


def _lane_equations(jaxpr: Jaxpr, is_lanes: Sequence[bool]) -> Iterator[Any]:
    """Yields the equations of a program, and of the programs within it, that depend on some of its arguments.

    Values that depend on none of them are computed once for all lanes.
    """
    own = {var for var, is_lane in zip(jaxpr.invars, is_lanes, strict=True) if is_lane}
    for equation in jaxpr.eqns:
        depends = [not isinstance(var, Literal) and var in own for var in equation.invars]
        if not any(depends):
            continue
        own.update(equation.outvars)
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                if isinstance(inner, Jaxpr):
                    fits = len(inner.invars) == len(depends)
                    yield from _lane_equations(inner, depends if fits else [True] * len(inner.invars))


def _programs(program: Any) -> Iterator[Any]:
    """Yields a traced program and those within it."""
    yield program
    for equation in getattr(program, "jaxpr", program).eqns:
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if hasattr(inner, "eqns"):
                    yield from _programs(inner)


def _is_same(one: Any, other: Any) -> bool:
    """Returns whether two constants are equal; constants that are not numbers count as equal."""
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
