"""Random problems whose answer is known by construction: the inertia of a critical point, by Sylvester's law.

With z = Q'(x - s) / d, where Q is a random rotation, d a diagonal scaling and s a shift, and the curved coordinates
u = z + c (B z) * (C z), the value is

    sum_i  a_i u_i^2 / 2  +  b_i u_i  +  q_i u_i^3 / 3  +  r_i u_i^4  +  sum_j (sin(w_j.u) - w_j.u) / 4.

At u = 0 its Hessian in x is congruent to diag(a) where b = 0, whatever the higher terms are. Where a_i = 0, the
direction is flat: r_i or q_i makes the point singular; with neither, u_i = anything is a valley of critical points; and
b_i makes it a slope on which there is no critical point. Where a_i = 0 and q_i b_i > 0, a pair of critical points has
just vanished (by a gradient a thousand times its rounding).

A share of the problems of one size and one setting (scaling, shift, precision) is one landscape, so that hundreds are
judged by one compiled program: the parameter `which` says which of them is meant, with a curvature of its own, +-1,
around every multiple of `SPACING` (small in float32, so that it stays of size one and is well resolved). The ends
stand off the critical point as far as a stop rule on the gradient leaves them, or on purpose far from it.

*When it can be told.* A curvature a is found at a place that rounding of the gradient, eps, leaves uncertain by
eps / a; third derivatives of size one change it by as much there, so that it can be told from zero if a is well above
sqrt(eps). `can_tell` demands far more in float64 (1e-4 of the largest curvature after the best diagonal scaling), a
hundred times as much in float32. Of singular points and valleys the zero is exact and all else is large.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from experiments.verdicts.problems.outcomes import Truth

KINDS = (
    "definite",
    "saddle",
    "ill-conditioned",
    "nearly degenerate",
    "quartic",
    "cubic",
    "valley",
    "slope",
    "vanished pair",
    "far end",
)
DIMS = (1, 2, 3, 5, 8, 13, 20, 40)
GRADIENT = {"float64": 1e-6, "float32": 1e-4}  # that a stop rule leaves
CAN_TELL = {"float64": 1e-4, "float32": 3e-2}  # smallest curvature relative to the largest
SPACING = {"float64": 1.0, "float32": 1 / 32}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """In what coordinates and numbers a problem is posed.

    Attributes:
      dtype: "float64" or "float32".
      decades: how far the units of the coordinates lie apart, as a power of ten.
      shift: distance from the origin, in units of each coordinate.
      value_unit: power of ten of the unit of value.
    """

    dtype: str = "float64"
    decades: float = 0.0
    shift: float = 0.0
    value_unit: float = 0.0

    def __str__(self) -> str:
        apart = f", units 1e{self.decades:g} apart" if self.decades else ""
        far = f", {self.shift:g} from the origin" if self.shift else ""
        unit = f", values of 1e{self.value_unit:g}" if self.value_unit else ""
        return f"{self.dtype}{apart}{far}{unit}"


SETTINGS = (
    Setting(),
    Setting(decades=8),
    Setting(shift=1e6),
    Setting(decades=8, shift=1e3, value_unit=-21),
    Setting(decades=2, shift=1e2, value_unit=12),
    Setting(dtype="float32"),
    Setting(dtype="float32", decades=3, value_unit=6),
    Setting(dtype="float32", shift=30.0),
)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Problems of one size in one setting.

    Attributes:
      setting: in what coordinates they are posed.
      landscape: all of them.
      ends: params with one leading axis of problems.
      kind: (n,) of `KINDS`.
      truth: about each end.
      lowest: (n,) the lowest eigenvalue of the Hessian at the critical point; NaN where units differ.
      can_tell: (n,) bool.
      size: number of parameters.
    """

    setting: Setting
    landscape: jaxgd.Landscape
    ends: dict[str, np.ndarray]
    kind: np.ndarray
    truth: Truth
    lowest: np.ndarray
    can_tell: np.ndarray
    size: int


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """One problem in its own coordinates."""

    a: np.ndarray
    b: np.ndarray
    q: np.ndarray
    r: np.ndarray
    w: np.ndarray
    u: np.ndarray  # the end
    is_critical: bool
    dimension: int = 0


