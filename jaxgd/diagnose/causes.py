"""From findings and probes to a cause, by rules in a fixed order: the smallest remedy that restores descent.

A gain counts if it exceeds what the draws explain, a thousandth of the spread of the loss over examples, and a share of
the best gain of any remedy. Rules ask for the finding as well as for the probe: clipping has to be active, units
silent, the gradient as good as zero, and so on. Where no rule holds, the answer is "undecided".
"""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from jaxgd.diagnose.findings import Curvature, Observations
from jaxgd.diagnose.probe import RemedyOutcome

TOLERANCE = 1e-3
"""Of the spread of the loss: gains below do not count."""

_DESCENDING = 0.05  # of the best gain beyond going on, by which the loss still falls
_RESTORES = 0.3  # of the best gain, that a remedy makes beyond going on
_MOST = 0.5  # of the units or coordinates
_NEGATIVE = 1e-5  # of the largest curvature: deeper is a direction of escape


class Cause(StrEnum):
    """Why the loss has stopped falling, or that it has not."""

    DESCENDING = "descending"
    MINIMUM = "minimum"
    SADDLE = "saddle"
    PLATEAU = "plateau"
    DEAD_UNITS = "dead units"
    SATURATED_UNITS = "saturated units"
    STEP_TOO_LARGE = "step too large"
    STEP_TOO_SMALL = "step too small"
    NOISE = "gradient noise"
    CONDITIONING = "bad conditioning"
    STALE_STATE = "stale optimizer state"
    CLIPPED = "clipped gradients"
    DIVERGED = "diverged"
    UNDECIDED = "undecided"


def cause_of(facts: Observations, outcomes: Mapping[str, RemedyOutcome]) -> tuple[Cause, RemedyOutcome | None, str]:
    """Returns the cause, the outcome of the smallest remedy, and why it is undecided if it is."""
    going_on = outcomes["as before"]
    tolerance = TOLERANCE * facts.scale
    # Other weights may reach a lower loss from anywhere, a minimum included: they are asked where nothing else helps.
    nearby = [outcome for outcome in outcomes.values() if outcome.cause != Cause.PLATEAU]
    best = max(outcome.gain - outcome.error for outcome in nearby)
    # What curvature and all examples together could reach is no measure for a descent with one thing changed.
    best_own = max(outcome.gain - outcome.error for outcome in nearby if outcome.cause != Cause.CONDITIONING)

    def helps(cause: Cause) -> RemedyOutcome | None:
        least = max(tolerance, _RESTORES * (best if cause == Cause.CONDITIONING else best_own))
        those = [
            one for one in outcomes.values() if one.cause == cause and one.over_continuing - one.over_error > least
        ]
        # The remedy that gains about as much as any of its kind and changes least comes first in the list.
        most = max((one.gain for one in those), default=0.0)
        return next((one for one in those if one.gain >= 0.7 * most and one.gain - one.error > 0), None)

    # From the point itself a bouncing descent may seem to fall: what counts is how it goes on, and what is possible.
    possible = max(outcome.over_continuing - outcome.over_error for outcome in nearby)
    if going_on.progress - going_on.progress_error > max(_DESCENDING * possible, 0.1 * tolerance):
        return Cause.DESCENDING, None, ""
    if np.isfinite(facts.response.clip_norm) and (found := helps(Cause.CLIPPED)):
        return Cause.CLIPPED, found, ""
    if found := helps(Cause.DEAD_UNITS):
        return _silent(facts), found, ""

    smaller, larger_batch = helps(Cause.STEP_TOO_LARGE), helps(Cause.NOISE)
    if smaller or larger_batch:
        if larger_batch and (smaller is None or larger_batch.gain > _RESTORES * smaller.gain):
            return Cause.NOISE, larger_batch, ""
        return Cause.STEP_TOO_LARGE, smaller, ""
    if found := helps(Cause.STALE_STATE):
        return Cause.STALE_STATE, found, ""

    curvature = facts.curvature
    if facts.is_at_rest and curvature is not None:
        is_negative = curvature.lowest[2] < 0 and curvature.lowest[0] < -_NEGATIVE * curvature.norm
        if is_negative:
            return Cause.SADDLE, helps(Cause.SADDLE), ""
        if curvature.lowest[1] <= _NEGATIVE * curvature.norm and (found := helps(Cause.PLATEAU)):
            return Cause.PLATEAU, found, ""
        if best <= tolerance:
            return Cause.MINIMUM, None, _flat(curvature)
    if found := helps(Cause.STEP_TOO_SMALL):
        return Cause.STEP_TOO_SMALL, found, ""
    if found := helps(Cause.CONDITIONING):
        return Cause.CONDITIONING, found, ""
    if best <= tolerance:
        return Cause.UNDECIDED, None, "no remedy gains anything, but the gradient is not as good as zero"
    return Cause.UNDECIDED, None, "remedies gain something, but none that its finding explains"


def _flat(curvature: Curvature) -> str:
    """Returns what is to be said of a minimum that curvature alone does not show."""
    if curvature.lowest[1] > 0:
        return ""
    return "along some directions it is flat to rounding, and shaken copies found nothing lower there"


def _silent(facts: Observations) -> Cause:
    """Returns of which kind most silent units are."""
    dead = sum(layer.num_silent for layer in facts.layers if layer.kind == "relu")
    return Cause.SATURATED_UNITS if 2 * dead < facts.num_silent[0] else Cause.DEAD_UNITS


def is_mostly_silent(facts: Observations) -> bool:
    """Whether in some leaf, or in some layer, most has no influence: then it is worth to draw it anew."""
    layers = any(layer.num_silent > _MOST * layer.num_units for layer in facts.layers)
    return layers and any(share > _MOST for share in facts.leaf_shares.values())
