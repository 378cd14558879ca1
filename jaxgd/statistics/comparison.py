r"""Which optimizer does better, judged on the same starts.

Descents from one start form a pair, so effects of the start cancel. Of two optimizers' successes only the discordant
pairs are informative, b where only the first succeeded and c where only the second did; of their costs, the signs and
ranks of the differences. Cost is counted in ticks, inf where a descent did not succeed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its subpackages are imported on first use

from jaxgd.base import InputValueError
from jaxgd.statistics.inputs import as_flags, as_numbers
from jaxgd.statistics.proportions import Estimate, Interval, proportion_interval


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Whether two optimizers differ on the same starts.

    Attributes:
      p_value: probability of so lopsided a result if neither were better; 1 where all pairs are ties.
      num_first: pairs that favour the first.
      num_second: pairs that favour the second.
      num_ties: pairs that favour neither.
      message: empty, or what the data cannot say.
    """

    p_value: float
    num_first: int
    num_second: int
    num_ties: int
    message: str = ""


def mcnemar(success_first: Any, success_second: Any) -> PairedTest:
    r"""Returns McNemar's exact test of whether two optimizers succeed equally often from the same starts.

    $$ b \mid b + c \ \sim\ \mathrm{Binomial}(b + c,\ 1/2). $$

    Args:
      success_first: (n,) bool, whether the first optimizer got there from each start.
      success_second: (n,) bool, the second, in the same order of starts.

    Returns:
      PairedTest; a success of one alone favours that one.

    Raises:
      InputValueError: shapes differ.

    Example:
      >>> mcnemar([True] * 9 + [False], [True] + [False] * 9).p_value  # 8 against 0: 2 / 2**8
      0.0078125
    """
    first, second = _pair_of_flags(success_first, success_second)
    return _sign(np.sum(first & ~second), np.sum(second & ~first), first.size)


def sign_test(cost_first: Any, cost_second: Any) -> PairedTest:
    """Returns the exact sign test of whether either optimizer is cheaper equally often.

    It uses only which one was cheaper, so failed descents (inf) are included; two of them are a tie.

    Args:
      cost_first: (n,) cost from each start, for example ticks to a value; inf where it was not reached.
      cost_second: (n,) the same for the second optimizer, in the same order of starts.

    Returns:
      PairedTest; the cheaper one is favoured.

    Raises:
      InputValueError: shapes differ, or a cost is NaN.

    Example:
      >>> sign_test([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, np.inf, 6]).p_value  # 5 against 0: 2 / 2**5
      0.0625
    """
    first, second = _pair_of_costs(cost_first, cost_second)
    return _sign(np.sum(first < second), np.sum(second < first), first.size)


def signed_rank(cost_first: Any, cost_second: Any) -> PairedTest:
    """Returns Wilcoxon's signed-rank test of whether the differences of cost are symmetric about zero.

    It has more power than `sign_test` if differences have similar scales: for ticks, pass their logarithms. A failed
    descent has the largest rank. Ties are dropped (`scipy.stats.wilcoxon`, exact up to 50 pairs without equal
    differences).

    Args:
      cost_first: (n,) cost from each start; inf where it was not reached.
      cost_second: (n,) the same for the second optimizer, in the same order of starts.

    Returns:
      PairedTest; the cheaper one is favoured.

    Raises:
      InputValueError: shapes differ, or a cost is NaN.

    Example:
      >>> signed_rank([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 12]).p_value  # all six ranks on one side: 2 / 2**6
      0.03125
    """
    first, second = _pair_of_costs(cost_first, cost_second)
    signs = _sign(np.sum(first < second), np.sum(second < first), first.size)
    if signs.num_ties == first.size:
        return signs
    differ = first != second
    with np.errstate(invalid="ignore"):
        difference = first[differ] - second[differ]
    beyond = 2 * np.max(np.abs(difference[np.isfinite(difference)]), initial=1.0)
    difference = np.clip(difference, -beyond, beyond)
    result = scipy.stats.wilcoxon(difference)
    return PairedTest(
        p_value=float(result.pvalue),
        num_first=signs.num_first,
        num_second=signs.num_second,
        num_ties=signs.num_ties,
    )