def precision(setting: Setting) -> contextlib.AbstractContextManager[object]:
    """Returns a context with the numbers of a setting, as a person sets them who uses no others."""
    return jax.enable_x64(setting.dtype == "float64")


def batches(num_problems: int, seed: int = 0) -> Iterator[Batch]:
    """Yields about `num_problems` problems, spread over all sizes, settings and kinds."""
    each = max(2 * num_problems // (len(DIMS) * len(SETTINGS)), 1)
    for number, setting in enumerate(SETTINGS):
        for dim in DIMS[number % 2 :: 2]:  # half of the sizes, since compiling is what takes time
            yield batch(dim, setting, each, seed=(seed, number, dim))


def batch(dim: int, setting: Setting, num_problems: int, seed: int | tuple[int, ...] = 0) -> Batch:
    """Returns problems of one size in one setting, the kinds in turn.

    Args:
      dim: coordinates, the one that says which problem is meant left out.
      setting: in what coordinates they are posed.
      num_problems: how many.
      seed: of everything that is drawn.
    """
    rng = np.random.default_rng(seed)
    gradient = GRADIENT[setting.dtype]
    kind = np.array([KINDS[i % len(KINDS)] for i in range(num_problems)])
    rounding = float(np.finfo(setting.dtype).eps) * dim * (1 + setting.shift)
    drawn = [_draw(rng, name, dim, gradient, CAN_TELL[setting.dtype], rounding) for name in kind]
    stacked = {name: np.stack([getattr(one, name) for one in drawn]) for name in ("a", "b", "q", "r", "w", "u")}
    stacked["turn"] = np.stack([np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in kind])
    bend = rng.standard_normal((2, num_problems, dim, dim)) / dim
    stacked |= {"left": 0.2 * bend[0], "right": bend[1]}

    # The mode of `which` keeps a definite point definite.
    negative, positive = np.sum(stacked["a"] < 0, axis=1), np.sum(stacked["a"] > 0, axis=1)
    side = np.where(negative == 0, 1.0, np.where(positive == 0, -1.0, rng.choice([-1.0, 1.0], num_problems)))
    truth = Truth(
        is_critical=np.array([one.is_critical for one in drawn]),
        num_negative=negative + (side < 0),
        num_positive=positive + (side > 0),
        dimension=np.array([one.dimension for one in drawn]),
    )

    unit = 10.0 ** (setting.decades * (rng.permutation(np.linspace(-0.5, 0.5, dim)) if dim > 1 else np.zeros(1)))
    shift = unit * setting.shift * rng.uniform(-1, 1, dim)
    dtype = np.dtype(setting.dtype)
    x = shift + unit * np.einsum("nij,nj->ni", stacked["turn"], _straight(stacked))
    which = SPACING[setting.dtype] * (np.arange(num_problems) - num_problems // 2)
    which = which + gradient * rng.standard_normal(num_problems)
    smallest = np.min(np.where(stacked["a"] == 0, np.inf, np.abs(stacked["a"])), axis=1)
    eigenvalues = np.concatenate([stacked["a"], side[:, None]], axis=1) * 10.0**setting.value_unit
    return Batch(
        setting=setting,
        landscape=_landscape(stacked, side, unit, shift, 10.0**setting.value_unit, dtype),
        ends={"x": x.astype(dtype), "which": which.astype(dtype)},
        kind=kind,
        truth=truth,
        lowest=eigenvalues.min(axis=1) if setting.decades == 0 else np.full(num_problems, np.nan),
        can_tell=smallest >= CAN_TELL[setting.dtype] * np.max(np.abs(stacked["a"]), axis=1, initial=1),
        size=dim + 1,
    )


def _draw(rng: np.random.Generator, kind: str, dim: int, gradient: float, can_tell: float, rounding: float) -> _Drawn:
    """Returns one problem of a kind, and an end beside its critical point or far from it."""
    signs = rng.choice([-1.0, 1.0]) * np.ones(dim) if kind != "saddle" else rng.choice([-1.0, 1.0], dim)
    if kind in ("quartic", "valley", "slope") and rng.uniform() < 0.3:
        signs = rng.choice([-1.0, 1.0], dim)
    a = signs * 10 ** rng.uniform(-0.5, 0.5, dim)
    b, q, r, w = np.zeros(dim), np.zeros(dim), np.zeros(dim), rng.standard_normal((2, dim)) / np.sqrt(dim)

    if kind == "ill-conditioned":
        a = signs * 10 ** rng.uniform(np.log10(can_tell) + 0.5, 0, dim)
    if kind == "nearly degenerate":
        a[0] *= 10 ** rng.uniform(1.5 * np.log10(can_tell), 0)
        q[0] = 1.0
    if kind in ("quartic", "cubic", "valley", "slope", "vanished pair"):
        num_flat = 1 if kind != "valley" else rng.integers(1, min(dim, 3) + 1)
        flat = np.arange(num_flat)
        a[flat], w[:, flat] = 0.0, 0.0
        r[flat] = rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.0) if kind == "quartic" else 0.0
        q[flat] = rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.0) if kind in ("cubic", "vanished pair") else 0.0
    if kind == "slope":
        b[0] = 10 ** rng.uniform(-3, 0)
    if kind == "vanished pair":  # by more than rounding can hide
        b[0] = q[0] * 10 ** rng.uniform(np.log10(1e3 * rounding), np.log10(max(1e-3, 1e4 * rounding)))
    if kind == "far end":
        w[:] = 0.0  # so that there is no other critical point

    # The end: off by the gradient that is left, but within reach of Newton's method.
    reach = np.minimum(gradient / np.maximum(np.abs(a), 1e-300), 0.05 * np.abs(a))
    off = reach * rng.standard_normal(dim)
    if kind == "quartic":
        off[0] = np.cbrt(gradient / (4 * abs(r[0]))) * rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1)
    if kind == "cubic":
        off[0] = np.sqrt(gradient / abs(q[0])) * rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1)
    if kind in ("valley", "slope"):
        off[a == 0] = rng.uniform(-0.3, 0.3, np.sum(a == 0))
    if kind == "far end":
        off = rng.standard_normal(dim)
        off *= np.sqrt(dim) * rng.uniform(0.5, 1) / np.linalg.norm(off)
    is_critical = kind not in ("slope", "vanished pair", "far end")
    dimension = int(np.sum(a == 0)) if kind == "valley" else 0
    return _Drawn(a=a, b=b, q=q, r=r, w=w, u=off, is_critical=is_critical, dimension=dimension)


