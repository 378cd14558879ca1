"""The types that everything speaks: a landscape, a stop rule, the ends of descents, the points judged from them.

The data flows one way: a `Landscape` and an optimizer give `Ends`, ends give `Points` with verdicts, points give
a catalogue. Each type is a frozen record of arrays with one leading axis, so that each stage can be fed by hand.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Any, ClassVar, Self

import jax
import numpy as np

from jaxgd.face import Face

Array = jax.Array | np.ndarray
Params = Any  # a pytree of floating-point arrays
Key = jax.Array  # a typed key of `jax.random.key`, or its array of raw words


class _OneSentence(Exception):
    """A message on one line, even if it quotes an array that prints on several."""

    def __init__(self, message: str = "") -> None:
        super().__init__(" ".join(line.strip() for line in str(message).splitlines()))


class InputValueError(_OneSentence, ValueError):
    """A value that the caller gave cannot be used; the message says which one, why, and what would be accepted."""


class InputTypeError(_OneSentence, TypeError):
    """An object of the wrong kind was given; the message says which one, and what would be accepted."""


def plain_number(name: str, given: Any) -> float:
    """Returns a real number (of Python or NumPy, or an array without axes) as a float.

    Raises:
      InputTypeError: it is something else, for example a string or a bool.
    """
    is_array = isinstance(given, (np.ndarray, np.generic, jax.Array)) and not isinstance(given, jax.core.Tracer)
    kind = np.asarray(given).dtype.kind if is_array and given.ndim == 0 else ""
    if isinstance(given, bool) or not (isinstance(given, (int, float)) or kind in tuple("iuf")):
        raise InputTypeError(f"`{name}` must be a number, got {given!r}.")
    return float(given)


# --------------------------------------------------------------------------------------------- landscapes


@dataclass(frozen=True, kw_only=True)
class Symmetry:
    """A group of motions of the parameters that leaves a landscape's value unchanged.

    Attributes:
      name: what to call it, for example "rigid motions and permutations".
      invariants: maps params to a vector that is equal on an orbit and different off it; two critical points
        are the same when their values and their invariants agree. It needs no derivative.
      generators: maps params to the velocities of the continuous motions, a pytree like params with one leading
        axis of motions. They span the zero modes that the symmetry forces on every critical point. None for
        a discrete group.
      random_motion: maps params and a key to their image under a random motion, used to check that the value does not
        change; None where only the generators are checked. The groups in `jaxgd.symmetry` have one.
    """

    name: str
    invariants: Callable[[Params], Array]
    generators: Callable[[Params], Params] | None = None
    random_motion: Callable[[Params, Key], Params] | None = None


@dataclass(frozen=True, kw_only=True)
class KnownPoint:
    """A critical point known exactly or from a published table.

    Attributes:
      value: the landscape's value there.
      index: number of negative Hessian eigenvalues.
      params: the point, or None where only its value is known.
      name: what the field calls it, if anything.
    """

    value: float
    index: int
    params: Params | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about a landscape, for tests and for judging a survey.

    Attributes:
      source: where the facts come from, or how to derive them.
      points: known critical points; not necessarily all.
      num_minima: number of distinct minima, up to symmetry.
      num_critical_points: number of distinct critical points, up to symmetry.
      max_learning_rate: gradient descent with a larger step cannot settle in every minimum (2 / largest curvature).
    """

    source: str
    points: tuple[KnownPoint, ...] = ()
    num_minima: int | None = None
    num_critical_points: int | None = None
    max_learning_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When a lane stops; tested on every new iterate's value and gradient, never on the size of a step.

    Attributes:
      gradient_norm: `converged` once the Euclidean norm of the gradient is at most this (> 0); None never. "auto" is
        relative to the landscape's own scale: a share of the gradients at the first starts (1e-8 in float64, 1e-4 in
        float32, see `jaxgd.lanes.relative_stop`), the same number for every block of a run; `Ends.stop` holds it.
      max_steps: `step_limit` after this many updates (>= 0).
      patience: `plateau` once the best value has not fallen by `improvement` for this many updates; 0 never.
      improvement: the fall of the best value that counts as progress, relative to |best value|.
      at_event: `stopped_by_event` when the event of this name first fires.
    """

    gradient_norm: float | str | None = "auto"
    max_steps: int = 10_000
    patience: int = 0
    improvement: float = 1e-12
    at_event: str | None = None

    def __post_init__(self) -> None:
        """Validates the fields."""
        norm = self.gradient_norm
        if isinstance(norm, str) and norm != "auto":
            raise InputValueError(f'`gradient_norm` must be a positive number, "auto" or None, got {norm!r}.')
        if norm is not None and not isinstance(norm, str):
            object.__setattr__(self, "gradient_norm", plain_number("gradient_norm", norm))
            if not (np.isfinite(norm) and norm > 0):
                raise InputValueError(f'`gradient_norm` must be positive and finite, "auto" or None, got {norm}.')
        for name in ("max_steps", "patience"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
                raise InputTypeError(f"`{name}` must be an integer, got {count!r}.")
            if not 0 <= count < 2**31 - 1:
                raise InputValueError(f"`{name}` must lie in [0, 2**31 - 1), got {count}.")
        object.__setattr__(self, "improvement", plain_number("improvement", self.improvement))
        if not (np.isfinite(self.improvement) and self.improvement >= 0):
            raise InputValueError(f"`improvement` must be finite and not negative, got {self.improvement}.")
        if self.at_event is not None and not isinstance(self.at_event, str):
            raise InputTypeError(f"`at_event` must be the name of an event, got {self.at_event!r}.")


@dataclass(frozen=True, kw_only=True)
class Restart:
    """When a stopped lane starts over, from a new random start and with a different step size.

    The updates of attempt k (0 for the first) are multiplied by `step_factor`^k. Steps keep counting, so
    `Stop.max_steps` bounds the total over all attempts of a lane.

    Attributes:
      on: statuses that trigger a restart.
      max_restarts: restarts allowed per lane (>= 1).
      step_factor: factor applied to the updates at each restart (> 0); 1 keeps the step size.
    """

    on: tuple["Status", ...]
    max_restarts: int = 3
    step_factor: float = 0.5

    def __post_init__(self) -> None:
        """Validates the fields."""
        try:
            object.__setattr__(self, "on", tuple(Status(status) for status in self.on))
        except (TypeError, ValueError) as error:
            raise InputTypeError(f"`on` must be a tuple of jaxgd.Status, got {self.on!r}.") from error
        if isinstance(self.max_restarts, bool) or not isinstance(self.max_restarts, (int, np.integer)):
            raise InputTypeError(f"`max_restarts` must be an integer, got {self.max_restarts!r}.")
        if self.max_restarts < 1:
            raise InputValueError(f"`max_restarts` must be at least 1, got {self.max_restarts}.")
        object.__setattr__(self, "step_factor", plain_number("step_factor", self.step_factor))
        if not (np.isfinite(self.step_factor) and self.step_factor > 0):
            raise InputValueError(f"`step_factor` must be positive and finite, got {self.step_factor}.")


@dataclass(frozen=True, kw_only=True, eq=False)  # compared and hashed by identity: compiled programs are kept by it
class Landscape:
    """A function to descend, the law of its random starts, and what is known about it.

    Attributes:
      value: maps params (any pytree of floating-point arrays) to a scalar.
      sample: maps a key to one random start.
      name: what to call it in tables and files.
      noisy_value: maps (params, key) to a random scalar with mean `value`, for example a minibatch loss.
      value_and_grad: maps params to (value, gradient); given if it is faster or more robust than `jax.value_and_grad`
        of `value` (for example at points where automatic differentiation gives NaN).
      symmetry: the motions that leave `value` unchanged; None if there are none.
      facts: what is known exactly or from the literature.
      default_optimizer: name and arguments of the optimizer used if none is given, written as on the command line.
      default_stop: the stop rule used if none is given.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> bowl = Landscape(value=lambda p: jnp.sum(p["x"] ** 2), sample=lambda key: {"x": jax.random.normal(key, (3,))})
      >>> value, grad = bowl.evaluate({"x": jnp.ones(3)})
      >>> float(value), grad["x"].tolist()
      (3.0, [2.0, 2.0, 2.0])
    """

    value: Callable[[Params], Any]
    sample: Callable[[Key], Params]
    name: str = "landscape"
    noisy_value: Callable[[Params, Key], Any] | None = None
    value_and_grad: Callable[[Params], tuple[Any, Params]] | None = None
    symmetry: Symmetry | None = None
    facts: Facts | None = None
    default_optimizer: str = "lbfgs"
    default_stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        """Validates the fields."""
        for name in ("value", "sample"):
            if not callable(getattr(self, name)):
                raise InputTypeError(f"`{name}` of a Landscape must be callable, got {getattr(self, name)!r}.")

    def evaluate(self, params: Params) -> tuple[jax.Array, Params]:
        """Returns the value and the gradient at `params`."""
        return (self.value_and_grad or jax.value_and_grad(self.value))(params)

    def evaluate_noisy(self, params: Params, key: Key) -> tuple[jax.Array, Params]:
        """Returns one random draw of the value and the gradient at `params`."""
        if self.noisy_value is None:
            raise InputValueError(f"landscape `{self.name}` has no `noisy_value`.")
        return jax.value_and_grad(self.noisy_value)(params, key)

    def gradient(self, params: Params) -> Params:
        """Returns the gradient at `params`."""
        return self.evaluate(params)[1]


# --------------------------------------------------------------------------------------------------- ends


class Status(IntEnum):
    """Why a lane stopped."""

    CONVERGED = 0
    PLATEAU = 1
    STEP_LIMIT = 2
    DIVERGED = 3
    STOPPED_BY_EVENT = 4
    INTERRUPTED = 5


LAYOUTS = ("lanes_first", "lanes_last")
"""How lanes are laid out in memory: along the first axis of every array, or along the last."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How descents share the machine; it affects speed and, at most, the last bits of the results.

    The same question with the same engine gives the same bits, however busy the machine is: what is left open here is
    derived from the traced program, the number of descents and the kind of device, never from a clock. With another
    layout or number of lanes the compiler may sum in a different order. The results then differ in the last bits, which
    a chaotic descent (L-BFGS on clusters) can turn into a different end. Every result names the engine that repeats it.

    Attributes:
      layout: "lanes_first" or "lanes_last"; chosen from the traced program if None.
      num_lanes: lanes that step together on each device; chosen in the same way if None.
      num_devices: how many of `jax.local_devices()` share the work; starts are dealt to them in turn.
      tune: time several layouts and numbers of lanes first and use the fastest. The choice is printed, and remembered
        for later runs of this program with `tune` in this process.
    """

    layout: str | None = None
    num_lanes: int | None = None
    num_devices: int = 1
    tune: bool = False

    def __post_init__(self) -> None:
        """Validates the fields."""
        if self.layout is not None and not (isinstance(self.layout, str) and self.layout in LAYOUTS):
            raise InputValueError(f"`layout` must be one of {', '.join(LAYOUTS)}, got {self.layout!r}.")
        for name in ("num_lanes", "num_devices"):
            count = getattr(self, name)
            if count is None and name == "num_lanes":
                continue
            if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
                raise InputTypeError(f"`{name}` must be an integer, got {count!r}.")
            if not 1 <= count <= 2**20:
                raise InputValueError(f"`{name}` must be at least 1 and at most {2**20:,}, got {count}.")

    def __str__(self) -> str:
        given = {"layout": self.layout, "num_lanes": self.num_lanes, "num_devices": self.num_devices}
        return f"Engine({', '.join(f'{name}={value!r}' for name, value in given.items() if value is not None)})"


Progress = Callable[[str, int, int], None]
"""Called from time to time as progress(phase, done, total), for example progress("descending", 300, 1000)."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run of descents cost, in ticks (gradient evaluations of one lane) and in seconds.

    Attributes:
      ticks: gradient evaluations that belong to a descent.
      lane_ticks: gradient evaluations computed, including those of idle lanes.
      seconds_compile: wall time of tracing, compiling and choosing a layout.
      seconds_run: wall time of the descents.
      layout: how lanes are laid out in memory, "lanes_first" or "lanes_last".
      num_lanes: lanes that stepped together on one device (the tile).
      num_devices: devices that shared the work.
    """

    ticks: int
    lane_ticks: int
    seconds_compile: float
    seconds_run: float
    layout: str
    num_lanes: int
    num_devices: int = 1

    @property
    def engine(self) -> Engine:
        """The engine that repeats the run, bit for bit."""
        return Engine(layout=self.layout, num_lanes=self.num_lanes, num_devices=self.num_devices)

    @property
    def occupancy(self) -> float:
        """Fraction of the computed ticks that belonged to a descent."""
        return self.ticks / self.lane_ticks if self.lane_ticks else 0.0

    def __add__(self, other: "Cost") -> "Cost":
        """Returns the cost of two runs, one after the other."""
        names = ("ticks", "lane_ticks", "seconds_compile", "seconds_run")
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Rows(Face):
    """A record of arrays with a common leading axis of rows; the fields in `not_in_rows` describe all rows."""

    not_in_rows: ClassVar[tuple[str, ...]] = ()

    def columns(self) -> dict[str, Any]:
        """Returns the fields that have an entry for each row, by name."""
        return {name: getattr(self, name) for name in self.column_names()}

    @classmethod
    def column_names(cls) -> list[str]:
        """Returns the names of the fields that have an entry for each row."""
        return [item.name for item in fields(cls) if item.name not in cls.not_in_rows]

    def __getitem__(self, which: Any) -> Self:
        """Returns the rows that a slice, mask or index array picks, in its order."""
        return replace(self, **jax.tree.map(lambda leaf: leaf[which], self.columns()))


def joined_columns(parts: Sequence[Rows]) -> dict[str, Any]:
    """Returns the columns of several records, one below the other."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *(part.columns() for part in parts))


