r"""The gradient flow, the limit of small steps, as a reference for what optimizers do to basins.

$$ \dot x = -\nabla f(x), \qquad x(0) = \text{start}. $$

Counts, values and indices of critical points are properties of the landscape; where a start ends is not, since it
depends on the optimizer and its step. The flow is the one descent without a step, so the share of starts that an
optimizer sends to a different critical point than the flow, its *basin distortion*, measures that effect.

A step of an ODE solver is an update like any other: it maps an iterate to the next, and a step that the step-size
control rejects is an update of zero. The flow therefore runs in the lanes of the engine, from the same starts as
`descend` with the same key, and failure is a status. It is solved at two tolerances: if both solutions end at the
same critical point, the flow's end is known.

The solvers are those of diffrax (Kidger 2021, On neural differential equations, arXiv:2202.02435): Kvaerno's 5/4
method (Kvaerno, BIT 43, 489, 2004), implicit and L-stable, and Dormand and Prince's 8/7 (Prince and Dormand, J. Comput.
Appl. Math. 7, 67, 1981), explicit.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxgd.base import Ends, Engine, InputTypeError, InputValueError, Key, Landscape, Params, Progress, Stop
from jaxgd.checks import check_key
from jaxgd.descend import check_engine, origin_of
from jaxgd.face import Face
from jaxgd.front_door import front_door
from jaxgd.points.catalogue import catalogue
from jaxgd.points.classify import classify, join_points
from jaxgd.statistics import Estimate, proportion_interval
from jaxgd.sweep import sweep

METHODS = ("implicit", "explicit")

COARSER = 100.0
"""Ratio of the two tolerances."""

_PATIENCE = 500
"""Steps without a lower value after which only the solver's error still moves the point."""

_BYTES_OF_JACOBIANS = 2**22  # of an implicit solver's lanes on one device
_MAX_LANES = 64  # a batch of implicit steps waits for its slowest, so few run together


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GradientFlow(Face):
    """Where the gradient flow ends from each start, solved twice.

    Attributes:
      ends: by the finer tolerance. Statuses are those of `descend`: `converged` where the gradient norm fell to the
        limit; `plateau` where the solver's error prevents a lower one; `stopped_by_event` where `max_time` passed;
        `step_limit`; `diverged`. `num_steps` counts the solver's steps, rejected ones too.
      coarse: by the coarser tolerance, from the same starts.
      time: (n,) flow time at which each of `ends` was reached, in units of length^2 / value.
      coarse_time: (n,) the same for `coarse`.
      tolerance: relative and absolute error of one step of `ends`.
      coarse_tolerance: of `coarse`.
      method: "implicit" or "explicit".
    """

    ends: Ends
    coarse: Ends
    time: np.ndarray
    coarse_time: np.ndarray
    tolerance: float
    coarse_tolerance: float
    method: str

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, which: Any) -> "GradientFlow":
        """Returns the flow of the starts that a slice, mask or index array picks."""
        picked = {name: getattr(self, name)[which] for name in ("ends", "coarse", "time", "coarse_time")}
        return replace(self, **picked)