def _straight(problem: dict[str, np.ndarray]) -> np.ndarray:
    """Returns (n, dim) the z of the ends' u, by fixed-point iteration."""
    z = problem["u"]
    for _ in range(200):
        bent = np.einsum("nij,nj->ni", problem["left"], z) * np.einsum("nij,nj->ni", problem["right"], z)
        z = problem["u"] - bent
    return z


def _landscape(
    problem: dict[str, np.ndarray],
    side: np.ndarray,
    unit: np.ndarray,
    shift: np.ndarray,
    value_unit: float,
    dtype: np.dtype,
) -> jaxgd.Landscape:
    """Returns all problems as one landscape."""
    names = ("a", "b", "q", "r", "w", "turn", "left", "right")
    tables = {name: problem[name].astype(dtype) for name in names}
    side, unit, shift = side.astype(dtype), unit.astype(dtype), shift.astype(dtype)
    num, spacing = len(side), SPACING[dtype.name]

    def value(params: dict[str, jax.Array]) -> jax.Array:
        x, which = params["x"], params["which"]
        nearest = jnp.round(which / spacing)
        number = jnp.clip(nearest.astype(int) + num // 2, 0, num - 1)
        one = {name: jnp.asarray(table)[number] for name, table in tables.items()}
        z = one["turn"].T @ ((x - shift) / unit)
        u = z + (one["left"] @ z) * (one["right"] @ z)
        along = one["w"] @ u
        terms = one["a"] * u**2 / 2 + one["b"] * u + one["q"] * u**3 / 3 + one["r"] * u**4
        own = jnp.asarray(side)[number] * (which - spacing * nearest) ** 2 / 2
        return value_unit * (jnp.sum(terms) + jnp.sum(jnp.sin(along) - along) / 4 + own)

    def sample(key: jax.Array) -> dict[str, jax.Array]:
        key_x, key_which = jax.random.split(key)
        which = spacing * (jax.random.randint(key_which, (), 0, num) - num // 2).astype(dtype)
        return {"x": shift + unit * jax.random.normal(key_x, unit.shape, dtype), "which": which}

    return jaxgd.Landscape(value=value, sample=sample, name="random problems of known inertia")
