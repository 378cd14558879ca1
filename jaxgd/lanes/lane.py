"""The life of one lane: drawn from its start number, then one gradient evaluation a tick until a stop rule holds.

A tick evaluates value and gradient at the iterate that the last update proposed, tests the stop rule on them, and,
if the lane goes on, applies the next update:

    v_t, g_t = f(x_t), grad f(x_t);   stop?;   x_{t+1} = x_t + update(g_t, state_t)

Everything here is written for a single lane and mapped over lanes by the loop. A stopped lane is still evaluated until
its place is refilled; only its iterate and its record are frozen, never its optimizer state (selecting old or new for
every leaf of the state costs two to three times the tick).
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxgd.base import Key, Landscape, Params, Restart, Status, Stop
from jaxgd.curvature.second_order import Gradient, SecondOrder, second_order
from jaxgd.lanes.frozen import frozen_leaves
from jaxgd.tracing import Signature, first_structure, signature_of

# Statuses of a lane that is not at an end; those of an end are `jaxgd.Status`.
RUNNING, IDLE, RESTARTING = -1, -2, -3

Event = Callable[[Params, jax.Array, Params], jax.Array]


class Lane(NamedTuple):
    """The state of one descent; every field is for one lane."""

    number: jax.Array  # () int32, which descent this is
    attempt: jax.Array  # () int32, restarts so far
    status: jax.Array  # () int8, RUNNING, IDLE, RESTARTING or a Status
    num_steps: jax.Array  # () int32, updates applied
    num_hvps: jax.Array  # () int32, Hessian-vector products, as the optimizer counts them
    params: Params  # the iterate that the next tick evaluates
    last: Params  # the last iterate with finite value and gradient
    value: jax.Array  # () value at `last`
    gradient_norm: jax.Array  # () Euclidean norm of the gradient at `last`
    num_still: jax.Array  # () int32, steps since either of them changed
    best_value: jax.Array  # () lowest finite value so far
    best: Params | None  # where that value occurred, if kept
    mark_value: jax.Array | None  # () value against which the next improvement is measured, if there is patience
    mark_step: jax.Array | None  # () int32, step of the last improvement, if there is patience
    event_steps: Mapping[str, jax.Array]  # () int32 for each event, -1 until it fires
    optimizer: Any  # the optimizer's state


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """What every lane computes.

    Attributes:
      landscape: what to descend.
      optimizer_of: maps the number of a descent to its optimizer.
      num_paired: descents whose numbers differ by a multiple of this share their start and keys; None for no pairing.
      has_starts: whether starts are given; else they are drawn.
      stop: when a lane stops.
      restart: when a lane begins anew; None for never.
      events: named predicates of (params, value, gradient) whose first firing is recorded.
      is_noisy: whether gradients are drawn from the landscape's `noisy_value`.
      keeps_best: whether the best iterate is kept beside the last.
    """

    landscape: Landscape
    optimizer_of: Callable[[jax.Array], optax.GradientTransformationExtraArgs]
    num_paired: int | None
    has_starts: bool
    stop: Stop
    restart: Restart | None
    events: Mapping[str, Event]
    is_noisy: bool
    keeps_best: bool

    def start(self, number: jax.Array, attempt: jax.Array, key: Key, starts: Params | None) -> Params:
        """Returns the start of descent `number`; later attempts draw new starts from the landscape's law."""
        if not self.has_starts:
            return _with_structure(first_structure(self.landscape), self._draw(number, attempt, key))
        given = jax.tree.map(lambda leaf: leaf[self._stream(number)], starts)
        if self.restart is None:
            return given
        return jax.tree.map(
            lambda first, later: jnp.where(attempt == 0, first, later),
            given,
            _with_structure(jax.tree.structure(given), self._draw(number, attempt, key)),
        )

    def _draw(self, number: jax.Array, attempt: jax.Array, key: Key) -> Params:
        key_start = jax.random.fold_in(self._lane_key(key, number), _KEY_START)
        if self.restart is not None:
            key_start = jax.random.fold_in(key_start, attempt)
        return self.landscape.sample(key_start)

    def _lane_key(self, key: Key, number: jax.Array) -> Key:
        """Returns the key of one descent: all its draws are folded from it, by purpose and then by step."""
        return jax.random.fold_in(key, self._stream(number))

    def _stream(self, number: jax.Array) -> jax.Array:
        """Returns the number that selects the start and the keys of descent `number`."""
        if self.num_paired is None:
            return number
        return jnp.where(number < 0, -1 - number, number % jnp.asarray(self.num_paired, number.dtype))

    def first_numbers(self, starts: Params | None, count: int) -> range:
        """Returns the numbers of the first `count` starts, or of all if fewer are given.

        Those of a sweep are negative, so that they do not depend on how many starts each setting has.
        """
        count = count if starts is None else min(count, len(jax.tree.leaves(starts)[0]))
        return range(count) if self.num_paired is None else range(-count, 0)

    def begin(self, number: jax.Array, attempt: jax.Array, key: Key, starts: Params | None) -> Lane:
        """Returns the lane of descent `number`, not yet evaluated."""
        return self.begin_at(self.start(number, attempt, key, starts), number, attempt, key)

    def begin_at(self, params: Params, number: jax.Array, attempt: jax.Array, key: Key) -> Lane:
        """Returns the lane of descent `number` whose start is `params`."""
        dtype = _value_type(self.landscape, signature_of(params))
        nan, infinity = jnp.full((), jnp.nan, dtype), jnp.full((), jnp.inf, dtype)
        is_patient = self.stop.patience > 0
        state = self.optimizer_of(number).init(params)

        return Lane(
            number=jnp.asarray(number, jnp.int32),
            attempt=jnp.asarray(attempt, jnp.int32),
            status=jnp.asarray(RUNNING, jnp.int8),
            num_steps=jnp.zeros((), jnp.int32),
            num_hvps=jnp.zeros((), jnp.int32),
            params=params,
            last=params,
            value=nan,
            gradient_norm=nan,
            num_still=jnp.zeros((), jnp.int32),
            best_value=infinity,
            best=params if self.keeps_best else None,
            mark_value=infinity if is_patient else None,
            mark_step=jnp.zeros((), jnp.int32) if is_patient else None,
            event_steps={name: jnp.full((), -1, jnp.int32) for name in self.events},
            optimizer=jax.tree.map(
                lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype),  # strongly typed, as `update` returns it
                rekey_noise(state, jax.random.fold_in(self._lane_key(key, number), _KEY_STATE)),
            ),
        )

    def tick(self, lane: Lane, tick: jax.Array, key: Key, limit: jax.Array | None = None) -> Lane:
        """Returns the lane after one gradient evaluation and, where it goes on, one update.

        The lane has converged if the gradient norm is at most `limit`, from the stop rule; never if that is None.
        """
        key_step = jax.random.fold_in(jax.random.fold_in(self._lane_key(key, lane.number), _KEY_STEP), lane.num_steps)
        key_noise, key_update = jax.random.split(key_step)
        evaluate, value_fn = self._functions(key_noise, lane.params)
        value, grad = evaluate(lane.params)
        gradient_norm = self.norm(grad, lane.params).astype(value.dtype)

        is_active = lane.status == RUNNING
        is_finite = jnp.isfinite(value) & jnp.isfinite(gradient_norm)
        is_accepted = is_active & is_finite
        lane = self._record(lane, value, gradient_norm, grad, is_accepted)
        status = jnp.where(is_active, self._status(lane, is_finite, limit), lane.status)
        goes_on = status == RUNNING

        update, state = self._update(
            lane.number, grad, lane.optimizer, lane.params, value, evaluate, value_fn, key_update, tick
        )
        if self.restart is not None:
            update = optax.tree.scale(
                jnp.asarray(self.restart.step_factor, value.dtype) ** lane.attempt.astype(value.dtype), update
            )
        step = lambda last, change: last + jnp.where(goes_on, change, jnp.zeros_like(change)).astype(last.dtype)
        return lane._replace(
            status=status,
            num_steps=lane.num_steps + goes_on.astype(jnp.int32),
            num_hvps=lane.num_hvps + jnp.where(goes_on, _num_hvps(state) - _num_hvps(lane.optimizer), 0),
            params=jax.tree.map(step, lane.last, update),
            optimizer=jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), state, lane.optimizer),
        )

    def _update(
        self,
        number: jax.Array,
        grad: Params,
        state: Any,
        params: Params,
        value: jax.Array,
        evaluate: Callable,
        value_fn: Callable,
        key: Key,
        tick: jax.Array,
    ) -> tuple[Params, Any]:
        """Returns the optimizer's update and next state; the optimizer gets every extra argument that it may need."""

        def hvp(vector: Params) -> Params:
            whole = unmask(vector, jax.tree.map(jnp.zeros_like, params))
            return mask_like(vector, self._product(lambda params: evaluate(params)[1], params, whole))

        return self.optimizer_of(number).update(
            grad,
            state,
            params,
            value=value,
            grad=grad,
            value_fn=value_fn,
            obj_fn=value_fn,  # as `optax.contrib.sophia` calls it
            key=key,
            hvp=hvp,
            tick=tick,
        )

    def _product(self, gradient: Callable[[Params], Params], params: Params, vector: Params) -> Params:
        """Returns the product of the Hessian with a vector, computed as this landscape's gradient allows."""
        rule = _second_order(self.landscape, self.is_noisy, signature_of(params))
        if rule.kind == "forward":
            return jax.jvp(gradient, (params,), (vector,))[1]
        x, unravel = ravel_pytree(params)
        return unravel(rule.of(_on_flat(gradient, unravel)).product(x, ravel_pytree(vector)[0]))

    def one_start(self, key: Key, starts: Params | None) -> Params:
        """Returns the shapes and types of the params of one descent."""
        return _one_start(self, signature_of(key, starts))

    def frozen(self, params: Params) -> Params | None:
        """Returns which leaves the optimizer never moves, one Python bool for each leaf; None where it may move all."""
        return _frozen(self, signature_of(params))

    def limit_type(self, one: Params) -> jax.ShapeDtypeStruct:
        """Returns the shape and type of `limit` for params such as `one`."""
        return jax.ShapeDtypeStruct((), _value_type(self.landscape, signature_of(one)))

    def norm(self, grad: Params, params: Params) -> jax.Array:
        """Returns the Euclidean norm of the gradient, without the leaves that never move."""
        frozen = self.frozen(params)
        if frozen is not None:
            pairs = zip(jax.tree.leaves(grad), jax.tree.leaves(frozen), strict=True)
            grad = [leaf for leaf, is_frozen in pairs if not is_frozen]
        leaves = [leaf for leaf in jax.tree.leaves(grad) if leaf.size]
        if all(leaf.dtype == jnp.float64 for leaf in leaves):
            return optax.tree.norm(grad)
        # Squares overflow or underflow in narrow types: in float32 that of 1e-20 is already zero.
        dtype = max((jnp.dtype(jnp.float32), *(leaf.dtype for leaf in leaves)), key=lambda dtype: dtype.itemsize)
        size = functools.reduce(jnp.maximum, (jnp.max(jnp.abs(leaf)).astype(dtype) for leaf in leaves))
        size = jnp.where(size > 0, size, jnp.ones_like(size))
        return size * optax.tree.norm([leaf.astype(dtype) / size for leaf in leaves])

    def _functions(self, key_noise: Key, here: Params) -> tuple[Callable, Callable]:
        """Returns the functions params -> (value, gradient) and params -> value of one tick."""
        landscape = self.landscape
        noisy_value = landscape.noisy_value if self.is_noisy else None

        def evaluate(params: Params) -> tuple[jax.Array, Params]:
            return landscape.evaluate_noisy(params, key_noise) if noisy_value else landscape.evaluate(params)

        # optax's line searches pass every extra argument on to `value_fn`, which must therefore name them
        def value_fn(
            params: Params, *, key: Any = None, hvp: Any = None, tick: Any = None, obj_fn: Any = None
        ) -> jax.Array:
            params = unmask(params, here)
            return noisy_value(params, key_noise) if noisy_value else landscape.value(params)

        return evaluate, value_fn

    def _record(self, lane: Lane, value: Any, gradient_norm: Any, grad: Any, is_accepted: Any) -> Lane:
        """Returns the lane with the new iterate recorded, if it is finite and the lane is running."""
        keep = lambda mask, new, old: jax.tree.map(lambda a, b: jnp.where(mask, a, b), new, old)
        is_best = is_accepted & (value < lane.best_value)
        is_same = (value == lane.value) & (gradient_norm == lane.gradient_norm)

        lane = lane._replace(
            num_still=jnp.where(is_accepted, jnp.where(is_same, lane.num_still + 1, 0), lane.num_still),
            last=keep(is_accepted, lane.params, lane.last),
            value=jnp.where(is_accepted, value, lane.value),
            gradient_norm=jnp.where(is_accepted, gradient_norm, lane.gradient_norm),
            best_value=jnp.where(is_best, value, lane.best_value),
            best=keep(is_best, lane.params, lane.best) if self.keeps_best else None,
        )

        # when the best value has last fallen by enough
        if lane.mark_value is not None:
            needed = self.stop.improvement * jnp.abs(lane.mark_value)
            improves = is_accepted & ((value < lane.mark_value - needed) | jnp.isinf(lane.mark_value))
            lane = lane._replace(
                mark_value=jnp.where(improves, value, lane.mark_value),
                mark_step=jnp.where(improves, lane.num_steps, jnp.asarray(lane.mark_step)),
            )

        # when each event has first happened
        event_steps = {
            name: jnp.where(
                is_accepted & (lane.event_steps[name] < 0) & fires(lane.params, value, grad),
                lane.num_steps,
                lane.event_steps[name],
            )
            for name, fires in self.events.items()
        }
        return lane._replace(event_steps=event_steps)

    def again(self, lane: Lane, limit: jax.Array) -> jax.Array:
        """Returns whether a stopped lane starts over; never while only starts are evaluated."""
        if self.restart is None:
            return jnp.zeros((), bool)
        is_named = jnp.any(lane.status == jnp.asarray([int(status) for status in self.restart.on], jnp.int8))
        may = (lane.attempt < self.restart.max_restarts) & (lane.num_steps < self.stop.max_steps)
        return is_named & may & jnp.isfinite(limit)

    def _status(self, lane: Lane, is_finite: jax.Array, limit: jax.Array | None) -> jax.Array:
        """Returns the status of a running lane from its newest record; the first reason that holds wins."""
        never = jnp.zeros((), bool)
        reasons = (
            (Status.DIVERGED, ~is_finite),
            (Status.CONVERGED, never if limit is None else lane.gradient_norm <= limit),
            (
                Status.STOPPED_BY_EVENT,
                lane.event_steps[self.stop.at_event] >= 0 if self.stop.at_event else never,
            ),
            (
                Status.PLATEAU,
                lane.num_steps - lane.mark_step >= self.stop.patience if lane.mark_step is not None else never,
            ),
            (Status.STEP_LIMIT, lane.num_steps >= self.stop.max_steps),
        )
        status = jnp.asarray(RUNNING, jnp.int8)
        for reason, holds in reversed(reasons):
            status = jnp.where(holds, jnp.asarray(int(reason), jnp.int8), status)
        return status


