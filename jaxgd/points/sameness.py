"""Which points are the same: those that lie within each other's own errors, in value and in every invariant.

Every point brings its own error of each invariant, so that neither units nor the precision of other points matter. Rows
are sorted along one random direction after the other and cut where the errors leave a gap; what stays together is
compared row by row with the best placed of them. Points that are the same never part, and in general position
distinct ones do at the first direction, so that the work is that of sorting.
"""

import math

import numpy as np

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # splitmix64


def group(
    kind: np.ndarray,
    value: np.ndarray,
    value_error: np.ndarray,
    invariants: np.ndarray,
    error: np.ndarray,
    quality: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (entry of every point; representative of every entry), lowest value first.

    Args:
      kind: (n, k) whole numbers; points that differ in any of them are distinct.
      value: (n,)
      value_error: (n,) of each.
      invariants: (n, m)
      error: (n, m) of each.
      quality: (n,) of the points of one entry the one with the smallest represents it.
    """
    rows = np.concatenate([value[:, None], invariants], axis=1).astype(np.float64)
    errors = np.concatenate([value_error[:, None], error], axis=1).astype(np.float64)
    entry = np.full(len(value), -1, np.int64)
    leaders: list[int] = []
    scale = np.max(errors, axis=0, initial=0) + (np.ptp(rows, axis=0) if len(rows) else 0)
    scale = np.where((scale > 1e-200) & np.isfinite(scale), scale, 1)

    draw = np.random.default_rng(0)
    waiting = _alike(kind)
    while waiting:
        # Cut all sets along one direction.
        direction = draw.standard_normal(rows.shape[1]) / scale
        place, reach = rows @ direction, errors @ np.abs(direction)
        runs = [run for members in waiting for run in _runs(members, place, reach)]
        alone = np.asarray([run[0] for run in runs if len(run) == 1], np.int64)
        entry[alone] = len(leaders) + np.arange(len(alone))
        leaders.extend(alone.tolist())

        # Compare what stays together with the best placed of it.
        waiting = []
        for run in runs:
            if len(run) == 1:
                continue
            best = run[np.argmin(quality[run])]
            is_same = np.all(np.abs(rows[run] - rows[best]) <= errors[run] + errors[best], axis=1) | (run == best)
            entry[run[is_same]] = len(leaders)
            leaders.append(int(best))
            if not is_same.all():
                waiting.append(run[~is_same])
    return _lowest_first(entry, np.asarray(leaders, np.int64), value)


def _alike(kind: np.ndarray) -> list[np.ndarray]:
    """Returns the sets of points that agree in all whole numbers."""
    if not len(kind):
        return []
    _, inverse = np.unique(kind, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1)


def _runs(members: np.ndarray, place: np.ndarray, reach: np.ndarray) -> list[np.ndarray]:
    """Returns the members in runs whose neighbours are within reach of each other along a line."""
    order = members[np.argsort(place[members], kind="stable")]
    farthest = np.maximum.accumulate(place[order] + reach[order])
    gaps = place[order][1:] - reach[order][1:] > farthest[:-1]
    return np.split(order, np.flatnonzero(gaps) + 1)


def _lowest_first(entry: np.ndarray, leaders: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(value[leaders], kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[entry] if len(leaders) else entry, leaders[order]


def equal_rows(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (the first of each kind of equal rows, which of these each row is); bytes are compared, behind a hash.

    Args:
      columns: arrays with one leading axis of rows, at least one of them.
    """
    number = len(columns[0])
    flat = [np.ascontiguousarray(column.reshape(number, math.prod(column.shape[1:]))) for column in columns]
    octets = np.concatenate([rows.view(np.uint8).reshape(number, -1) for rows in flat], axis=1)
    octets = np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8)))
    words = octets.view(np.uint64)
    _, first, inverse = np.unique(hashed(words), return_index=True, return_inverse=True)

    # Rows of equal hash that differ are told apart as they stand.
    if np.array_equal(words[first[inverse]], words):
        return first, inverse
    whole = octets.view(np.dtype((np.void, octets.shape[1]))).reshape(-1)
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    return first, inverse


def hashed(words: np.ndarray) -> np.ndarray:
    """Returns (n,) hashes of (n, k) words of 64 bits; each word is mixed before it counts, so that no sum cancels."""
    total = np.zeros(len(words), np.uint64)
    with np.errstate(over="ignore"):
        for column in range(words.shape[1]):
            mixed = (words[:, column] ^ total) + _MIX[0]
            mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
            mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
            total = mixed ^ (mixed >> np.uint64(31))
    return total