@front_door
def gradient_flow(
    landscape: Landscape,
    num_starts: int | None = None,
    *,
    key: Key,
    starts: Params | None = None,
    method: str = "implicit",
    tolerance: float | None = None,
    gradient_norm: float | None = None,
    max_time: float = 1e9,
    max_steps: int = 20_000,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> GradientFlow:
    """Returns where the gradient flow ends from each start, at `tolerance` and at a hundred times that.

    Args:
      landscape: what to follow downhill; start i is that of `descend` with the same key.
      num_starts: how many starts to draw (>= 1); omit it if `starts` is given.
      key: a key such as `jax.random.key(0)`.
      starts: explicit starts instead, params with one leading axis.
      method: "implicit" takes steps as long as accuracy allows, however stiff the landscape, and each step needs
        Hessians: for up to a few hundred parameters. "explicit" costs 13 gradients a step and takes at least (time x
        largest curvature / 6) steps: faster if that number is small.
      tolerance: error allowed in one step, relative to each coordinate and absolute, in (0, 0.01); by default a tenth
        of the square root of the rounding unit, 1.5e-9 in float64.
      gradient_norm: the gradient norm (> 0) at which the flow counts as ended; the landscape's default if None.
      max_time: flow time (> 0) after which a descent stops.
      max_steps: the same in steps of the solver, including rejected ones.
      engine: as in `descend`; by default an implicit solver uses few lanes, in layout "lanes_first".
      progress: as in `descend`, counted over both solutions.

    Returns:
      `GradientFlow`; `classify` accepts its ends like any others.

    Raises:
      InputValueError, InputTypeError: an argument is invalid, or diffrax is not installed.

    Example:
      >>> import jax, jax.numpy as jnp, jaxgd
      >>> bowl = jaxgd.Landscape(value=lambda x: jnp.sum(x**2) / 2, sample=lambda key: jnp.ones((2,)))
      >>> flow = gradient_flow(bowl, 1, key=jax.random.key(0), max_time=1.0)  # doctest: +SKIP
      >>> print(flow.ends.params[0])  # exp(-1)  # doctest: +SKIP
      [0.36787944 0.36787944]
    """
    if method not in METHODS:
        raise InputValueError(f"`method` must be one of {', '.join(METHODS)}, got {method!r}.")
    if not (np.isfinite(max_time) and max_time > 0):
        raise InputValueError(f"`max_time` must be positive and finite, got {max_time}.")
    one = jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
    dtype = jnp.result_type(*(leaf.dtype for leaf in jax.tree.leaves(one)))
    if tolerance is None:
        tolerance = float(np.sqrt(np.finfo(dtype).eps) / 10)
    if not 0 < tolerance < 1 / COARSER:
        raise InputValueError(f"`tolerance` must lie in (0, {1 / COARSER:g}), got {tolerance}.")
    dim = sum(leaf.size for leaf in jax.tree.leaves(one))
    stop = Stop(
        gradient_norm=landscape.default_stop.gradient_norm if gradient_norm is None else gradient_norm,
        max_steps=max_steps,
        patience=_PATIENCE,
        at_event="time_limit",
    )
    engine = check_engine(engine)
    if method == "implicit":
        few = int(np.clip(_BYTES_OF_JACOBIANS // (8 * dim**2), 1, _MAX_LANES))
        engine = replace(engine, layout=engine.layout or "lanes_first", num_lanes=engine.num_lanes or few)
    # diffrax mixes dtypes and ranks, which jax allows by default
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        solved = sweep(
            _timed(landscape),
            _solver(landscape, method, float(max_time), dtype),
            num_starts,
            key=key,
            starts=None if starts is None else _timed_starts(starts),
            stop=stop,
            events={"time_limit": _time_limit(float(max_time))},
            engine=engine,
            progress=progress,
            tolerance=[COARSER * tolerance, tolerance],
        )
    origin = origin_of(check_key(key), None if starts is None else jax.tree.map(jnp.asarray, starts))
    (coarse, coarse_time), (ends, time) = (_untimed(landscape, replace(part, origin=origin)) for part in solved.ends)
    return GradientFlow(
        ends=ends,
        coarse=coarse,
        time=time,
        coarse_time=coarse_time,
        tolerance=tolerance,
        coarse_tolerance=COARSER * tolerance,
        method=method,
    )


# ------------------------------------------------------------------------------------------------ distortion


@dataclass(frozen=True, kw_only=True)
class Departure:
    """How the ends of one optimizer differ from the flow's, on starts whose flow is known.

    Attributes:
      name: name of the optimizer.
      share: among the starts that reach a critical point with both, the share that reach a different one than the flow,
        with exact limits; None if there are no such starts.
      num_compared: number of those starts.
      num_elsewhere: how many of them end elsewhere.
      num_nowhere: starts whose flow is known but whose optimizer ended at no critical point.
      entry: (n,) row of the critical point that each start ended at, -1 for none.
      basin_hits: (k,) starts of each flow basin that were compared.
      basin_elsewhere: (k,) those of them that ended elsewhere.
      basin_low: (k,) lower limit of the basin's own share; 0 without starts.
      basin_high: (k,) upper limit; 1 without starts.
    """

    name: str
    share: Estimate | None
    num_compared: int
    num_elsewhere: int
    num_nowhere: int
    entry: np.ndarray
    basin_hits: np.ndarray
    basin_elsewhere: np.ndarray
    basin_low: np.ndarray
    basin_high: np.ndarray


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Distortion(Face):
    """Which starts optimizers send to different critical points than the gradient flow does.

    Attributes:
      departures: one for each optimizer.
      self_agreement: share of all starts whose two flow solutions end at the same critical point, with limits.
      num_starts: all starts.
      num_known: those whose flow is known.
      flow_entry: (n,) row of the critical point that the flow ends at, -1 where it is not known.
      value: (k,) value of each critical point that the flow or an optimizer ended at, lowest first.
      verdict: (k,) int8, see `Verdict`.
      index: (k,) int32.
      params: pytree with leading axis k.
      confidence: level of the limits.
    """

    departures: tuple[Departure, ...]
    self_agreement: Estimate
    num_starts: int
    num_known: int
    flow_entry: np.ndarray
    value: np.ndarray
    verdict: np.ndarray
    index: np.ndarray
    params: Params
    confidence: float

    def __str__(self) -> str:
        percent = f"{100 * self.confidence:g}% interval"
        agreement = self.self_agreement
        lines = [
            f"The flow is known from {self.num_known:,} of {self.num_starts:,} starts: its two solutions end at the"
            f" same critical point in {agreement.value:.4f} ({agreement.low:.4f} to {agreement.high:.4f}).",
            "",
            f"{'optimizer':<32} {'elsewhere':>9} {'compared':>9} {'nowhere':>8} {'share':>7}  {percent}",
        ]
        for one in self.departures:
            counts = f"{one.name:<32} {one.num_elsewhere:>9,} {one.num_compared:>9,} {one.num_nowhere:>8,}"
            share = "      -  -" if one.share is None else "{:>7.4f}  {:.4f} to {:.4f}".format(*one.share)
            lines.append(f"{counts} {share}")
        return "\n".join(lines)


def basin_distortion(
    landscape: Landscape, flow: GradientFlow, ends: Ends | Mapping[str, Ends], *, confidence: float = 0.95
) -> Distortion:
    """Returns the share of starts that each optimizer sends to a different critical point than the flow.

    Two ends are the same if the catalogue counts them as one critical point, so swapped identical atoms or a rotated
    cluster do not count as different. To study the step size, `sweep` the learning rate with the same key and pass its
    ends by name.

    Args:
      landscape: what was descended.
      flow: of `gradient_flow`.
      ends: of one optimizer or of several by name, by `descend` or `sweep` with the key (or starts) of `flow`.
      confidence: level of the limits, in (0, 1).

    Returns:
      `Distortion`; printed, it is a table.

    Raises:
      InputValueError: the ends do not belong to the starts of the flow, or kept no params.
      InputTypeError: `ends` are not ends.

    Example:
      >>> import jax, optax, jaxgd
      >>> wells, key = jaxgd.landscapes.styblinski_tang(dim=2), jax.random.key(0)
      >>> flow = gradient_flow(wells, 100, key=key)  # doctest: +SKIP
      >>> ends = jaxgd.descend(wells, optax.sgd(0.005), 100, key=key)  # doctest: +SKIP
      >>> float(basin_distortion(wells, flow, ends).departures[0].share.value)  # doctest: +SKIP
      0.0
    """
    arms = {"optimizer": ends} if isinstance(ends, Ends) else dict(ends) if isinstance(ends, Mapping) else ends
    if not isinstance(arms, dict) or not arms or not all(isinstance(arm, Ends) for arm in arms.values()):
        raise InputTypeError(f"`ends` must be the Ends of one optimizer, or those of several by name, got {ends!r}.")
    for name, arm in {"the coarser flow": flow.coarse, **arms}.items():
        if not np.array_equal(arm.start_number, flow.ends.start_number):
            raise InputValueError(f"the ends of `{name}` must come from the flow's {len(flow):,} starts, in order.")
        if None not in (arm.origin, flow.ends.origin) and arm.origin != flow.ends.origin:
            raise InputValueError(
                f"the ends of `{name}` come from other starts than the flow's; use the `key` (or `starts`) of the flow."
            )

    # One catalogue of all ends, so that entries can be compared.
    judged = [classify(landscape, arm) for arm in (flow.ends, flow.coarse, *arms.values())]
    found = catalogue(landscape, join_points(judged), confidence=confidence)
    num = len(flow)
    entries = found.entry.reshape(len(judged), num)
    is_known = (entries[0] >= 0) & (entries[0] == entries[1])

    # Only starts of which both flows tell the same basin count.
    low, high = proportion_interval(is_known.sum(), num, confidence)
    return Distortion(
        departures=tuple(
            _departure(name, np.where(is_known, entries[0], -1), entry, len(found), confidence)
            for name, entry in zip(arms, entries[2:], strict=True)
        ),
        self_agreement=Estimate(float(is_known.mean()), float(low), float(high)),
        num_starts=num,
        num_known=int(is_known.sum()),
        flow_entry=np.where(is_known, entries[0], -1),
        value=found.value,
        verdict=found.verdict,
        index=found.index,
        params=found.params,
        confidence=confidence,
    )


def _departure(name: str, flow_entry: np.ndarray, entry: np.ndarray, num_points: int, confidence: float) -> Departure:
    is_compared = (flow_entry >= 0) & (entry >= 0)
    is_elsewhere = is_compared & (entry != flow_entry)
    count = lambda mask: np.bincount(flow_entry[mask], minlength=num_points)
    num_compared, num_elsewhere = int(is_compared.sum()), int(is_elsewhere.sum())
    low, high = proportion_interval(num_elsewhere, num_compared, confidence)
    share = Estimate(num_elsewhere / num_compared, float(low), float(high)) if num_compared else None
    basin_low, basin_high = proportion_interval(count(is_elsewhere), count(is_compared), confidence)
    return Departure(
        name=name,
        share=share,
        num_compared=num_compared,
        num_elsewhere=num_elsewhere,
        num_nowhere=int(np.sum((flow_entry >= 0) & (entry < 0))),
        entry=entry,
        basin_hits=count(is_compared),
        basin_elsewhere=count(is_elsewhere),
        basin_low=basin_low,
        basin_high=basin_high,
    )


# ---------------------------------------------------------------------------------------- the flow as a descent


@functools.lru_cache(maxsize=8)
def _unraveller(landscape: Landscape) -> Callable[[jax.Array], Params]:
    """Returns the map from flat params to the landscape's own."""
    one = jax.eval_shape(landscape.sample, jax.eval_shape(lambda: jax.random.key(0)))
    return ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), one))[1]