def paired_difference(success_first: Any, success_second: Any, confidence: float = 0.95) -> Estimate:
    r"""Returns the success rate of the first optimizer minus the second's, with limits, on the same starts.

    Newcombe's hybrid score interval for pairs (Statistics in Medicine 17, 2635, 1998, method 10), from
    Wilson's limits l, u of both rates p and the correlation phi of successes:

    $$ d - \sqrt{(p_1 - l_1)^2 - 2 \phi (p_1 - l_1)(u_2 - p_2) + (u_2 - p_2)^2}, $$

    and the mirror image above. Unlike the normal interval it has a width when all pairs agree.

    Args:
      success_first: (n,) bool, n >= 1, whether the first optimizer got there from each start.
      success_second: (n,) bool, the second, in the same order of starts.
      confidence: in (0, 1).

    Returns:
      Estimate in [-1, 1].

    Raises:
      InputValueError: shapes differ, or no pairs.

    Example:
      >>> first = np.repeat([True, True, False, False], [1, 97, 0, 2])
      >>> second = np.repeat([True, False, True, False], [1, 97, 0, 2])
      >>> d = paired_difference(first, second)
      >>> print(f"{d.value:.4f} in [{d.low:.4f}, {d.high:.4f}]")
      0.9700 in [0.9031, 0.9867]
    """
    first, second = _pair_of_flags(success_first, success_second)
    n = first.size
    if n == 0:
        raise InputValueError("`success_first` is empty: a difference needs at least one pair.")
    both, neither = int(np.sum(first & second)), int(np.sum(~first & ~second))
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    excess = float(both * neither - only_first * only_second)
    if excess > 0:  # Newcombe's continuity correction of a positive correlation
        excess = max(excess - n / 2, 0.0)
    phi = excess / np.sqrt(margins) if margins else 0.0
    p = np.array([both + only_first, both + only_second]) / n
    low, high = proportion_interval(np.array([first.sum(), second.sum()]), n, confidence, "wilson")
    below, above = p - low, high - p
    reach = lambda a, b: float(np.sqrt(max(a**2 - 2 * phi * a * b + b**2, 0.0)))
    value = float(p[0] - p[1])
    return Estimate(value, value - reach(below[0], above[1]), value + reach(above[0], below[1]))


@dataclass(frozen=True, kw_only=True)
class Profile:
    """For each solver the share of problems solved within a budget.

    Attributes:
      budget: (k,) ascending, the argument of the share.
      share: (k, num_solvers) share of problems solved within it.
      low: (k, num_solvers) lower limits, problems taken as a random sample.
      high: (k, num_solvers) upper limits.
    """

    budget: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def performance_profile(cost: Any, ratios: Any = None, confidence: float = 0.95) -> Profile:
    r"""Returns the share of problems that each solver solves within a factor of the best solver's cost.

    $$ \rho_s(\theta) = \frac{1}{P} \#\{p : c_{ps} \le \theta \min_{s'} c_{ps'}\} $$

    (Dolan and More, Mathematical Programming 91, 201, 2002). At 1 it says how often a solver is the fastest,
    at the right end how often it succeeds at all. With more than two solvers the order of two of them may
    depend on the others (Gould and Scott, ACM TOMS 43, 15, 2016).

    Args:
      cost: (num_problems, num_solvers) positive, inf where not solved. A problem nobody solved counts against
        all.
      ratios: (k,) ascending, >= 1; None takes all ratios that occur.
      confidence: in (0, 1).

    Returns:
      Profile with `ratios` as budget.

    Raises:
      InputValueError: no problems, costs that are not positive, or ratios that do not ascend from 1.

    Example:
      >>> print(performance_profile([[1, 2], [4, 1], [3, np.inf]], [1, 2, 4]).share)
      [[0.66666667 0.33333333]
       [0.66666667 0.66666667]
       [1.         0.66666667]]
    """
    cost = _as_costs(cost)
    best = cost.min(axis=1, keepdims=True)
    ratio = np.where(np.isfinite(cost), cost / np.where(np.isfinite(best), best, 1.0), np.inf)
    occurring = np.unique(np.append(ratio[np.isfinite(ratio)], 1.0))
    ratios = occurring if ratios is None else _as_budget("ratios", ratios, 1.0)
    return _profile(ratio, ratios, confidence)


