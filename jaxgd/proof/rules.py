"""Runs a traced program on intervals, many boxes at once: a rule for each primitive, and none for what has none.

A program stands for the real function that it rounds, whatever its type of numbers. Primitives that only move numbers
about need no rule of their own: run on the places of their operands, they say what goes where.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.special
from jax.extend.core import ClosedJaxpr, Literal

from jaxgd.base import InputValueError
from jaxgd.proof import intervals
from jaxgd.proof.intervals import Bounds, Rows

_INLINED = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")
_MOVES = frozenset(
    """
    broadcast_in_dim reshape transpose squeeze slice pad concatenate rev expand_dims split dynamic_slice gather copy
    dynamic_update_slice stack unstack tile
""".split()
)
_SUMS = frozenset(["scatter-add", "scatter_add", "cumsum"])
_INCREASING: dict[str, tuple[Callable[[Rows], Rows], float, float]] = {
    "exp": (np.exp, 0, np.inf),
    "exp2": (np.exp2, 0, np.inf),
    "expm1": (np.expm1, -1, np.inf),
    "sinh": (np.sinh, -np.inf, np.inf),
    "asinh": (np.arcsinh, -np.inf, np.inf),
    "atan": (np.arctan, -np.inf, np.inf),
    "tanh": (np.tanh, -1, 1),
    "logistic": (scipy.special.expit, 0, 1),
    "erf": (scipy.special.erf, -1, 1),
    "cbrt": (np.cbrt, -np.inf, np.inf),
}
_FROM = {"log": (np.log, 0.0), "log1p": (np.log1p, -1.0), "sqrt": (np.sqrt, 0.0)}  # where they are smooth


class Program:
    """A traced function of one flat point, to be run on boxes.

    Attributes:
      largest: numbers in its largest array.
    """

    def __init__(self, traced: ClosedJaxpr) -> None:
        self._traced = traced
        self._maps: dict[Any, Any] = {}
        self._is_smooth: Rows = np.ones(1, bool)
        self.largest = max((_size(out) for line in traced.jaxpr.eqns for out in line.outvars), default=1)

    def __call__(self, x: Bounds) -> tuple[list[Bounds], Rows]:
        """Returns the outputs on (n, dim) boxes, and (n,) bool, whether it is surely smooth all over each box."""
        self._is_smooth = np.ones(len(x.low), bool)
        with np.errstate(all="ignore"):
            found = self._run(self._traced.jaxpr, self._traced.consts, [x])
        shape = lambda bound: np.broadcast_to(bound, (len(x.low), *bound.shape[1:]))
        return [Bounds(*map(shape, _as_interval(out))) for out in found], self._is_smooth

    def _run(self, program: Any, constants: Any, operands: list[Any]) -> list[Any]:
        known: dict[Any, Any] = dict(zip(program.constvars, map(_constant, constants), strict=True))
        known.update(zip(program.invars, operands, strict=True))
        read = lambda var: _constant(var.val) if isinstance(var, Literal) else known[var]
        for line in program.eqns:
            given = [read(var) for var in line.invars]
            known.update(zip(line.outvars, self._apply(line, given), strict=True))
        return [read(var) for var in program.outvars]

    def _apply(self, line: Any, given: list[Any]) -> list[Any]:
        name, params = line.primitive.name, line.params
        if name in _INLINED:
            inner = next(params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params)
            return self._run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given)

        # Whole numbers and truth values that depend on no point are computed as they are.
        if not any(isinstance(one, Bounds) for one in given) and line.outvars[0].aval.dtype.kind in "iub":
            found = line.primitive.bind(*map(jax.numpy.asarray, given), **params)
            return [np.asarray(one) for one in (found if line.primitive.multiple_results else [found])]
        if not given:
            found = line.primitive.bind(**params)
            return [_constant(found)]

        # Primitives that move numbers, and sums.
        if name in _MOVES:
            return self._move(line, given)
        if name in _SUMS:
            return [self._sum(line, given)]

        # Bounds of operands; single numbers may stand beside arrays.
        rule = getattr(self, f"_{name}", None)
        values = [_as_interval(one) for one in given]
        if name != "dot_general":  # single numbers may stand beside arrays
            rank = max(value.low.ndim for value in values)
            values = [
                Bounds(
                    *(bound.reshape(len(bound), *(1,) * (rank - 1)) if bound.ndim == 1 else bound for bound in value)
                )
                for value in values
            ]

        # Monotone functions, whole or from an edge of their domain.
        if name in _INCREASING:
            function, low, high = _INCREASING[name]
            return [intervals.monotone(function, values[0], low, high)]
        if name in _FROM:
            function, edge = _FROM[name]
            self._needs(values[0].low >= edge)
            return [intervals.monotone(function, values[0], 0 if name == "sqrt" else -np.inf, np.inf)]

        if rule is None:
            raise InputValueError(
                f"`{name}` has no interval rule, so that nothing can be proven about this function; write it without."
            )
        if len(values) == 2 and name == "mul" and line.invars[0] is line.invars[1]:
            return [intervals.power(values[0], 2)]
        return [rule(*values, **params)]

    def _needs(self, is_so: Rows) -> None:
        """Notes on which boxes the program may not be smooth."""
        is_so = is_so.reshape(len(is_so), -1).all(axis=1)
        self._is_smooth = self._is_smooth & is_so

    # ------------------------------------------------------------------------------------ moving and summing

    def _places(self, line: Any, given: list[Any]) -> tuple[list[Any], list[int]]:
        """Returns the operands with places for numbers, and which ones these are."""
        floats = [i for i, var in enumerate(line.invars) if var.aval.dtype.kind in "fb" and not _is_place(line, i)]
        operands, begin = list(given), 0
        for i in floats:
            shape = line.invars[i].aval.shape
            size = int(np.prod(shape))
            operands[i] = np.arange(begin, begin + size, dtype=np.int32).reshape(shape)
            begin += size
        if any(isinstance(operand, Bounds) for operand in operands):
            raise InputValueError(f"`{line.primitive.name}` has no interval rule where its places depend on the point.")
        return operands, floats

    def _move(self, line: Any, given: list[Any]) -> list[Bounds]:
        key = _key(line, given)
        if key not in self._maps:
            operands, floats = self._places(line, given)
            found = line.primitive.bind(*map(jax.numpy.asarray, operands), **line.params)
            maps = [np.asarray(one) for one in (found if line.primitive.multiple_results else [found])]
            if any(np.any(one < 0) for one in maps):
                raise InputValueError(f"`{line.primitive.name}` reads outside of its array; keep its places inside.")
            self._maps[key] = maps, floats
        maps, floats = self._maps[key]
        flat = _flat([_as_interval(given[i]) for i in floats])
        return [Bounds(flat.low[:, where], flat.high[:, where]) for where in maps]

    def _sum(self, line: Any, given: list[Any]) -> Bounds:
        key = _key(line, given)
        if key not in self._maps:
            operands, floats = self._places(line, given)
            sizes = [operands[i].size for i in floats]
            rows = np.eye(sum(sizes))
            parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)

            def apply(*parts: Any) -> Any:
                full = [jax.numpy.asarray(one) for one in operands]
                for i, part in zip(floats, parts, strict=True):
                    full[i] = part.reshape(line.invars[i].aval.shape).astype(line.invars[i].aval.dtype)
                return line.primitive.bind(*full, **line.params)

            self._maps[key] = np.asarray(jax.vmap(apply)(*parts), np.float64), floats
        weights, floats = self._maps[key]
        flat = _flat([_as_interval(given[i]) for i in floats])
        spread = weights.reshape(1, *weights.shape)
        each = lambda bound: np.where(spread > 0, bound.reshape(*bound.shape, *[1] * (weights.ndim - 1)), 0)
        return intervals.total(Bounds(each(flat.low), each(flat.high)), (1,))

    # ----------------------------------------------------------------------------------------- arithmetic

    def _add(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        return intervals.add(a, b)

    _add_any = _add

    def _sub(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        return intervals.subtract(a, b)

    def _mul(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        return intervals.multiply(a, b)

    def _div(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        self._needs((b.low > 0) | (b.high < 0))
        return intervals.divide(a, b)

    def _neg(self, a: Bounds, **_: Any) -> Bounds:
        return intervals.negative(a)

    def _square(self, a: Bounds, **_: Any) -> Bounds:
        return intervals.power(a, 2)

    def _one_minus_square(self, a: Bounds, **_: Any) -> Bounds:
        return intervals.subtract(intervals.thin(1.0), intervals.power(a, 2))

    def _integer_pow(self, a: Bounds, y: int, **_: Any) -> Bounds:
        if y < 0:
            self._needs((a.low > 0) | (a.high < 0))
        return intervals.power(a, y)

    def _pow(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        self._needs(a.low > 0)
        base = Bounds(np.where(a.low > 0, a.low, np.nan), a.high)
        corners = [np.power(x, y) for x in base for y in b]
        return intervals.widened(np.min(corners, axis=0), np.max(corners, axis=0))

    def _rsqrt(self, a: Bounds, **_: Any) -> Bounds:
        self._needs(a.low > 0)
        root = intervals.monotone(np.sqrt, a, 0, np.inf)
        return intervals.divide(intervals.thin(1.0), root)

    def _abs(self, a: Bounds, **_: Any) -> Bounds:
        low, high = np.minimum(np.abs(a.low), np.abs(a.high)), np.maximum(np.abs(a.low), np.abs(a.high))
        return Bounds(np.where((a.low <= 0) & (a.high >= 0), 0, low), high)

    def _cos(self, a: Bounds, **_: Any) -> Bounds:
        return intervals.cosine(a)

    def _sin(self, a: Bounds, **_: Any) -> Bounds:
        return intervals.cosine(a, 1.0)

    def _cosh(self, a: Bounds, **_: Any) -> Bounds:
        size = self._abs(a)
        return intervals.monotone(np.cosh, size, 1, np.inf)

    def _reduce_sum(self, a: Bounds, axes: tuple[int, ...], **_: Any) -> Bounds:
        return intervals.total(a, tuple(axis + 1 for axis in axes))

    def _dot_general(self, a: Bounds, b: Bounds, dimension_numbers: Any, **_: Any) -> Bounds:
        (contracted_a, contracted_b), (batch_a, batch_b) = dimension_numbers

        def arranged(bound: Rows, batch: Any, contracted: Any, is_first: bool) -> Rows:
            free = [axis for axis in range(bound.ndim - 1) if axis not in (*batch, *contracted)]
            bound = np.transpose(bound, [0, *(axis + 1 for axis in (*batch, *free, *contracted))])
            sizes = bound.shape[1:]
            split, end = len(batch), len(batch) + len(free)
            other = free_b if is_first else free_a
            ones = (1,) * other
            middle = (*sizes[split:end], *ones) if is_first else (*ones, *sizes[split:end])
            return bound.reshape(len(bound), *sizes[:split], *middle, -1)

        free_a = a.low.ndim - 1 - len(batch_a) - len(contracted_a)
        free_b = b.low.ndim - 1 - len(batch_b) - len(contracted_b)
        left = Bounds(*(arranged(bound, batch_a, contracted_a, True) for bound in a))
        right = Bounds(*(arranged(bound, batch_b, contracted_b, False) for bound in b))
        products = intervals.multiply(left, right)
        return intervals.total(products, (products.low.ndim - 1,))

    def _convert_element_type(self, a: Bounds, new_dtype: Any, **_: Any) -> Bounds:
        if np.dtype(new_dtype).kind != "f":
            raise InputValueError("`convert_element_type` to whole numbers has no interval rule; write it without.")
        return a

    # ---------------------------------------------------------------------------- choices, and where they switch

    def _truth(self, is_true: Rows, is_false: Rows) -> Bounds:
        self._needs(is_true | is_false)
        return Bounds(is_true.astype(float), (~is_false).astype(float))

    def _gt(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        return self._truth(a.low > b.high, a.high <= b.low)

    def _ge(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        return self._truth(a.low >= b.high, a.high < b.low)

    def _lt(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        return self._gt(b, a)

    def _le(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        return self._ge(b, a)

    def _eq(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        is_thin = (a.low == a.high) & (b.low == b.high) & (a.low == b.low)
        return self._truth(is_thin, (a.low > b.high) | (b.low > a.high))

    def _select_n(self, which: Bounds, *cases: Bounds, **_: Any) -> Bounds:
        if len(cases) != 2:
            raise InputValueError("`select_n` of more than two cases has no interval rule; write it with two.")
        low, high = which
        pick = lambda one, other, best: np.where(high == 0, one, np.where(low == 1, other, best(one, other)))
        return Bounds(pick(cases[0].low, cases[1].low, np.minimum), pick(cases[0].high, cases[1].high, np.maximum))

    def _max(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        self._needs((a.low > b.high) | (b.low > a.high))
        return Bounds(np.maximum(a.low, b.low), np.maximum(a.high, b.high))

    def _min(self, a: Bounds, b: Bounds, **_: Any) -> Bounds:
        self._needs((a.low > b.high) | (b.low > a.high))
        return Bounds(np.minimum(a.low, b.low), np.minimum(a.high, b.high))

    def _sign(self, a: Bounds, **_: Any) -> Bounds:
        self._needs((a.low > 0) | (a.high < 0))
        return Bounds(np.sign(a.low), np.sign(a.high))


def _size(out: Any) -> int:
    return int(np.prod(out.aval.shape, dtype=np.int64))


def _key(line: Any, given: list[Any]) -> Any:
    """Returns what the places of a line depend on: the line itself, and the whole numbers that it is given."""
    return id(line), *(one.tobytes() for one in given if not isinstance(one, Bounds))


def _is_place(line: Any, i: int) -> bool:
    """Returns whether an operand says where others go: no such operand holds floating-point numbers or truth."""
    return line.invars[i].aval.dtype.kind not in "fb"


def _flat(values: list[Bounds]) -> Bounds:
    """Returns the numbers of some operands in one row for each box."""
    num = max(len(value.low) for value in values)

    def joined(bounds: list[Rows]) -> Rows:
        return np.concatenate([np.broadcast_to(b.reshape(len(b), -1), (num, b[0].size)) for b in bounds], axis=1)

    return Bounds(joined([value.low for value in values]), joined([value.high for value in values]))


def _constant(value: Any) -> Any:
    """Returns a number of the trace: an interval if it is a floating-point one, the array itself else."""
    array = np.asarray(value)
    return array if array.dtype.kind in "iub" else intervals.thin(array[None])


def _as_interval(value: Any) -> Bounds:
    return value if isinstance(value, Bounds) else intervals.thin(np.asarray(value, np.float64)[None])
