r"""What an optimizer must keep so that thousands of descents can share one program.

All of it is asked on an indefinite quadratic, whose iterates can be written down by hand:

$$ f(x) = \tfrac12 \sum_i c_i x_i^2, \qquad c = (3, 0.5, -0.2), \qquad x_0 = (1, -2, 0.5). $$
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgd.base import InputTypeError, Key
from jaxgd.checks import check_optimizer

CURVATURE = np.array([3.0, 0.5, -0.2])
START = np.array([1.0, -2.0, 0.5])
NUM_STEPS = 12


def quadratic(params: Any) -> jax.Array:
    """Returns the value of the indefinite quadratic at params of any structure with three numbers."""
    x = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)])
    return jnp.sum(jnp.asarray(CURVATURE, x.dtype) * x * x) / 2


def extras(params: Any, key: Key | None) -> tuple[Any, dict[str, Any]]:
    """Returns the gradient at params, and all extra arguments that the engine passes to `update`."""
    value = quadratic(params)
    grad, hvp = jax.linearize(jax.grad(quadratic), params)
    return grad, {"value": value, "grad": grad, "value_fn": quadratic, "hvp": hvp, "key": key, "unknown": None}


def run(optimizer: Any, params: Any, key: Key, num_steps: int = NUM_STEPS) -> tuple[Any, Any]:
    """Returns the parameters after every step, with a leading axis of steps, and the last state."""
    optimizer = optax.with_extra_args_support(optimizer)

    def step(carry: Any, number: jax.Array) -> tuple[Any, Any]:
        params, state = carry
        grad, extra = extras(params, jax.random.fold_in(key, number))
        move, state = optimizer.update(grad, state, params, **extra)
        new = optax.apply_updates(params, move)
        return (new, state), new

    (_, state), path = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(num_steps))
    return path, state


def as_tree(x: Any, dtype: Any = float) -> Any:
    """Returns three numbers as a pytree of leaves of one, two and no axes."""
    leaf = lambda part: jnp.asarray(part, dtype)
    return {"b": [leaf(x[1:2]).reshape(1, 1), leaf(x[2])], "a": leaf(x[:1])}


def assert_iterates(optimizer: optax.GradientTransformation, path: Sequence[Any], *, rtol: float = 1e-9) -> None:
    """Asserts that an optimizer without noise follows a path on the indefinite quadratic.

    Args:
      optimizer: what is tested.
      path: (num_steps, 3) the iterates after each step, by hand or from the source; the start is (1, -2, 0.5) and the
        curvatures are (3, 0.5, -0.2).
      rtol: relative tolerance; 1e-9 is for float64.

    Raises:
      AssertionError: an iterate differs.

    Example:
      >>> import optax
      >>> assert_iterates(optax.sgd(0.1), [[0.7, -1.9, 0.51]], rtol=1e-5)
    """
    _check(optimizer)
    wanted = np.asarray(path)
    found, _ = jax.jit(lambda start: run(optimizer, start, jax.random.key(0), len(wanted)))(jnp.asarray(START))
    message = "the iterates on the indefinite quadratic are not those of the source"
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-3 * rtol, err_msg=message)


def assert_lanes_independent(optimizer: optax.GradientTransformation, *, rtol: float = 1e-8) -> None:
    """Asserts that a lane moves the same whatever its neighbours are, a neighbour of NaN among them.

    An optimizer whose state is stacked instead of mapped, or that takes a norm over all lanes, fails.

    Args:
      optimizer: what is tested.
      rtol: relative tolerance; 1e-8 is for float64.

    Raises:
      AssertionError: a lane sees its neighbours.

    Example:
      >>> import optax
      >>> assert_lanes_independent(optax.sgd(0.1, momentum=0.9), rtol=1e-4)
    """
    _check(optimizer)
    starts, keys = jnp.asarray(np.outer([1.0, 1.0, -0.5], START)), jax.random.split(jax.random.key(0), 3)
    mapped = jax.jit(jax.vmap(lambda start, key: run(optimizer, start, key)[0]))
    together = mapped(starts, keys)

    # The same lanes in other places, one of them broken.
    order = jnp.asarray([2, 0, 1])
    among_others = mapped(starts[order].at[1].set(jnp.nan), keys[order])
    message = "a lane moves differently among other lanes; its end depends on who its neighbours are"
    for here, there in ((among_others[0], together[2]), (among_others[2], together[1])):
        np.testing.assert_allclose(here, there, rtol=rtol, atol=0.1 * rtol, err_msg=message)


def assert_noise_differs(optimizer: optax.GradientTransformation) -> None:
    """Asserts that two lanes with one start and keys of their own draw different noise, in their iterates or states.

    `optax.noisy_sgd` fails: it keeps its key from `init`, so that all lanes draw the same. (The engine gives such a key
    a value of its own in each lane.)

    Args:
      optimizer: one that is noisy and takes `key` in `update`.

    Raises:
      AssertionError: two lanes draw the same noise.

    Example:
      >>> import jaxgd
      >>> assert_noise_differs(jaxgd.transforms.langevin(0.1, temperature=0.2))
    """
    _check(optimizer)
    starts, keys = jnp.asarray(np.tile(START, (2, 1))), jax.random.split(jax.random.key(0), 2)
    seen = jax.jit(jax.vmap(lambda start, key: run(optimizer, start, key)))(starts, keys)
    numbers = [leaf for leaf in jax.tree.leaves(seen) if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    differ = any(bool(jnp.any(jnp.abs(leaf[0] - leaf[1]) > 1e-9)) for leaf in numbers if leaf.dtype.kind == "f")
    assert differ, "two lanes with different keys draw the same noise; take the `key` that `update` is handed"


def step_types(optimizer: Any, params: Any, **changes: Any) -> tuple[Any, Any, Any]:
    """Returns the types of the state before a step, of the state after it, and of the update."""
    optimizer = optax.with_extra_args_support(optimizer)

    def both(params: Any, key: Key) -> Any:
        state = optimizer.init(params)
        grad, extra = extras(params, key)
        move, new = optimizer.update(grad, state, params, **(extra | changes))
        return state, new, move

    types: tuple[Any, Any, Any] = jax.eval_shape(both, params, jax.random.key(0))
    return types


def assert_types_kept(before: Any, after: Any, what: str) -> None:
    """Asserts that two pytrees have one structure, and leaves of the same shape and dtype."""
    one: Any = jax.tree.structure(before)
    other: Any = jax.tree.structure(after)
    assert one == other, f"{what} changes its structure from {one} to {other}"
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
        was, now = ((leaf.shape, str(leaf.dtype)) for leaf in (old, new))
        assert was == now, f"{what} changes{jax.tree_util.keystr(path) or ' it'} from {was} to {now}"


def assert_dtypes_kept(optimizer: optax.GradientTransformation, dtypes: Sequence[Any] = ("float32",)) -> None:
    """Asserts that the state keeps its types over a step and the update has those of the params, arrays and trees.

    Args:
      optimizer: what is tested.
      dtypes: floating-point types of the params; "float64" needs `jax_enable_x64`.

    Raises:
      AssertionError: a type changes; a compiled loop would refuse the optimizer, or compile it twice.

    Example:
      >>> import optax
      >>> assert_dtypes_kept(optax.sgd(0.1, momentum=0.9))
    """
    _check(optimizer)
    for dtype in dtypes:
        for params in (jnp.asarray(START, dtype), as_tree(START, dtype)):
            before, after, move = step_types(optimizer, params)
            assert_types_kept(before, after, f"for params in {dtype}, `update` changes the state: it")
            assert_types_kept(params, move, f"for params in {dtype}, the update is unlike the params: it")
            floats = {leaf.dtype for leaf in jax.tree.leaves((after, move)) if leaf.dtype.kind == "f"}
            assert floats <= {jnp.dtype(dtype)}, f"the state holds {floats} for params in {dtype}"


def assert_traced_once(optimizer: optax.GradientTransformation, *, num_steps: int = 4) -> None:
    """Asserts that steps from the state that `init` returns and from those that `update` returns share one trace.

    Args:
      optimizer: what is tested.
      num_steps: steps to take (>= 2).

    Raises:
      AssertionError: a step is traced again, which costs a compilation each time.

    Example:
      >>> import optax
      >>> assert_traced_once(optax.sgd(0.1, momentum=0.9))
    """
    _check(optimizer)
    counted, whole = 0, optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(params: Any, state: Any, key: Key) -> tuple[Any, Any]:
        nonlocal counted
        counted += 1
        grad, extra = extras(params, key)
        move, state = whole.update(grad, state, params, **extra)
        return optax.apply_updates(params, move), state

    params = as_tree(START)
    state = whole.init(params)
    for number in range(num_steps):
        params, state = step(params, state, jax.random.fold_in(jax.random.key(0), number))
    assert counted == 1, f"{num_steps} steps were traced {counted} times; give the state its final types in `init`"


def assert_transformation(
    optimizer: optax.GradientTransformation,
    *,
    is_noisy: bool = False,
    path: Callable[[np.ndarray], Sequence[Any]] | None = None,
) -> None:
    """Asserts all that jaxgd's own transformations keep: lanes, types, one trace, noise, and the source's iterates.

    Args:
      optimizer: what is tested.
      is_noisy: whether it draws random numbers from the `key` of `update`.
      path: maps the start, (3,), to the iterates on the indefinite quadratic; left out where they are not known.

    Raises:
      AssertionError: one of these does not hold.

    Example:
      >>> import jax, numpy as np, optax
      >>> curvature = np.array([3.0, 0.5, -0.2])
      >>> jax.config.update("jax_enable_x64", True)
      >>> assert_transformation(optax.sgd(0.1), path=lambda x: [x := x - 0.1 * curvature * x for _ in range(12)])
    """
    is_double = jnp.zeros(()).dtype == np.float64
    assert_dtypes_kept(optimizer, ("float32", "float64") if is_double else ("float32",))
    assert_traced_once(optimizer)
    assert_lanes_independent(optimizer, rtol=1e-8 if is_double else 1e-3)
    if is_noisy:
        assert_noise_differs(optimizer)
    if path is not None:
        assert_iterates(optimizer, path(START), rtol=1e-9 if is_double else 1e-4)


def _check(optimizer: Any) -> None:
    if isinstance(optimizer, str):
        raise InputTypeError(f"`optimizer` must be a transformation such as optax.sgd(0.1), got {optimizer!r}.")
    check_optimizer(optimizer)