def data_profile(cost: Any, dims: Any, budgets: Any = None, confidence: float = 0.95) -> Profile:
    r"""Returns the share of problems that each solver solves within a budget of gradients, per dimension.

    $$ d_s(\kappa) = \frac{1}{P} \#\{p : c_{ps} \le \kappa (n_p + 1)\} $$

    (More and Wild, SIAM J. Optimization 20, 172, 2009), with c in evaluations and n_p the dimension. Unlike a
    performance profile it does not depend on the other solvers.

    Args:
      cost: (num_problems, num_solvers) positive, inf where not solved.
      dims: (num_problems,) or one number, dimension of each problem; 0 gives budgets in plain evaluations.
      budgets: (k,) ascending, >= 0, in units of dims + 1 evaluations; None takes all that occur.
      confidence: in (0, 1).

    Returns:
      Profile.

    Raises:
      InputValueError: no problems, costs that are not positive, or budgets that do not ascend.

    Example:
      >>> print(data_profile([[30, 60], [110, np.inf]], dims=[2, 10], budgets=[10, 20]).share)
      [[1.  0. ]
       [1.  0.5]]
    """
    cost = _as_costs(cost)
    dims = np.broadcast_to(np.asarray(dims, float), cost.shape[:1])
    if not np.all(np.isfinite(dims) & (dims >= 0)):
        raise InputValueError("`dims` must be finite and not negative.")
    scaled = cost / (dims[:, None] + 1)
    budgets = np.unique(scaled[np.isfinite(scaled)]) if budgets is None else _as_budget("budgets", budgets, 0.0)
    return _profile(scaled, budgets, confidence)


# ------------------------------------------------------------------------------------------------- helpers


def _sign(num_first: Any, num_second: Any, num_pairs: int) -> PairedTest:
    decided = int(num_first + num_second)
    return PairedTest(
        p_value=min(1.0, 2 * float(scipy.special.bdtr(min(num_first, num_second), decided, 0.5))),
        num_first=int(num_first),
        num_second=int(num_second),
        num_ties=int(num_pairs - decided),
        message="" if decided else f"All {num_pairs} pairs are ties: nothing to compare.",
    )


def _pair_of_flags(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    shape = np.shape(first)
    if len(shape) != 1:
        raise InputValueError(f"`success_first` must have one axis, got shape {shape}.")
    return as_flags("success_first", first, shape), as_flags("success_second", second, shape)


def _pair_of_costs(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    first, second = as_numbers("cost_first", first), as_numbers("cost_second", second)
    if first.shape != second.shape:
        raise InputValueError(f"`cost_first` {first.shape} and `cost_second` {second.shape} differ in shape.")
    return first, second


def _as_costs(cost: Any) -> np.ndarray:
    cost = as_numbers("cost", cost, ndim=2)
    if cost.size == 0 or not np.all(cost > 0):
        raise InputValueError("`cost` must hold at least one problem and solver, and positive numbers only.")
    return cost


def _as_budget(name: str, values: Any, least: float) -> np.ndarray:
    budget = as_numbers(name, values)
    if np.any(budget < least) or not np.all(np.diff(budget) > 0):
        raise InputValueError(f"`{name}` must ascend and be at least {least:g}.")
    return budget


def _profile(cost: np.ndarray, budget: np.ndarray, confidence: float) -> Profile:
    solved = np.stack([np.searchsorted(np.sort(column), budget, side="right") for column in cost.T], axis=1)
    solved = np.minimum(solved, np.isfinite(cost).sum(axis=0))
    limits: Interval = proportion_interval(solved, cost.shape[0], confidence)
    return Profile(budget=budget, share=solved / cost.shape[0], low=limits.low, high=limits.high)
