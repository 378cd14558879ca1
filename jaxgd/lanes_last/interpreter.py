"""Evaluates the program of one lane for many, equation by equation, with the lane axis last.

A value is either a `Lanes`, an array that differs between lanes and carries them along its last axis, or any other
array, which is the same for all lanes and has the shape that one lane sees. An equation whose operands are all of the
second kind is evaluated unchanged; any other goes to the rule of its primitive. A rule takes the equation and its
operands and returns the outputs, or `NotImplemented`; then `vmap` maps that one primitive.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.extend import core


@dataclass(frozen=True, slots=True)
class Lanes:
    """A value that differs between lanes.

    The flags describe what the compiler would repeat or fuse where the value is used. They affect speed only.

    Attributes:
      array: shape of one lane's value, then the lane axis.
      is_sum: whether it is a long sum that is not stored yet. The compiler considers additions cheap and would repeat
      them wherever the sum is used, so it is stored before a second use.
      is_transcendental: whether it contains a function that the compiler vectorises only in its own reductions.
    """

    array: jax.Array
    is_sum: bool = False
    is_transcendental: bool = False

    @property
    def ndim(self) -> int:
        """Rank of one lane's value."""
        return self.array.ndim - 1


TRANSCENDENTAL = frozenset(["cos", "erf", "expm1", "log", "log1p", "sin", "tan"])
"""Functions that the compiler vectorises only in its own reductions (jax 0.12, CPU: a factor of 2 to 9)."""

Value = Any  # a Lanes, or an array that is the same for all lanes


@dataclass(frozen=True, kw_only=True)
class Context:
    """The context of every rule.

    Attributes:
      num_lanes: size of the lane axis.
      rules: name of a primitive -> its rule.
      streaming: names of primitives that use each element of an operand once if the result has the operand's size.
      calls: names of primitives that are evaluated in place.
      fallbacks: name of a primitive -> how often it was left to `vmap`.
    """

    num_lanes: int
    rules: Mapping[str, "Rule"]
    streaming: frozenset[str]
    calls: frozenset[str]
    fallbacks: Counter[str] = field(default_factory=Counter)


Rule = Callable[[Context, core.JaxprEqn, list[Value]], Any]  # -> list of Value, or NotImplemented


def interpret(context: Context, jaxpr: Any, args: Sequence[Value]) -> list[Value]:
    """Returns the outputs of a program of one lane for all lanes."""
    opened, consts = open_jaxpr(jaxpr)
    env: dict[Any, Value] = {}
    num_uses = _count_uses(opened)

    def write(variables: Sequence[Any], values: Sequence[Value]) -> None:
        for variable, value in zip(variables, values, strict=True):
            env[variable] = store(value) if num_uses[variable] > 1 else value

    read = lambda atom: atom.val if isinstance(atom, core.Literal) else env[atom]
    write([*opened.constvars, *opened.invars], [*consts, *args])
    for eqn in opened.eqns:
        write(eqn.outvars, evaluate(context, eqn, [read(atom) for atom in eqn.invars]))
    return [read(atom) for atom in opened.outvars]


def _count_uses(jaxpr: core.Jaxpr) -> Counter[Any]:
    atoms = [*(atom for eqn in jaxpr.eqns for atom in eqn.invars), *jaxpr.outvars]
    return Counter(atom for atom in atoms if not isinstance(atom, core.Literal))