@functools.lru_cache(maxsize=16)
def _second_order(landscape: Landscape, is_noisy: bool, signature: Signature) -> SecondOrder:
    """Returns how products of the Hessian are computed at params of this signature."""
    (params,) = signature.abstract
    noisy = lambda params: landscape.evaluate_noisy(params, jax.random.key(0))[1]
    gradient = noisy if is_noisy else landscape.gradient
    x, unravel = ravel_pytree(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params))
    return second_order(_on_flat(gradient, unravel), x)


def _on_flat(gradient: Callable[[Params], Params], unravel: Callable[[jax.Array], Params]) -> Gradient:
    return lambda x: ravel_pytree(gradient(unravel(x)))[0]


def _with_structure(structure: Any, params: Params) -> Params:
    """Returns params in the structure of others that have the same leaves, each a strongly typed array."""
    leaves = [jnp.asarray(leaf, jnp.asarray(leaf).dtype) for leaf in jax.tree.leaves(params)]
    return jax.tree.unflatten(structure, leaves)


@functools.lru_cache(maxsize=16)
def _one_start(descent: Descent, signature: Signature) -> Params:
    count = jax.ShapeDtypeStruct((), jnp.int32)
    return jax.eval_shape(descent.start, count, count, *signature.abstract)


@functools.lru_cache(maxsize=16)
def _value_type(landscape: Landscape, signature: Signature) -> Any:
    """Returns the dtype of the value at params of this signature."""
    (params,) = signature.abstract
    return jax.eval_shape(landscape.evaluate, params)[0].dtype


