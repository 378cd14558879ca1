"""Which leaves of the params an optimizer can never move, read from its traced program.

`optax.freeze`, `optax.masked` and `optax.multi_transform` hold leaves constant by updates of zero. Such a leaf is a
constant of the problem: its gradient says nothing about how far the descent has come.

A leaf is frozen where its update is zero whatever the gradients are. An invariant proves this for all steps at once:
whatever `init` sets to zero, and one `update` leaves at zero if it was zero before, is zero forever (the moments of
Adam behind a mask). A step count or an accumulated gradient is not, so a schedule that begins at zero,
`optax.apply_every` and `optax.MultiSteps` freeze nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxgd.base import Params

# zero if all operands are zero
_KEEP_ZERO = frozenset(
    "abs add add_any asin asinh atan atanh broadcast_in_dim cbrt ceil concatenate convert_element_type copy copy_p"
    " cummax cummin cumsum device_put erf expand_dims expm1 floor imag integer_pow log1p max min neg"
    " optimization_barrier pad real reduce_max reduce_min reduce_precision reduce_prod reduce_sum reshape rev round"
    " sign sin sinh slice split sqrt square squeeze stop_gradient sub tan tanh transpose".split()
)
_PRODUCTS = frozenset("mul and dot_general conv_general_dilated".split())  # where any is
_LARGEST_CONSTANT = 2**20  # entries that are looked through


def frozen_leaves(
    init: Callable[..., Any], update: Callable[..., tuple[Params, Any]], params: Params, others: tuple[Any, ...] = ()
) -> Params | None:
    """Returns a pytree like params with one Python bool a leaf, whether the leaf never moves; None where all may.

    An optimizer that moves nothing at all freezes nothing: there only the gradient is informative.

    Args:
      init: maps (params, *others) to the optimizer's state.
      update: maps (gradient, state, params, *others) to (update, state).
      params: of one lane, arrays or their shapes.
      others: whatever other arguments they take, in the same form.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> params = {"scale": jnp.ones(3), "shift": jnp.ones(())}
      >>> held = optax.chain(optax.sgd(0.1, momentum=0.9), optax.freeze({"scale": False, "shift": True}))
      >>> frozen_leaves(held.init, held.update, params)
      {'scale': False, 'shift': True}
    """
    begin, state = jax.make_jaxpr(init, return_shape=True)(params, *others)
    step = jax.make_jaxpr(update)(params, state, params, *others)
    num_leaves, num_others = len(jax.tree.leaves(params)), len(jax.tree.leaves(others))
    unknown, given = [False] * num_leaves, [False] * (num_leaves + num_others)
    is_zero = _zeros(begin, given)
    while True:
        after = _zeros(step, [*unknown, *is_zero, *given])
        moves, still = after[:num_leaves], [was and is_ for was, is_ in zip(is_zero, after[num_leaves:], strict=True)]
        if still == is_zero:
            break
        is_zero = still
    return jax.tree.unflatten(jax.tree.structure(params), moves) if any(moves) and not all(moves) else None


def _zeros(program: ClosedJaxpr, is_zero: Sequence[bool]) -> list[bool]:
    """Returns which outputs of a program are certainly zero, given which of its inputs are."""
    jaxpr = program.jaxpr
    known = dict(zip(jaxpr.invars, is_zero, strict=True))
    known |= {var: _is_zero(constant) for var, constant in zip(jaxpr.constvars, program.consts, strict=True)}
    read = lambda var: _is_zero(var.val) if isinstance(var, Literal) else known.get(var, False)
    for equation in jaxpr.eqns:
        outs = _outs(equation, [read(var) for var in equation.invars])
        known.update(zip(equation.outvars, outs, strict=True))
    return [read(var) for var in jaxpr.outvars]


def _outs(equation: JaxprEqn, is_zero: list[bool]) -> list[bool]:
    """Returns which outputs of one equation are certainly zero."""
    name, num_outs = equation.primitive.name, len(equation.outvars)
    if name == "cond":
        branches = [_zeros(branch, is_zero[1:]) for branch in equation.params["branches"]]
        return [all(outs) for outs in zip(*branches, strict=True)]
    if name in _KEEP_ZERO:
        found = all(is_zero)
    elif name in _PRODUCTS:
        found = any(is_zero)
    elif name in ("div", "gather", "dynamic_slice"):
        found = is_zero[0]
    elif name == "select_n":
        found = all(is_zero[1:])
    elif (inner := _inner(equation)) is not None and name not in ("scan", "while"):
        return _zeros(inner, is_zero)
    else:
        found = False
    return [found] * num_outs


def _inner(equation: JaxprEqn) -> ClosedJaxpr | None:
    """Returns the program that an equation calls with its operands (jit, custom derivatives), or None."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        inner = ClosedJaxpr(inner, ()) if isinstance(inner, Jaxpr) and not inner.constvars else inner
        if isinstance(inner, ClosedJaxpr) and len(inner.jaxpr.invars) == len(equation.invars):
            return inner
    return None


def _is_zero(constant: Any) -> bool:
    if not hasattr(constant, "dtype") and not isinstance(constant, (int, float)):
        return False
    if jax.dtypes.issubdtype(getattr(constant, "dtype", np.float64), jax.dtypes.prng_key):
        return False
    return 0 < np.size(constant) <= _LARGEST_CONSTANT and not np.any(np.asarray(constant))