def evaluate(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """Returns the outputs of one equation."""
    if not any(is_mapped(operands)):
        return bind(eqn, operands)
    name = eqn.primitive.name
    if name in context.calls:
        return context.rules[name](context, eqn, operands)
    if any(_is_sum(value) and not _is_streamed(context, eqn, value) for value in operands):
        operands = [store(value) for value in operands]
    rule = context.rules.get(name)
    outs = NotImplemented if rule is None else rule(context, eqn, operands)
    if outs is NotImplemented:
        context.fallbacks[name] += 1
        outs = map_by_vmap(context, eqn, operands)
    return outs if name not in context.streaming else [_inherit(name, out, operands) for out in outs]


def store(value: Value) -> Value:
    """Returns the value, stored if it was an unfinished sum."""
    return Lanes(lax.optimization_barrier(value.array)) if _is_sum(value) else value


def _is_sum(value: Value) -> bool:
    return isinstance(value, Lanes) and value.is_sum


def _is_streamed(context: Context, eqn: core.JaxprEqn, value: Lanes) -> bool:
    """Returns whether an equation uses each element of an unfinished sum just once."""
    same_size = lambda out: out.aval.size * context.num_lanes == value.array.size
    return eqn.primitive.name in context.streaming and all(same_size(out) for out in eqn.outvars)


def _inherit(name: str, out: Lanes, operands: list[Value]) -> Lanes:
    """Returns the output of a streaming primitive with the flags of its operands."""
    lanes = [value for value in operands if isinstance(value, Lanes) and value.array.size <= out.array.size]
    is_sum = out.is_sum or any(value.is_sum for value in lanes)
    is_transcendental = name in TRANSCENDENTAL or any(value.is_transcendental for value in lanes)
    return Lanes(out.array, is_sum, is_transcendental)


def apply(context: Context, fn: Callable[..., Any], *args: Any) -> Any:
    """Returns `fn` of one lane on pytrees whose mapped leaves are `Lanes`; all outputs are `Lanes`.

    Unmapped leaves are closed over unchanged, so a Python number stays a Python number, as under `vmap`.
    """
    leaves, tree = jax.tree.flatten(args)
    mapped = is_mapped(leaves)
    lanes = [leaf for leaf in leaves if isinstance(leaf, Lanes)]

    def one_lane(*lane_leaves: Any) -> Any:
        remaining = iter(lane_leaves)
        merged = [next(remaining) if is_lane else leaf for leaf, is_lane in zip(leaves, mapped, strict=True)]
        return fn(*jax.tree.unflatten(tree, merged))

    types = [core.mapped_aval(context.num_lanes, leaf.ndim, jax.typeof(leaf.array)) for leaf in lanes]
    jaxpr, out_shapes = jax.make_jaxpr(one_lane, return_shape=True)(*types)
    outs = interpret(context, jaxpr, lanes)
    return jax.tree.unflatten(jax.tree.structure(out_shapes), [to_lanes(context, out) for out in outs])


def map_by_vmap(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """Returns the outputs of one equation, mapped by `vmap`; the fallback where there is no rule.

    Outputs that `vmap` leaves unmapped stay unmapped: a primitive may require values that are the same for all lanes,
    and may compute some from values that differ (whether any lane has failed, how long the slowest runs).
    """
    axes = tuple(value.ndim if isinstance(value, Lanes) else None for value in operands)
    arrays = [value.array if isinstance(value, Lanes) else value for value in operands]
    same: dict[int, Any] = {}  # number of an output -> its value for all lanes

    def one_lane(lane: Any, *arrays: Any) -> list[Any]:
        return [_unless_mapped(same, number, out, lane) for number, out in enumerate(bind(eqn, arrays))]

    lanes = jnp.zeros(context.num_lanes, bool)
    outs = jax.vmap(one_lane, (0, *axes), -1, axis_size=context.num_lanes)(lanes, *arrays)
    return [same.get(number, Lanes(out)) for number, out in enumerate(outs)]


def _unless_mapped(same: dict[int, Any], number: int, out: Any, lane: Any) -> Any:
    """Returns `out` of one lane, and records it if `vmap` has not mapped it as it has mapped `lane`."""

    @custom_vmap
    def passed_on(out: Any, lane: Any) -> Any:
        return out

    @passed_on.def_vmap
    def _(axis_size: int, in_batched: list[bool], out: Any, lane: Any) -> tuple[Any, bool]:
        if not in_batched[0]:
            same[number] = out
        return out, in_batched[0]

    return passed_on(out, lane)


def left_unmapped(eqn: core.JaxprEqn, mapped: Sequence[bool]) -> list[bool]:
    """Returns which outputs `map_by_vmap` leaves unmapped if these operands are mapped; nothing is computed."""
    context = Context(num_lanes=2, rules={}, streaming=frozenset(), calls=frozenset())
    avals: list[Any] = [atom.aval for atom in eqn.invars]
    flags: list[bool] = []

    def look(*arrays: Any) -> None:
        operands = [Lanes(array) if flag else array for array, flag in zip(arrays, mapped, strict=True)]
        flags.extend(not flag for flag in is_mapped(map_by_vmap(context, eqn, operands)))

    lanes = [core.unmapped_aval(2, aval.ndim, aval) if flag else aval for aval, flag in zip(avals, mapped, strict=True)]
    jax.eval_shape(look, *lanes)
    return flags


# ------------------------------------------------------------------------------------------ tools for rules


def bind(eqn: core.JaxprEqn, arrays: Sequence[Any], **changes: Any) -> list[Any]:
    """Returns the outputs of an equation's primitive on other operands, with some parameters changed."""
    primitive = eqn.primitive
    outs = primitive.bind(*arrays, **primitive.get_bind_params({**eqn.params, **changes}))
    return list(outs) if primitive.multiple_results else [outs]


def bind_lanes(eqn: core.JaxprEqn, lanes: Sequence[Any], **changes: Any) -> list[Value]:
    """Returns what `bind` returns on the arrays of `lanes`, marked as mapped."""
    arrays = [value.array if isinstance(value, Lanes) else value for value in lanes]
    return [Lanes(out) for out in bind(eqn, arrays, **changes)]


def is_mapped(values: Sequence[Value]) -> list[bool]:
    """Returns which values differ between lanes."""
    return [isinstance(value, Lanes) for value in values]


def to_lanes(context: Context, value: Value, shape: tuple[int, ...] | None = None) -> Lanes:
    """Returns a value as `Lanes`, broadcast to a lane's `shape` and, if unmapped, to all lanes.

    Axes are aligned from the left, and a value of rank 0 fits every shape.
    """
    array = value.array if isinstance(value, Lanes) else value
    rank = value.ndim if isinstance(value, Lanes) else jnp.ndim(array)
    own_shape = jnp.shape(array)[:rank]
    shape = own_shape if shape is None else tuple(shape)
    if isinstance(value, Lanes) and own_shape == shape:
        return value
    axes = (*range(rank), len(shape)) if isinstance(value, Lanes) else tuple(range(rank))
    return Lanes(lax.broadcast_in_dim(array, (*shape, context.num_lanes), axes))


def open_jaxpr(jaxpr: Any) -> tuple[core.Jaxpr, Sequence[Any]]:
    """Returns a program and its constants, for closed and open programs."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())
