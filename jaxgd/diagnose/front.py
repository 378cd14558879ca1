"""The front door: model, loss and data in; cause, evidence and advice out."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxgd.base import InputTypeError, InputValueError, Key, Progress
from jaxgd.checks import first_line
from jaxgd.diagnose import probe
from jaxgd.diagnose.answer import Diagnosis, advice_for
from jaxgd.diagnose.causes import Cause, cause_of, is_mostly_silent
from jaxgd.diagnose.data import MAX_EXAMPLES, read_data
from jaxgd.diagnose.findings import (
    Curvature,
    Observations,
    curvature_at,
    gradient_rounding,
    influence_of,
    listed,
    zero_leaves_of,
)
from jaxgd.diagnose.model import num_half, take_apart, taken_optimizer
from jaxgd.diagnose.probe import Remedy
from jaxgd.diagnose.problem import MAX_BYTES, Problem, build, values_along
from jaxgd.diagnose.response import response_of
from jaxgd.diagnose.samples import gradient_samples
from jaxgd.diagnose.units import layers_of
from jaxgd.platforms import in_full_precision

NUM_STEPS, NUM_DRAWS = 192, 8
NUM_PRODUCTS = 96
_WORK = 2e12
"""Operations, about, that all probes together may take; longer ones are shortened."""

_FEW_STEPS, _FEW_DRAWS = 32, 4  # where they take long
_FACTORS = (0.1, 0.01, 10.0, 1e3, 1e5)  # of the step
_ROUNDING = 64.0  # units of the loss, within which it is the same
_CRITICAL_FACTORS = 2.0 ** np.arange(-8, 25)


@in_full_precision
def diagnose(
    model: Any,
    loss: Callable[..., Any],
    data: Any = None,
    *,
    key: Key,
    optimizer: Any = None,
    optimizer_state: Any = None,
    batch_size: int | None = None,
    tier: Literal["full", "cheap"] = "full",
    has_aux: bool = False,
    has_key: bool = False,
    trainable: Callable[[str], bool] | None = None,
    num_steps: int | None = None,
    num_draws: int = NUM_DRAWS,
    num_products: int = NUM_PRODUCTS,
    max_examples: int = MAX_EXAMPLES,
    max_bytes: int = MAX_BYTES,
    progress: Progress | None = None,
) -> Diagnosis:
    """Returns why a model's loss has stopped falling, with the evidence and what to change.

    What is known at the point comes first: the gradient against rounding and noise, the ends of the Hessian's spectrum,
    units that answer nothing, what the optimizer makes of the gradient. Then descents go on from copies of the point,
    each with one remedy, on the same draws of examples; the cause is that of the smallest remedy that restores descent,
    if its finding is there, too. Neither the model nor the optimizer's state is changed.

    Args:
      model: params as any pytree, or an equinox, flax (linen variables, a TrainState, nnx) or haiku model.
      loss: maps (model, batch) to the mean loss over the batch, the model as it was given here.
      data: a pytree of arrays with one axis of examples in common, or batches in a list, an iterator or a loader; None
        for a loss that needs none.
      key: of the draws of examples, directions and noise.
      optimizer: of the training, from optax or jaxgd, or an `nnx.Optimizer`. By default gradient descent at the inverse
        of the highest curvature, and nothing is said about steps.
      optimizer_state: its state; a fresh one by default.
      batch_size: examples in one training step. By default all, or a batch of the iterator.
      tier: "cheap" leaves out curvature and probes: seconds, but no cause beyond what is plain.
      has_aux: whether the loss returns a tuple, the loss first.
      has_key: whether the loss takes a key, loss(model, batch, key), as dropout does.
      trainable: maps a leaf's name to whether it is trained; see `take_apart`.
      num_steps: of every probe; 192, or fewer where that takes long.
      num_draws: of examples for every probe.
      num_products: Hessian-vector products at most, where there are more than 512 parameters.
      max_examples: looked at, at random (of an iterator the first).
      max_bytes: for intermediates of one gradient; more examples are gone through in parts.
      progress: called as progress(phase, done, total).

    Raises:
      InputValueError: data without examples, a loss that is random without a key, a state that does not fit.
      InputTypeError: a loss that is not one number, a model without floating-point arrays.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> loss = lambda params, batch: jnp.sum((params["a"] * params["b"] - 1) ** 2)
      >>> model = {"a": jnp.zeros(()), "b": jnp.zeros(())}
      >>> found = diagnose(model, loss, key=jax.random.key(0), optimizer=optax.sgd(0.1))
      >>> found.cause, round(found["lowest curvature"].value, 6)
      (<Cause.SADDLE: 'saddle'>, -2.0)
    """
    if tier not in ("full", "cheap"):
        raise InputValueError(f"`tier` must be 'full' or 'cheap', got {tier!r}.")
    tell = progress or (lambda phase, done, total: None)
    notes: list[str] = []
    parts = take_apart(model, trainable)
    read = read_data(data, batch_size, max_examples)
    notes.extend(read.notes)
    optimizer = parts.optimizer if optimizer is None else optimizer
    optimizer_state = parts.optimizer_state if optimizer_state is None else optimizer_state
    optimizer, optimizer_state = taken_optimizer(optimizer, optimizer_state)
    if optimizer is not None and not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise InputTypeError(f"`optimizer` must be an optax optimizer, got a {type(optimizer).__name__}.")
    if halves := num_half(jax.tree.leaves(parts.params)):
        notes.append(f"{halves} leaves have fewer bits than float32 and were looked at in float32")

    bad = [name for name, leaf in zip(parts.names, jax.tree.leaves(parts.params), strict=True) if not _is_finite(leaf)]
    if bad:
        notes.append(f"not finite: {', '.join(bad[:8])}{' and others' if len(bad) > 8 else ''}")
        return Diagnosis(cause=Cause.DIVERGED, advice=advice_for(Cause.DIVERGED, None), notes=tuple(notes))
    problem = build(parts, loss, read, key, has_aux=has_aux, has_key=has_key, max_bytes=max_bytes)

    tell("gradient", 0, 3)
    value, gradient = problem.gradient()
    if not np.isfinite(value) or not _is_finite(gradient):
        what = "the loss" if not np.isfinite(value) else "the gradient"
        notes.append(f"{what} is not finite, though the parameters are")
        return Diagnosis(cause=Cause.DIVERGED, advice=advice_for(Cause.DIVERGED, None), notes=tuple(notes))
    facts, problem_optimizer = _facts(
        problem, optimizer, optimizer_state, value, gradient, key, tier, num_products, notes, tell
    )
    if facts.zero_leaves:
        notes.append(f"the loss does not depend on {', '.join(facts.zero_leaves)}")
    if tier == "cheap":
        return _cheap(problem, facts, notes)

    tell("probes", 2, 3)
    remedies = _remedies(problem, facts, key, parts.kind, is_given=optimizer is not None)
    steps = num_steps or NUM_STEPS
    if num_steps is None:
        steps, num_draws = _affordable(problem, remedies, num_draws)
    if num_steps is None and steps < NUM_STEPS:
        notes.append(f"probes are {steps} steps long instead of {NUM_STEPS}, for a step takes long here")
    outcomes = probe.run(problem, problem_optimizer, remedies, value, jax.random.fold_in(key, 3), steps, num_draws)
    cause, remedy, reason = cause_of(facts, outcomes)
    tell("probes", 3, 3)
    num_made = facts.curvature.num_products if facts.curvature else 0
    return Diagnosis(
        cause=cause, advice=advice_for(cause, remedy), reason=reason, remedy=remedy, findings=listed(facts, problem),
        probes=outcomes, notes=tuple(notes), facts=facts,
        cost=sum(one.cost for one in outcomes.values()) * steps + 3 * num_made,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- helpers


def _facts(
    problem: Problem, optimizer: Any, state: Any, value: float, gradient: Array, key: Key, tier: str,
    num_products: int, notes: list[str], tell: Progress,
) -> tuple[Observations, Any]:  # fmt: skip
    """Returns the findings, and the optimizer to go on with."""
    samples = gradient_samples(problem, gradient, jax.random.fold_in(key, 1))
    without, shares = influence_of(problem, gradient, samples)
    curvature: Curvature | None = None
    rate = 0.0
    if optimizer is None and tier == "full":  # its rate follows from the curvature
        curvature = _curvature(problem, gradient, jnp.zeros_like(gradient), key, num_products, notes)
        rate = 1 / curvature.norm if curvature is not None and curvature.norm > 0 else 1e-3
        notes.append(f"no optimizer was given: gradient descent at {rate:.3g}, the inverse of the highest curvature")
    chosen = _with_extra(optimizer if optimizer is not None else _descent(rate))
    response = response_of(problem, chosen, state, gradient, value)
    tell("curvature", 1, 3)
    if tier == "full" and optimizer is not None:
        curvature = _curvature(problem, gradient, jnp.asarray(response.update), key, num_products, notes)
    scale = samples.loss_spread if samples is not None else 0.0
    facts = Observations(
        loss=value, gradient_norm=float(jnp.linalg.norm(gradient)), rounding=gradient_rounding(problem, gradient),
        scale=scale if scale > 0 else abs(value), samples=samples, curvature=curvature, response=response,
        layers=_layers(problem, notes), without_influence=without, leaf_shares=shares,
        zero_leaves=zero_leaves_of(problem), batch_size=problem.data.batch_size,
    )  # fmt: skip
    return facts, chosen


def _curvature(
    problem: Problem, gradient: Array, update: Array, key: Key, num_products: int, notes: list[str]
) -> Curvature | None:
    try:
        return curvature_at(problem, gradient, update, jax.random.fold_in(key, 2), num_products)
    except (TypeError, ValueError, NotImplementedError) as error:
        notes.append(f"there is no curvature, since second derivatives failed: {first_line(error).rstrip('.')}")
        return None


def _layers(problem: Problem, notes: list[str]) -> list[Any]:
    try:
        return layers_of(problem)
    except Exception as error:  # a program with parts that cannot be gone through; nothing else depends on it
        notes.append(f"units could not be looked at: {first_line(error).rstrip('.')}")
        return []


def _remedies(problem: Problem, facts: Observations, key: Key, kind: str, is_given: bool) -> list[Remedy]:
    """Returns what to try, the smallest change first within a cause."""
    x, response = problem.x, facts.response
    own, fresh = response.state, response.fresh
    tried = [Remedy("as before", "", x, own)]
    if np.isfinite(response.clip_norm):
        scale = response.clip_norm / max(facts.gradient_norm, 1e-300) / 100
        tried.append(Remedy("no clipping", Cause.CLIPPED, x, own, gradient_scale=scale))
    if response.is_used:
        tried.append(Remedy("fresh optimizer state", Cause.STALE_STATE, x, fresh))
    if is_mostly_silent(facts):
        again = probe.redrawn(problem, facts.without_influence, jax.random.fold_in(key, 4), kind)
        tried.append(Remedy("silent units drawn anew", Cause.DEAD_UNITS, again, fresh))
    if is_given:
        for factor in _FACTORS:
            cause = Cause.STEP_TOO_LARGE if factor < 1 else Cause.STEP_TOO_SMALL
            tried.append(Remedy(f"steps times {factor:g}", cause, x, own, factor=factor))
    if problem.data.batch_size is not None:
        many = f"batches of {min(probe.LARGER_BATCH * problem.data.batch_size, problem.data.num_examples):,}"
        tried.append(Remedy(many, Cause.NOISE, x, own, way="batch"))
    if facts.curvature is not None and facts.curvature.lowest[2] < 0:
        there, _ = probe.negative_curvature_step(problem, facts.curvature.direction)
        tried.append(Remedy("a step along negative curvature", Cause.SADDLE, there, fresh))
    shaken = probe.redrawn(problem, 0.05, jax.random.fold_in(key, 5), kind)
    anew = probe.redrawn(problem, 1.0, jax.random.fold_in(key, 6), kind)
    tried.append(Remedy("weights shaken", Cause.PLATEAU, shaken, fresh))
    for name, cause, there in (
        ("weights shaken, then L-BFGS", Cause.PLATEAU, shaken),
        ("weights shaken hard, then L-BFGS", Cause.PLATEAU, anew),
        ("L-BFGS on all examples", Cause.CONDITIONING, x),
    ):
        newton = probe.LBFGS.init(problem.objective.params(there))
        tried.append(Remedy(name, cause, there, newton, way="lbfgs"))
    return tried


def _affordable(problem: Problem, remedies: list[Remedy], num_draws: int) -> tuple[int, int]:
    """Returns how many steps and draws all probes can make within `_WORK` operations, six a parameter and example."""
    num = max(problem.data.num_examples, 1)
    size = problem.data.batch_size or num
    by_draws = sum(remedy.way != "lbfgs" for remedy in remedies)

    def work(steps: int, draws: int) -> float:
        draws = draws if problem.data.batch_size else 1
        looks = probe.NUM_LOOKS * num / 3  # forward passes
        return 6.0 * problem.dim * by_draws * draws * (steps * size + looks)

    if work(NUM_STEPS, num_draws) <= _WORK:
        return NUM_STEPS, num_draws
    num_draws = min(num_draws, _FEW_DRAWS)
    steps = [number for number in range(_FEW_STEPS, NUM_STEPS, probe.NUM_LOOKS) if work(number, num_draws) <= _WORK]
    return max(steps, default=_FEW_STEPS), num_draws


def _cheap(problem: Problem, facts: Observations, notes: list[str]) -> Diagnosis:
    """Returns the findings without curvature and probes; the factor of the step at which the loss rises among them."""
    from jaxgd.diagnose.findings import Finding

    update = jnp.asarray(facts.response.update, problem.x.dtype)
    places = problem.x[None] + jnp.asarray(_CRITICAL_FACTORS, update.dtype)[:, None] * update[None]
    values = np.asarray(values_along(problem.objective, places, problem.operand), np.float64)
    rounding = _ROUNDING * float(jnp.finfo(update.dtype).eps) * abs(facts.loss)
    rises = np.flatnonzero(~(values <= facts.loss + rounding))  # what is not finite has risen, too
    factor = float(_CRITICAL_FACTORS[rises[0]]) if len(rises) else np.inf
    low = float(_CRITICAL_FACTORS[rises[0] - 1]) if len(rises) and rises[0] > 0 else 0.0
    found = [
        *listed(facts, problem),
        Finding(
            name="critical step", value=factor, low=low, high=factor,
            note="factor of the optimizer's step from which on the loss of all data rises",
        ),
    ]  # fmt: skip
    cause, reason = Cause.UNDECIDED, "the cheap tier makes no probes"
    silent, units = facts.num_silent
    if units and silent == units and is_mostly_silent(facts):
        cause, reason = (Cause.DEAD_UNITS if facts.layers[0].kind == "relu" else Cause.SATURATED_UNITS), ""
    elif factor <= 0.5 and facts.signal_to_noise > 1:
        cause, reason = Cause.STEP_TOO_LARGE, ""
    return Diagnosis(
        cause=cause, advice=advice_for(cause, None), reason=reason, findings=found, notes=tuple(notes), facts=facts,
        cost=4 + len(_CRITICAL_FACTORS) / 3,
    )  # fmt: skip


@functools.lru_cache(maxsize=64)
def _with_extra(optimizer: Any) -> Any:
    """Returns the optimizer with extra arguments, the same one for the same, so that programs are kept."""
    return optax.with_extra_args_support(optimizer)


@functools.lru_cache(maxsize=64)
def _descent(rate: float) -> Any:
    return optax.sgd(rate)


def _is_finite(leaf: Array) -> bool:
    return bool(np.all(np.isfinite(np.asarray(leaf, np.float32) if leaf.dtype.itemsize < 4 else np.asarray(leaf))))