@functools.lru_cache(maxsize=16)
def _frozen(descent: Descent, signature: Signature) -> Params | None:
    (params,) = signature.abstract
    count = jax.ShapeDtypeStruct((), jnp.int32)
    value = jax.ShapeDtypeStruct((), _value_type(descent.landscape, signature))
    key = jax.eval_shape(lambda: jax.random.key(0))

    def init(params: Params, number: Any, *others: Any) -> Any:
        return jax.tree.map(jnp.asarray, descent.optimizer_of(number).init(params))

    def update(grad: Params, state: Any, params: Params, number: Any, value: Any, key: Any, tick: Any) -> Any:
        update, after = descent._update(number, grad, state, params, value, *descent._functions(key, params), key, tick)
        return update, jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, state)

    return frozen_leaves(init, update, params, (count, value, key, count))


# Which stream of a lane's key a draw belongs to.
_KEY_START, _KEY_STEP, _KEY_STATE = 0, 1, 2


def as_asked(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer with an `update` that accepts any extra argument and passes on those that it names.

    Some optax optimizers claim to accept extra arguments but know only their own (`optax.contrib.sam`).
    """
    optimizer = optax.with_extra_args_support(optimizer)
    parameters = inspect.signature(optimizer.update).parameters.values()
    if any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return optimizer
    names = {parameter.name for parameter in parameters}

    def update(updates: Any, state: Any, params: Params | None = None, **extra: Any) -> Any:
        return optimizer.update(updates, state, params, **{name: extra[name] for name in extra if name in names})

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def _num_hvps(state: Any) -> jax.Array:
    """Returns the sum of what an optimizer's state counts under the name `num_hvps`."""
    counts = (count for _, count in optax.tree.get_all_with_path(state, "num_hvps"))
    return sum(counts, start=jnp.zeros((), jnp.int32))


def rekey_noise(state: Any, key: Key) -> Any:
    """Returns an optimizer state in which each key is replaced by one of this lane, by its position in the state.

    `optax.add_noise`, `optax.noisy_sgd` and `optax.contrib.sophia` close over one key: mapped over lanes, every lane
    would draw the same numbers.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(state)
    fresh = []
    for position, (path, leaf) in enumerate(leaves):
        dtype = jnp.asarray(leaf).dtype
        is_typed = jnp.issubdtype(dtype, jax.dtypes.prng_key)
        if (is_typed or dtype == jnp.uint32) and path and getattr(path[-1], "name", None) in ("rng_key", "key"):
            own = jax.random.fold_in(key, position)
            leaf = own if is_typed else jax.random.key_data(own).astype(leaf.dtype).reshape(leaf.shape)
        fresh.append(leaf)
    return jax.tree.unflatten(treedef, fresh)


def unmask(tree: Params, filling: Params) -> Params:
    """Returns the tree with every `optax.MaskedNode` replaced by the same part of `filling`.

    `optax.multi_transform` and `optax.masked` pass trees with such holes to their transformations.
    """
    fill = lambda part, whole: whole if _is_masked(part) else part
    return jax.tree.map(fill, tree, filling, is_leaf=_is_masked)


def mask_like(tree: Params, whole: Params) -> Params:
    """Returns `whole` with a hole wherever `tree` has one."""
    return jax.tree.map(lambda part, own: part if _is_masked(part) else own, tree, whole, is_leaf=_is_masked)


def _is_masked(part: Any) -> bool:
    return isinstance(part, optax.MaskedNode)
