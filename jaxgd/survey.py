"""The whole way of the data in one call: descents, verdicts, catalogue.

The result is one record: what was asked, where the descents ended, what the ends are, which of them are the same, and
what it cost. `Survey.to_json` is the form in which scripts read it.
"""

import math
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import optax

from jaxgd.base import Cost, Ends, Key, Landscape, Points, Stop, Verdict
from jaxgd.descend import concatenate, stream
from jaxgd.names import find_optimizer
from jaxgd.points import Catalogue, catalogue, classify


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Where descents of one landscape ended, judged and counted.

    Attributes:
      landscape: name of the landscape.
      optimizer: name of the optimizer.
      stop: the stop rule.
      ends: where descents ended, in order of start number.
      points: what each end is, in the same order.
      catalogue: the distinct critical points.
    """

    landscape: str
    optimizer: str
    stop: Stop
    ends: Ends
    points: Points
    catalogue: Catalogue

    @property
    def cost(self) -> Cost:
        """What the descents cost."""
        return self.ends.cost

    def __str__(self) -> str:
        stopped = ", ".join(f"{count:,} {name}" for name, count in self.ends.status_counts().items())
        interrupted = (
            f" Interrupted: {self.ends.num_starts:,} were asked for." if len(self.ends) < self.ends.num_starts else ""
        )
        cost = self.cost
        return (
            f"{self.landscape}, {len(self.ends):,} descents by {self.optimizer}: {stopped}.{interrupted}\n\n"
            f"{self.catalogue}\n\n"
            f"Cost: {cost.ticks:,} gradient evaluations in {cost.seconds_run:.1f} s"
            f" (+ {cost.seconds_compile:.1f} s to compile), {100 * cost.occupancy:.0f}% of those paid for;"
            f" {cost.num_devices} x {cost.num_lanes} lanes, {cost.layout}."
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the survey as one JSON object; what is not finite becomes null."""
        entries, unseen = self.catalogue, self.catalogue.unseen
        missing = dict.fromkeys(("mass", "mass_low", "mass_high", "num_low"))
        return _finite(
            {
                "landscape": self.landscape,
                "optimizer": self.optimizer,
                "num_starts": self.ends.num_starts,
                "num_descents": len(self.ends),
                "dtype": str(np.asarray(self.ends.value).dtype),
                "stop": {"gradient_norm": self.stop.gradient_norm, "max_steps": self.stop.max_steps},
                "status": self.ends.status_counts(),
                "verdicts": self.points.verdict_counts(),
                "points": [
                    {
                        "value": float(entries.value[i]),
                        "verdict": Verdict(entries.verdict[i]).name.lower(),
                        "index": int(entries.index[i]),
                        "zero_modes": int(entries.num_zero_modes[i]),
                        "lowest_eigenvalue": float(entries.lowest_eigenvalue[i]),
                        "hits": int(entries.hits[i]),
                        "weight": float(entries.weight[i]),
                        "weight_low": float(entries.weight_low[i]),
                        "weight_high": float(entries.weight_high[i]),
                    }
                    for i in range(len(entries))
                ],
                "confidence": entries.confidence,
                "unseen": {name: getattr(unseen, name) for name in missing} if unseen else missing,
                "cost": {
                    "ticks": self.cost.ticks,
                    "seconds_compile": self.cost.seconds_compile,
                    "seconds_run": self.cost.seconds_run,
                    "occupancy": self.cost.occupancy,
                    "layout": self.cost.layout,
                    "num_lanes": self.cost.num_lanes,
                    "num_devices": self.cost.num_devices,
                },
                "versions": versions(),
            }
        )


def survey(
    landscape: Landscape,
    optimizer: optax.GradientTransformation | str | None = None,
    num_starts: int = 1000,
    *,
    key: Key,
    stop: Stop | None = None,
    confidence: float = 0.95,
    on_part: Callable[[Ends], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **engine: Any,
) -> Survey:
    """Returns where descents from random starts end, what those points are, and how sure that is.

    Args:
      landscape: what to survey.
      optimizer: a transformation, its written name, or None for the landscape's default.
      num_starts: how many descents (>= 1).
      key: a key such as `jax.random.key(0)`.
      stop: when a lane stops; the landscape's default if None.
      confidence: level of all intervals, in (0, 1).
      on_part: called with each part of the ends as it comes in, for example to write it down.
      progress: called as progress(phase, done, total).
      **engine: further arguments of `descend`: `starts`, `is_noisy`, `layout`, `num_lanes`, `num_devices`.

    Example:
      >>> import jax, jaxgd
      >>> found = jaxgd.survey(jaxgd.landscapes.x_plus_sin_x(), num_starts=8, key=jax.random.key(0))
      >>> found.points.verdict_counts()
      {'degenerate': 8}
    """
    name = (
        optimizer if isinstance(optimizer, str) else landscape.default_optimizer if optimizer is None else "optimizer"
    )
    transformation = find_optimizer(name) if optimizer is None or isinstance(optimizer, str) else optimizer
    stop = stop or landscape.default_stop
    report = progress or (lambda phase, done, total: None)
    parts = []
    for part in stream(
        landscape, transformation, num_starts, key=key, stop=stop, keep=("params",),
        progress=lambda done, total, ticks: report("descending", done, total), **engine,
    ):  # fmt: skip
        if on_part is not None:
            on_part(part)
        parts.append(part)
    ends = concatenate(parts)
    points = classify(landscape, ends, progress=lambda done, total: report("judging", done, total))
    return Survey(
        landscape=landscape.name,
        optimizer=name,
        stop=stop,
        ends=ends,
        points=points,
        catalogue=catalogue(landscape, points, confidence=confidence),
    )


def versions() -> dict[str, str]:
    """Returns the versions of everything that a number may depend on."""
    packages = ("jaxgd", "jax", "jaxlib", "optax", "numpy", "scipy")
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "platform": f"{sys.platform} {platform.machine()} {jax.default_backend()}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except Exception:
        return "not installed"


def _finite(tree: Any) -> Any:
    """Returns a JSON tree with every number that is not finite replaced by None."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
