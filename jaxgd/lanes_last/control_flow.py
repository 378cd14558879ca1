"""Lanes-last rules for primitives that contain programs: calls, custom derivatives, loops and branches.

Before a loop's body is evaluated it must be known which values of its carry differ between lanes; `mapped_outputs`
finds this as a fixed point. A condition that differs between lanes is treated as by `vmap`: the loop runs until every
lane is done and freezes the finished ones; all branches run and each lane selects its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from jaxgd.lanes_last.interpreter import (
    Context,
    Lanes,
    Rule,
    Value,
    apply,
    bind,
    interpret,
    is_mapped,
    left_unmapped,
    open_jaxpr,
    to_lanes,
)

Flags = list[bool]  # which values differ between lanes


# ------------------------------------------------------------------------- which values depend on lanes


def mapped_outputs(context: Context, jaxpr: Any, mapped: Sequence[bool]) -> Flags:
    """Returns which outputs of a program differ between lanes if its `mapped` inputs do."""
    opened, _ = open_jaxpr(jaxpr)
    differs = {var for var, flag in zip(opened.invars, mapped, strict=True) if flag}
    is_lane = lambda atom: not isinstance(atom, core.Literal) and atom in differs
    for eqn in opened.eqns:
        flags = [is_lane(atom) for atom in eqn.invars]
        if any(flags):
            outs = _follow(context, eqn, flags)
            differs.update(var for var, flag in zip(eqn.outvars, outs, strict=True) if flag)
    return [is_lane(atom) for atom in opened.outvars]


def _follow(context: Context, eqn: core.JaxprEqn, flags: Flags) -> Flags:
    """Returns which outputs of an equation differ between lanes."""
    name = eqn.primitive.name
    if name in _FOLLOW:
        return _FOLLOW[name](context, eqn, flags)
    if name in context.rules:
        return [True] * len(eqn.outvars)
    return [not is_same for is_same in left_unmapped(eqn, flags)]


def _follow_call(context: Context, eqn: core.JaxprEqn, flags: Flags) -> Flags:
    return mapped_outputs(context, _called(eqn), flags)


def _follow_custom(context: Context, eqn: core.JaxprEqn, flags: Flags) -> Flags:
    """Calls with custom derivatives count as mapped, since their derivatives may be."""
    outs = mapped_outputs(context, eqn.params["call_jaxpr"], flags)
    return [flag or _is_float(var.aval) for flag, var in zip(outs, eqn.outvars, strict=True)]


def _called(eqn: core.JaxprEqn) -> Any:
    """Returns the program that a call evaluates."""
    return eqn.params["jaxpr"] if "jaxpr" in eqn.params else eqn.params["call_jaxpr"]


def _follow_cond(context: Context, eqn: core.JaxprEqn, flags: Flags) -> Flags:
    if flags[0]:
        return [True] * len(eqn.outvars)
    branches = [mapped_outputs(context, branch, flags[1:]) for branch in eqn.params["branches"]]
    return [any(flag) for flag in zip(*branches, strict=True)]


def _follow_scan(context: Context, eqn: core.JaxprEqn, flags: Flags) -> Flags:
    num_consts, num_carry, _ = _scan_counts(eqn)
    consts, carry, xs = _split(flags, num_consts, num_carry)
    carry = _carry_fixed_point(context, eqn.params["jaxpr"], consts, carry, xs)
    outs = mapped_outputs(context, eqn.params["jaxpr"], [*consts, *carry, *xs])
    return [*carry, *outs[num_carry:]]


def _follow_while(context: Context, eqn: core.JaxprEqn, flags: Flags) -> Flags:
    return _while_flags(context, eqn, flags)[1]


_CALL_NAMES = ("jit", "closed_call", "eval_jaxpr")

_FOLLOW: dict[str, Callable[[Context, Any, Flags], Flags]] = {
    **dict.fromkeys([*_CALL_NAMES, "remat2"], _follow_call),
    **dict.fromkeys(["custom_jvp_call", "custom_vjp_call"], _follow_custom),
    "cond": _follow_cond,
    "scan": _follow_scan,
    "while": _follow_while,
}


def _carry_fixed_point(context: Context, jaxpr: Any, consts: Flags, carry: Flags, xs: Flags) -> Flags:
    """Returns which leaves of a carry differ between lanes at some iteration of a loop."""
    while True:
        outs = mapped_outputs(context, jaxpr, [*consts, *carry, *xs])[: len(carry)]
        grown = [old or new for old, new in zip(carry, outs, strict=True)]
        if grown == carry:
            return carry
        carry = grown


def _while_flags(context: Context, eqn: core.JaxprEqn, flags: Flags) -> tuple[bool, Flags]:
    """Returns whether the condition of a loop differs between lanes, and which leaves of its carry do."""
    cond_consts, body_consts, carry = _split(flags, eqn.params["cond_nconsts"], eqn.params["body_nconsts"])
    carry = _carry_fixed_point(context, eqn.params["body_jaxpr"], body_consts, carry, [])
    (is_lane,) = mapped_outputs(context, eqn.params["cond_jaxpr"], [*cond_consts, *carry])
    return (True, [True] * len(carry)) if is_lane else (False, carry)


# ---------------------------------------------------------------------------------------------------- calls


def call(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """A nested `jit` is evaluated in place."""
    return interpret(context, _called(eqn), operands)


def remat(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """`jax.checkpoint`: its result is recomputed for derivatives."""
    params, mapped = eqn.params, is_mapped(operands)
    flags = _follow_call(context, eqn, mapped)
    if params["differentiated"] and params["prevent_cse"]:
        operands = _rewrap(operands, lax.optimization_barrier(_unwrap(operands)))
    fn = jax.checkpoint(
        _on_arrays(context, params["jaxpr"], mapped, flags),
        prevent_cse=params["prevent_cse"],
        policy=params["policy"],
    )
    return _mark(fn(*_unwrap(operands)), flags)


def custom_jvp(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """A function with a custom forward derivative, which is kept so that the result can be differentiated."""
    mapped = is_mapped(operands)
    flags = _follow_custom(context, eqn, mapped)
    call = jax.custom_jvp(_on_arrays(context, eqn.params["call_jaxpr"], mapped, flags))

    def jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        is_float = [_is_float(primal) for primal in primals]

        def one_lane(primals: list[Any], some: list[Any]) -> Any:
            remaining = iter(some)
            full = [next(remaining) if flag else _zero(x) for x, flag in zip(primals, is_float, strict=True)]
            outs, out_tangents = jax.jvp(lambda *xs: bind(eqn, xs), primals, full)
            return outs, [t for out, t in zip(outs, out_tangents, strict=True) if _is_float(out)]

        some = [t for t, flag in zip(tangents, is_float, strict=True) if flag]
        some_mapped = [lane for lane, flag in zip(mapped, is_float, strict=True) if flag]
        outs, found = apply(context, one_lane, _mark(primals, mapped), _mark(some, some_mapped))
        remaining = iter(_unwrap(found))
        outs = _unforce(outs, flags)
        return outs, [next(remaining) if _is_float(out) else _zero(out) for out in outs]

    call.defjvp(jvp)
    return _mark(call(*_unwrap(operands)), flags)


def custom_vjp(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """A function with a custom reverse derivative, which is kept so that the result can be differentiated."""
    mapped = is_mapped(operands)
    flags = _follow_custom(context, eqn, mapped)
    call = jax.custom_vjp(_on_arrays(context, eqn.params["call_jaxpr"], mapped, flags))
    out_types = [var.aval for var in eqn.outvars]
    is_float_out = [_is_float(aval) for aval in out_types]

    def forward(*arrays: Any) -> tuple[Any, Any]:
        outs, pull = apply(context, lambda *xs: jax.vjp(lambda *xs: bind(eqn, xs), *xs), *_mark(arrays, mapped))
        return _unforce(outs, flags), jax.tree.map(lambda leaf: leaf.array, pull)

    def backward(pull: Any, cotangents: Any) -> tuple[Any, ...]:
        def one_lane(pull: Any, some: list[Any]) -> Any:
            remaining = iter(some)
            full = [
                next(remaining) if flag else _zero(aval) for aval, flag in zip(out_types, is_float_out, strict=True)
            ]
            return [ct if _is_float(ct) else None for ct in pull(full)]

        some = [ct for ct, flag in zip(cotangents, is_float_out, strict=True) if flag]
        found = apply(context, one_lane, jax.tree.map(Lanes, pull), [Lanes(ct) for ct in some])
        return tuple(
            None if ct is None else ct.array if flag else jnp.sum(ct.array, axis=-1)
            for ct, flag in zip(found, mapped, strict=True)
        )

    call.defvjp(forward, backward)
    return _mark(call(*_unwrap(operands)), flags)


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _zero(x: Any) -> np.ndarray:
    """Returns the derivative of a value that has none."""
    return np.zeros(x.shape, jax.dtypes.float0)


# ---------------------------------------------------------------------------------------- loops and branches


def scan(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """A loop of known length; the arrays it reads and stacks have lanes last, too."""
    num_consts, num_carry, _ = _scan_counts(eqn)
    consts, carry, xs = _split(operands, num_consts, num_carry)
    flags = _follow_scan(context, eqn, is_mapped(operands))
    carry_mapped, xs_mapped = flags[:num_carry], is_mapped(xs)

    def body(carry: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
        args = [*consts, *_mark(carry, carry_mapped), *_mark(xs, xs_mapped)]
        outs = _force(context, interpret(context, eqn.params["jaxpr"], args), flags)
        return outs[:num_carry], outs[num_carry:]

    start = _force(context, carry, carry_mapped)
    options = {name: eqn.params[name] for name in ("length", "reverse", "unroll")}
    last, stacked = lax.scan(body, start, _unwrap(xs), **options)
    return _mark([*last, *stacked], flags)


def while_(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """A loop that runs while a condition holds; in any lane, if it differs between lanes."""
    params = eqn.params
    cond_consts, body_consts, carry = _split(operands, params["cond_nconsts"], params["body_nconsts"])
    differs, flags = _while_flags(context, eqn, is_mapped(operands))
    start = _force(context, carry, flags)

    def condition(carry: Sequence[Any]) -> Any:
        (holds,) = interpret(context, params["cond_jaxpr"], [*cond_consts, *_mark(carry, flags)])
        return holds.array if isinstance(holds, Lanes) else holds

    def body(carry: Sequence[Any]) -> Sequence[Any]:
        return _force(context, interpret(context, params["body_jaxpr"], [*body_consts, *_mark(carry, flags)]), flags)

    if not differs:
        return _mark(lax.while_loop(condition, body, start), flags)

    def hold_finished(state: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
        runs, old = state
        new = [_select(runs, [was, now]) for was, now in zip(old, body(old), strict=True)]
        return condition(new), new

    _, last = lax.while_loop(lambda state: jnp.any(state[0]), hold_finished, (condition(start), start))
    return _mark(last, flags)


def cond(context: Context, eqn: core.JaxprEqn, operands: list[Value]) -> Any:
    """One of several branches; if the choice differs between lanes, all of them and a selection."""
    index, *args = operands
    branches = eqn.params["branches"]
    if isinstance(index, Lanes):
        return _all_branches(context, branches, index, args)
    if eqn.params.get("branches_platforms") is not None:
        return NotImplemented
    mapped = is_mapped(args)
    flags = _follow_cond(context, eqn, [False, *mapped])
    run = lambda branch: lambda *xs: _force(context, interpret(context, branch, _mark(xs, mapped)), flags)
    return _mark(lax.switch(index, [run(branch) for branch in branches], *_unwrap(args)), flags)


def _all_branches(context: Context, branches: Any, index: Lanes, args: list[Value]) -> list[Value]:
    outs = []
    for number, branch in enumerate(branches):
        chosen = lax.eq(index.array, jnp.asarray(number, index.array.dtype))
        outs.append(interpret(context, branch, [_cut_gradient(chosen, arg) for arg in args]))
    arrays = [[to_lanes(context, out).array for out in cases] for cases in zip(*outs, strict=True)]
    return [Lanes(_select(index.array, cases)) for cases in arrays]


def _cut_gradient(chosen: Any, arg: Value) -> Value:
    """Returns the operand of a branch, without derivatives in lanes that take another branch.

    There they could be infinite, and zero times infinity would reach the lane's gradient; `vmap` does the same.
    """
    if not isinstance(arg, Lanes) or not _is_float(arg.array):
        return arg
    return Lanes(_select(chosen, [lax.stop_gradient(arg.array), arg.array]))


def _select(which: Any, cases: list[Any]) -> Any:
    """Returns for each lane the case that `which` (lanes,) selects."""
    if all(case is cases[0] for case in cases):
        return cases[0]
    if len(cases) == 2 and which.dtype != bool:
        which = lax.ne(which, jnp.zeros((), which.dtype))
    shape = cases[0].shape
    return lax.select_n(lax.broadcast_in_dim(which, shape, (len(shape) - 1,)), *cases)


def _scan_counts(eqn: core.JaxprEqn) -> tuple[int, int, int]:
    """Returns the numbers of constants, carried values and read values.

    Values that are read or stacked have one more axis outside the loop.
    """
    jaxpr, _ = open_jaxpr(eqn.params["jaxpr"])
    gained = lambda outer, inner: sum(o.aval.ndim > i.aval.ndim for o, i in zip(outer, inner, strict=True))
    num_xs = gained(eqn.invars, jaxpr.invars)
    num_carry = len(eqn.outvars) - gained(eqn.outvars, jaxpr.outvars)
    return len(eqn.invars) - num_carry - num_xs, num_carry, num_xs


# ---------------------------------------------------------------------------------------- marks on and off


def _on_arrays(context: Context, jaxpr: Any, mapped: Flags, flags: Flags) -> Callable[..., list[Any]]:
    """Returns a program as a function of plain arrays; those flagged in `mapped`, and flagged outputs, have lanes."""
    return lambda *arrays: _force(context, interpret(context, jaxpr, _mark(arrays, mapped)), flags)


def _force(context: Context, values: Sequence[Value], flags: Flags) -> list[Any]:
    """Returns plain arrays, with lanes where flagged."""
    return [to_lanes(context, value).array if flag else value for value, flag in zip(values, flags, strict=True)]


def _unforce(values: Sequence[Lanes], flags: Flags) -> list[Any]:
    """Returns plain arrays, without lanes where the flags say that all lanes agree."""
    return [value.array if flag else value.array[..., 0] for value, flag in zip(values, flags, strict=True)]


def _mark(arrays: Sequence[Any], flags: Flags) -> list[Value]:
    return [Lanes(array) if flag else array for array, flag in zip(arrays, flags, strict=True)]


def _unwrap(values: Sequence[Value]) -> list[Any]:
    return [value.array if isinstance(value, Lanes) else value for value in values]


def _rewrap(values: Sequence[Value], arrays: Sequence[Any]) -> list[Value]:
    return _mark(arrays, is_mapped(values))


def _split(values: Sequence[Any], *counts: int) -> list[list[Any]]:
    """Returns blocks of the given lengths, and the rest."""
    blocks, start = [], 0
    for count in counts:
        blocks.append(list(values[start : start + count]))
        start += count
    return [*blocks, list(values[start:])]


CONTROL_RULES: dict[str, Rule] = {
    **dict.fromkeys(_CALL_NAMES, call),
    "remat2": remat,
    "custom_jvp_call": custom_jvp,
    "custom_vjp_call": custom_vjp,
    "scan": scan,
    "while": while_,
    "cond": cond,
}

CALLS = frozenset(_CALL_NAMES)
"""Primitives that are evaluated in place."""
