"""What descents look like on the way: anything computed from the iterates, every so many steps.

`descend` keeps ends only, so that memory does not grow with their length. Where the way itself is the question,
`trajectories` takes the same steps (`Descent.begin` and `Descent.tick`, the same keys, the same starts) and writes
down what `observe` makes of each observed iterate.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgd.base import Array, Engine, Key, Landscape, Params, Status, Stop
from jaxgd.checks import check_count, check_key, check_optimizer
from jaxgd.descend import check_engine, count_starts
from jaxgd.front_door import front_door
from jaxgd.lanes.check_descent import check_descent
from jaxgd.lanes.lane import Descent, Lane, as_asked
from jaxgd.lanes_last.mapping import LANE_AXIS, map_lanes

Observe = Callable[[Params, Any], Any]


@front_door
def trajectories(
    landscape: Landscape,
    optimizer: optax.GradientTransformation,
    num_starts: int | None = None,
    *,
    key: Key,
    num_steps: int,
    every: int = 1,
    starts: Params | None = None,
    observe: Observe | None = None,
    is_noisy: bool = False,
    engine: Engine | None = None,
) -> tuple[Array, Any]:
    """Returns the observed steps 0, `every`, 2 `every`, ... <= `num_steps`, and what was observed there.

    A lane that leaves the finite range stands still where it left it. Memory grows with the number of observations, and
    with that of the lanes, which run all together where `engine` does not say how many.

    Args:
      landscape: what to descend, and the law of its starts.
      optimizer: any optax transformation, as in `descend`.
      num_starts: how many starts to draw (>= 1); left out where `starts` is given.
      key: a key such as `jax.random.key(0)`; start `i` and its noise are those of `descend` with this key.
      num_steps: updates to follow (>= 1).
      every: steps from one observation to the next (>= 1).
      starts: explicit starts instead, params with one leading axis.
      observe: maps (params, optimizer state) of one lane to what is to be written down, any pytree of arrays; None
        for (value, Euclidean norm of the gradient) of the landscape, without noise.
      is_noisy: descend random draws of the landscape's `noisy_value`.
      engine: how lanes lie in memory (first, if it does not say) and how many run together, on one device.

    Returns:
      steps (k,) int32, and the observations with leading axes (n, k).

    Raises:
      InputValueError, InputTypeError: the question cannot be run.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> bowl = Landscape(value=lambda x: x**2 / 2, sample=lambda key: jnp.ones(()))
      >>> steps, seen = trajectories(
      ...     bowl, optax.sgd(0.5), 1, key=jax.random.key(0), num_steps=4, every=2, observe=lambda x, state: x)
      >>> steps.tolist(), seen.tolist()
      ([0, 2, 4], [[1.0, 0.25, 0.0625]])
    """
    num_starts, engine = count_starts(num_starts, starts), check_engine(engine)
    num_steps = check_count("num_steps", num_steps)
    every = check_count("every", every)
    key = check_key(key)

    with_extras = as_asked(check_optimizer(optimizer))
    descent = Descent(
        landscape=landscape,
        optimizer_of=lambda number: with_extras,
        num_paired=None,
        has_starts=starts is not None,
        stop=Stop(gradient_norm=None, max_steps=num_steps + every),
        restart=None,
        events={},
        is_noisy=is_noisy,
        keeps_best=False,
    )

    starts = None if starts is None else jax.tree.map(jnp.asarray, starts)
    check_descent(descent, key, starts)
    look = observe or (lambda params, state: _value_and_norm(landscape, params))

    def step(lane: Lane, number: jax.Array) -> Lane:
        new = descent.tick(lane, number, key)
        has_left = new.status == jnp.asarray(int(Status.DIVERGED), jnp.int8)  # the engine goes back, to the last finite
        stay = lambda old, new: jnp.where(has_left, old, new)
        return new._replace(params=jax.tree.map(stay, lane.params, new.params))

    def follow(number: jax.Array) -> Any:
        def observation(lane: Lane, first: jax.Array) -> tuple[Lane, Any]:
            seen = look(lane.params, lane.optimizer)
            return jax.lax.fori_loop(0, every, lambda i, now: step(now, first + i), lane), seen

        lane = descent.begin(number, jnp.zeros((), jnp.int32), key, starts)
        return jax.lax.scan(observation, lane, steps)[1]

    steps = jnp.arange(0, num_steps + 1, every, dtype=jnp.int32)
    layout = engine.layout or "lanes_first"
    num_lanes = min(engine.num_lanes or num_starts, num_starts)
    follow_all = jax.jit(map_lanes(follow, layout))

    # the last group is filled up with starts that come first, so that one program does all
    groups = [
        jax.tree.map(
            lambda leaf: jnp.moveaxis(leaf, LANE_AXIS[layout], 0),
            follow_all((first + jnp.arange(num_lanes, dtype=jnp.int32)) % num_starts),
        )
        for first in range(0, num_starts, num_lanes)
    ]
    return steps, jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:num_starts], *groups)


def _value_and_norm(landscape: Landscape, params: Params) -> tuple[Array, Array]:
    value, gradient = landscape.evaluate(params)
    return value, optax.tree.norm(gradient)