@functools.lru_cache(maxsize=8)
def _timed(landscape: Landscape) -> Landscape:
    """Returns the landscape of flat params "x" and the flow's "time", on which the value does not depend."""
    unravel = _unraveller(landscape)

    def value_and_grad(params: Params) -> tuple[jax.Array, Params]:
        value, grad = landscape.evaluate(unravel(params["x"]))
        return value, {"x": ravel_pytree(grad)[0], "time": jnp.zeros_like(params["time"])}

    def sample(key: Key) -> Params:
        x = ravel_pytree(landscape.sample(key))[0]
        return {"x": x, "time": jnp.zeros((), x.dtype)}

    return Landscape(
        value=lambda params: landscape.value(unravel(params["x"])),
        value_and_grad=value_and_grad,
        sample=sample,
        name=landscape.name,
    )


def _timed_starts(starts: Params) -> Params:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(starts)]
    if not leaves or any(leaf.ndim == 0 for leaf in leaves) or len({len(leaf) for leaf in leaves}) != 1:
        raise InputValueError("`starts` must be params with one leading axis of starts in every leaf.")
    flat = jax.vmap(lambda start: ravel_pytree(start)[0])(jax.tree.map(jnp.asarray, starts))
    return {"x": flat, "time": jnp.zeros(len(flat), flat.dtype)}