_COUNT = re.compile(r"(?<![\w.])([\d,]+) of ([\d,]+)(?= (?:points|audited ends|that were)\b)")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")


def merged_notes(*parts: Iterable[str]) -> tuple[str, ...]:
    """Returns the notes on several parts of one result, without repetition.

    Notes that count points or ends and differ only in their numbers are merged: counts are added, and of every other
    number the largest is kept.

    Example:
      >>> merged_notes(["off by 0.2 at 1 of 40 points", "slow"], ["off by 0.1 at 3 of 60 points", "slow"])
      ('off by 0.2 at 4 of 100 points', 'slow')
    """
    alike: dict[str, list[str]] = {}
    for note in (note for part in parts for note in part):
        key = _NUMBER.sub("#", note) if _COUNT.search(note) else note
        alike.setdefault(key, []).append(note)
    return tuple(key if key in notes else _merged(notes) for key, notes in alike.items())


def _merged(notes: list[str]) -> str:
    """Merges notes that differ only in their numbers."""
    number = lambda text: float(text.replace(",", ""))
    counted = {place for count in _COUNT.finditer(notes[0]) for place in (count.start(1), count.start(2))}
    columns = zip(*(_NUMBER.findall(note) for note in notes), strict=True)
    chosen = [
        f"{sum(map(number, column)):,.0f}" if found.start() in counted else max(column, key=number)
        for found, column in zip(_NUMBER.finditer(notes[0]), columns, strict=True)
    ]
    return _NUMBER.sub(lambda _: chosen.pop(0), notes[0])


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Ends(Rows):
    """Where descents ended; every array has one leading axis of finished descents, in order of start number.

    Attributes:
      start_number: (n,) int64, number of the start; the keys of a descent are folded from it.
      params: pytree with leading axis n, the last finite iterate; None where it was not kept.
      value: (n,) the value there; NaN if the start itself was not finite.
      gradient_norm: (n,) Euclidean norm of the gradient there.
      status: (n,) int8, see `Status`.
      num_steps: (n,) int32, updates applied in all attempts, including one that left the finite range.
      num_restarts: (n,) int32, how often the lane was restarted.
      num_hvps: (n,) int32, Hessian-vector products in all attempts, as counted in the optimizer's state.
      best_value: (n,) lowest finite value met on the way.
      best_params: pytree with leading axis n, where it was met; None where it was not kept.
      event_steps: for each event, (n,) int32 step at which it first fired, -1 where it did not.
      num_starts: descents asked for; larger than n after an interruption.
      cost: what the run cost.
      frozen: a pytree like the params of one descent with a Python bool per leaf: whether the optimizer never moves it
        (its gradient is then left out of `gradient_norm`); None if it may move all of them.
      stop: the stop rule, with "auto" replaced by the number it stood for; None if unknown.
      origin: a fingerprint of the key that the starts were drawn with, or of the starts that were given; ends of one
        landscape with the same `origin` and `start_number` began at the same point. None if unknown.
      notes: human-readable warnings about the descents, one sentence each.
    """

    start_number: Array
    params: Params | None
    value: Array
    gradient_norm: Array
    status: Array
    num_steps: Array
    num_restarts: Array
    num_hvps: Array
    best_value: Array
    best_params: Params | None
    event_steps: Mapping[str, Array]
    num_starts: int
    cost: Cost
    frozen: Params | None = None
    stop: Stop | None = None
    origin: str | None = None
    notes: tuple[str, ...] = ()
    not_in_rows = ("num_starts", "cost", "frozen", "stop", "origin", "notes")

    def __len__(self) -> int:
        return len(self.value)

    def status_counts(self) -> dict[str, int]:
        """Returns how many descents stopped for each reason, omitting reasons that did not occur."""
        return _counts(Status, self.status)

    def num_at_start(self) -> int:
        """Returns how many descents had converged before their first step."""
        return int(np.sum((self.num_steps == 0) & (self.status == int(Status.CONVERGED))))


