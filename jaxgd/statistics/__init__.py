"""Every number with its uncertainty.

NumPy arrays in, frozen records of arrays out; it can be used on any data. Coverage of every interval is
tested by simulation.
"""

from jaxgd.statistics.comparison import (
    PairedTest,
    Profile,
    data_profile,
    mcnemar,
    paired_difference,
    performance_profile,
    sign_test,
    signed_rank,
)
from jaxgd.statistics.escape_laws import (
    EscapeFit,
    fit_escape,
    growth_factor,
)
from jaxgd.statistics.instances import (
    ShareOverInstances,
    share_over_instances,
)
from jaxgd.statistics.proportions import (
    Estimate,
    Interval,
    WeightedShares,
    proportion_interval,
    simultaneous_intervals,
    weighted_shares,
)
from jaxgd.statistics.scaling import (
    LawFit,
    Scaling,
    compare_laws,
    log_grid,
    paired_design,
)
from jaxgd.statistics.spells import (
    Spells,
    index_spells,
    time_by_index,
)
from jaxgd.statistics.survival import (
    Hazard,
    LogRank,
    RestrictedMean,
    SurvivalCurve,
    hazard_rate,
    log_rank,
    restricted_mean,
    survival_curve,
)
from jaxgd.statistics.unseen import (
    CoverageStop,
    Extrapolation,
    Unseen,
    UnseenNumber,
    coverage_stop,
    extrapolation,
    unseen_mass,
    unseen_number,
)

__all__ = [
    "CoverageStop",
    "EscapeFit",
    "Estimate",
    "Extrapolation",
    "Hazard",
    "Interval",
    "LawFit",
    "LogRank",
    "PairedTest",
    "Profile",
    "RestrictedMean",
    "Scaling",
    "ShareOverInstances",
    "Spells",
    "SurvivalCurve",
    "Unseen",
    "UnseenNumber",
    "WeightedShares",
    "compare_laws",
    "coverage_stop",
    "data_profile",
    "extrapolation",
    "fit_escape",
    "growth_factor",
    "hazard_rate",
    "index_spells",
    "log_grid",
    "log_rank",
    "mcnemar",
    "paired_design",
    "paired_difference",
    "performance_profile",
    "proportion_interval",
    "restricted_mean",
    "share_over_instances",
    "sign_test",
    "signed_rank",
    "simultaneous_intervals",
    "survival_curve",
    "time_by_index",
    "unseen_mass",
    "unseen_number",
    "weighted_shares",
]