def _untimed(landscape: Landscape, ends: Ends) -> tuple[Ends, np.ndarray]:
    """Returns the ends of the timed landscape as those of its own, and the times."""
    unravel = jax.jit(jax.vmap(_unraveller(landscape)))
    back = lambda timed: jax.tree.map(np.asarray, unravel(jnp.asarray(timed["x"]))) if len(ends) else timed["x"]
    assert ends.params is not None
    return replace(ends, params=back(ends.params), best_params=back(ends.best_params)), np.asarray(ends.params["time"])


def _time_limit(max_time: float) -> Callable[..., jax.Array]:
    """Returns the event that the flow's time is over, up to rounding."""
    return lambda params, value, grad: params["time"] >= jnp.asarray(max_time * (1 - 1e-5), params["time"].dtype)


class _SolverState(NamedTuple):
    step: jax.Array  # () flow time that the next step is to take
    control: Any  # of the step-size controller


def _solver(
    landscape: Landscape, method: str, max_time: float, dtype: Any
) -> Callable[[Any], optax.GradientTransformationExtraArgs]:
    """Returns a function that maps a tolerance to the ODE solver as an optimizer; each update is one trial step."""
    try:
        import diffrax
        import optimistix
    except ImportError as error:
        raise InputValueError("the gradient flow needs diffrax: pip install 'jaxgd[flow]'.") from error
    unravel = _unraveller(landscape)
    terms = diffrax.ODETerm(lambda time, x, args: -ravel_pytree(landscape.gradient(unravel(x)))[0])

    def of(tolerance: Any) -> optax.GradientTransformationExtraArgs:
        tolerance = jnp.asarray(tolerance, dtype)
        # diffrax's default root finder fails where this one converges, and needs 20 times more steps.
        chord: Any = optimistix.Chord(rtol=tolerance, atol=tolerance)
        solver: Any = diffrax.Kvaerno5(root_finder=chord) if method == "implicit" else diffrax.Dopri8()
        control: Any = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        order = solver.error_order(terms)

        def init(params: Params) -> _SolverState:
            x, zero = params["x"], jnp.zeros_like(params["time"])
            end, state = control.init(terms, zero, jnp.full_like(zero, max_time), x, None, None, solver.func, order)
            return _SolverState(step=end, control=jax.tree.map(jnp.asarray, state))

        def update(updates: Params, state: _SolverState, params: Params, **extra: Any) -> tuple[Params, _SolverState]:
            del updates, extra
            x, time = params["x"], params["time"]
            zero = jnp.zeros_like(time)  # the flow does not depend on time: each step begins at 0, without cancellation
            step = jnp.minimum(state.step, jnp.maximum(max_time - time, 0))
            after, error, _, _, result = solver.step(
                terms, zero, step, x, None, solver.init(terms, zero, step, x, None), False
            )
            is_solved = diffrax.is_successful(result) & jnp.all(jnp.isfinite(after))
            error = jnp.where(jnp.isfinite(error) & is_solved, error, jnp.inf)
            keeps, begin, end, _, control_state, _ = control.adapt_step_size(
                zero, step, x, jnp.where(is_solved, after, x), None, error, order, state.control
            )
            move = {"x": jnp.where(keeps, after - x, 0), "time": jnp.where(keeps, step, 0)}
            return move, _SolverState(step=end - begin, control=jax.tree.map(jnp.asarray, control_state))

        return optax.GradientTransformationExtraArgs(init, update)

    return of
