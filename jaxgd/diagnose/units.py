"""Units that answer nothing: dead (zero for every example) or saturated (their derivative is nearly zero).

The loss is traced for some examples and its equations are gone through one by one; every rectifier, sigmoid and tanh
with an axis of examples is looked at where it is computed. So no layer has to be told, and none is changed. What is
inside loops (scanned layers) is not seen.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxgd.diagnose.problem import Problem

NUM_EXAMPLES = 256
SATURATED = 1e-3
"""A unit whose largest derivative over the examples, in shares of the activation's steepest, is below this."""

_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


class Layer(NamedTuple):
    """One layer of activations.

    Attributes:
      kind: "relu", "sigmoid" or "tanh".
      num_units: along the last axis.
      num_silent: of them dead, or saturated.
    """

    kind: str
    num_units: int
    num_silent: int


def layers_of(problem: Problem) -> list[Layer]:
    """Returns the layers of activations that can be seen in the loss, in the order of computation."""
    if problem.data.arrays is None:
        return []
    num = min(NUM_EXAMPLES, problem.data.num_examples)
    rows = np.linspace(0, problem.data.num_examples - 1, num).astype(int)
    batch = jax.tree.map(lambda leaf: leaf[rows], problem.data.arrays)
    kinds: list[tuple[str, int]] = []

    def look(x: jax.Array, batch: Any) -> list[jax.Array]:
        fn = lambda x, batch: problem.objective.batch(x, problem.operand.fixed, batch, problem.operand.key)
        closed = jax.make_jaxpr(fn)(x, batch)
        found: list[jax.Array] = []
        kinds.clear()

        def see(kind: str, inside: jax.Array) -> None:
            steepness = {
                "relu": lambda: (inside > 0).astype(x.dtype),
                "sigmoid": lambda: 4 * inside * (1 - inside),
                "tanh": lambda: 1 - inside * inside,
            }[kind]()
            kinds.append((kind, inside.shape[-1]))
            found.append(jnp.max(steepness.reshape(-1, inside.shape[-1]).astype(x.dtype), axis=0))

        _walk(closed.jaxpr, closed.consts, jax.tree.leaves((x, batch)), num, see)
        return found

    steepest = jax.jit(look)(problem.x, batch)
    return [
        Layer(kind, width, int(np.sum(np.asarray(most) < SATURATED)))
        for (kind, width), most in zip(kinds, steepest, strict=True)
    ]


def _walk(
    jaxpr: Jaxpr, consts: Any, arguments: list[Any], num_examples: int, see: Callable[[str, jax.Array], None]
) -> list[Any]:
    """Evaluates a program, entering calls, and shows the activations."""
    known = dict(zip(jaxpr.invars, arguments, strict=True)) | dict(zip(jaxpr.constvars, consts, strict=True))
    read = lambda atom: atom.val if isinstance(atom, Literal) else known[atom]
    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        inner = _inner(equation)
        if inner is not None:
            outs = _walk(inner.jaxpr, inner.consts, operands, num_examples, see)
        else:
            primitive = equation.primitive
            outs = primitive.bind(*operands, **primitive.get_bind_params(equation.params))
            outs = outs if primitive.multiple_results else [outs]
            kind = _kind(equation)
            shape: tuple[int, ...] = getattr(outs[0], "shape", ())
            if kind and len(shape) >= 2 and shape[-1] > 0 and shape[0] == num_examples:
                see(kind, outs[0])
        known.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _kind(equation: Any) -> str | None:
    name = equation.primitive.name
    if name == "max":
        zero = lambda atom: isinstance(atom, Literal) and np.ndim(atom.val) == 0 and float(atom.val) == 0
        return "relu" if any(map(zero, equation.invars)) else None
    return {"logistic": "sigmoid", "tanh": "tanh"}.get(name)


def _inner(equation: Any) -> ClosedJaxpr | None:
    if equation.primitive.name in ("scan", "while", "cond"):
        return None
    for name in _CALLS:
        inner = equation.params.get(name)
        inner = ClosedJaxpr(inner, ()) if isinstance(inner, Jaxpr) and not inner.constvars else inner
        if isinstance(inner, ClosedJaxpr) and len(inner.jaxpr.invars) == len(equation.invars):
            return inner
    return None