# ------------------------------------------------------------------------------------------------- points


class Verdict(IntEnum):
    """What an end is, judged by curvature."""

    MINIMUM = 0
    SADDLE = 1
    MAXIMUM = 2
    DEGENERATE = 3
    GRADIENT_FLAT = 4
    PLATEAU = 5
    UNDECIDED = 6
    DIVERGED = 7


class Reason(IntEnum):
    """Why an end was not shown to be at a critical point."""

    NONE = 0
    STILL_DESCENDING = 1
    HELD = 2
    NOT_SMOOTH = 3
    UNBOUNDED = 4
    TOO_FAR = 5
    UNEXPLAINED_GRADIENT = 6
    NO_CURVATURE = 7
    PRECISION = 8
    JUDGING_FAILED = 9
    FLAT = 10
    INTERRUPTED = 11

    def sentence(self) -> str:
        """Returns the reason as a human-readable sentence."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.NONE: "",
    Reason.STILL_DESCENDING: "still descending: a step against the gradient lowers the value",
    Reason.HELD: "held by a constraint: the gradient is nonzero only in coordinates that sit at a common limit",
    Reason.NOT_SMOOTH: "not smooth here: gradients near the end are not explained by its Hessian",
    Reason.UNBOUNDED: "unbounded: the value kept falling as far out as it was evaluated",
    Reason.TOO_FAR: "no critical point within reach of the quadratic model at the end",
    Reason.UNEXPLAINED_GRADIENT: "the descent stopped moving, but rounding does not explain the remaining gradient",
    Reason.NO_CURVATURE: "the Hessian is not finite here",
    Reason.PRECISION: "the signs of the curvature could not be determined in this precision",
    Reason.JUDGING_FAILED: "judging failed with an error",
    Reason.FLAT: "flat: slope and curvature cannot be distinguished from rounding here or nearby",
    Reason.INTERRUPTED: "dropped before it ended, when the run was interrupted",
}

CRITICAL = (Verdict.MINIMUM, Verdict.SADDLE, Verdict.MAXIMUM, Verdict.DEGENERATE)
"""The verdicts for critical points."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Points(Rows):
    """Judged points; every array has one leading axis, in the order of the ends or batch that was judged.

    Attributes:
      params: pytree with leading axis n, polished where polishing succeeded, otherwise as given.
      value: (n,) the value there.
      gradient_norm: (n,) Euclidean norm of the gradient there.
      verdict: (n,) int8, see `Verdict`.
      reason: (n,) int8, see `Reason`: why the end is not at a critical point, `NONE` if it is.
      index: (n,) int32, number of eigenvalues below zero by more than their error; -1 if unknown.
      index_high: (n,) int32, the same, counting every unexplained zero mode as negative; -1 if unknown.
      num_zero_modes: (n,) int32, eigenvalues that cannot be distinguished from zero, including those of the symmetry.
      num_symmetry_modes: (n,) int32, zero modes that the landscape's symmetry explains.
      lowest_eigenvalue: (n,) smallest eigenvalue outside the symmetry's zero modes; NaN where unknown.
      eigenvalue_error: (n,) error of the lowest eigenvalue: rounding, the asymmetry of the Hessian, and the change of
        curvature over the distance within which the point is placed (sampled, so an estimate rather than a bound).
      move: (n,) Euclidean distance from the end to the polished point.
      placement: pytree like params, estimated distance in each coordinate within which the true critical point lies;
        NaN where none was found.
      value_error: (n,) estimated error of the value, by rounding and placement; NaN where unknown.
      dimension: (n,) int32, of the valley (connected manifold of critical points) that the point lies on, including the
        motions of the landscape's symmetry: 0 if it is isolated, -1 if unknown; a lower limit above 1,024 parameters,
        see `notes`.
      descends: (n,) int8, whether the value falls along some flat direction of a degenerate point, from higher
        derivatives: 1 yes, 0 no, -1 unknown or not asked.
      missed_probability: (n,) probability, over the random start of the Lanczos process, that curvature below
        -`missed_curvature` exists but was missed; 0 where the whole spectrum was computed, NaN where unknown.
      missed_curvature: (n,) the depth of curvature that this probability refers to (>= 0).
      notes: human-readable warnings about the verdicts, for example of an asymmetric Hessian or too few digits.
    """

    params: Params
    value: Array
    gradient_norm: Array
    verdict: Array
    reason: Array
    index: Array
    index_high: Array
    num_zero_modes: Array
    num_symmetry_modes: Array
    lowest_eigenvalue: Array
    eigenvalue_error: Array
    move: Array
    placement: Params
    value_error: Array
    dimension: Array
    descends: Array
    missed_probability: Array
    missed_curvature: Array
    notes: tuple[str, ...] = ()
    not_in_rows = ("notes",)

    def __len__(self) -> int:
        return len(self.value)

    def verdict_counts(self) -> dict[str, int]:
        """Returns how many points got each verdict, omitting verdicts that did not occur."""
        return _counts(Verdict, self.verdict)

    def reason_counts(self) -> dict[str, int]:
        """Returns how many ends are not at a critical point, by reason."""
        counts = _counts(Reason, self.reason)
        counts.pop("none", None)
        return counts

    def is_critical(self) -> Array:
        """Returns (n,) bool, whether each point was shown to be a critical point."""
        return np.isin(np.asarray(self.verdict), [int(verdict) for verdict in CRITICAL])


def _counts(kinds: type[IntEnum], codes: Array) -> dict[str, int]:
    present, counts = np.unique(np.asarray(codes), return_counts=True)
    return {kinds(code).name.lower(): int(count) for code, count in zip(present, counts, strict=True)}
