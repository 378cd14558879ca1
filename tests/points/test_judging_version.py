"""Same ends in, same verdicts out: what the rules say is pinned for each version of them."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from jaxgd.fingerprint import JUDGING_VERSION

CRITICAL = np.array([-2.90353403, 0.15673126, 2.74680277])  # of Styblinski-Tang in one dimension
WELLS = [[a, b] for a in CRITICAL for b in CRITICAL]
NEAR = [[CRITICAL[0] + 1e-3, CRITICAL[0]], [CRITICAL[1] + 1e-3, CRITICAL[1]], [1.5, 1.5], [4.0, -4.0]]
BENT = np.array([[-6e-3, 1e-6, 0.0], [5e-3, 0.0, 1e-6], [3e-3, -1e-6, 1e-6], [1e-3, 0.0, 0.0]])
IN_A_BENT_VALLEY = np.array([[2497, 2499, 2501, 2504], [2493, 2498, 2503, 2506], [2500, 2500, 2500, 2501]]) / 1e4
RING = [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 0.0], [0.6, 0.8, 0.3], [0.6, 0.7, 0.1]]

MINIMUM, SADDLE, MAXIMUM = ("minimum", 0, 0, 0), ("saddle", 1, 0, 0), ("maximum", 2, 0, 0)
VALLEY, UNDECIDED = ("minimum", 0, 1, 1), ("undecided", -1, -1, -1)
PINNED = {
    5: {
        "wells": [
            *(MINIMUM, SADDLE, MINIMUM, SADDLE, MAXIMUM, SADDLE, MINIMUM, SADDLE, MINIMUM),
            *(MINIMUM, MAXIMUM, UNDECIDED, UNDECIDED),
        ],
        "ring": [VALLEY, VALLEY, ("saddle", 2, 0, 0), UNDECIDED, UNDECIDED],
        "ring and x^4": [("degenerate", 0, 2, -1)] * 2 + [("degenerate", 2, 1, -1), UNDECIDED, UNDECIDED],
        "bent x^4": [("degenerate", 0, 1, -1)] * 4,
        "bent valley": [MINIMUM] * 3,
    }
}


def normal(key):
    return jax.random.normal(key, (3,))


def verdicts(landscape, ends):
    points = jaxgd.classify(landscape, jnp.asarray(ends))
    names = [jaxgd.Verdict(verdict).name.lower() for verdict in points.verdict]
    columns = (points.index, points.num_zero_modes, points.dimension)
    return list(zip(names, *(column.tolist() for column in columns), strict=True))


def test_the_verdicts_of_these_ends_belong_to_this_version_of_the_rules():
    ring = lambda x: (x[0] ** 2 + x[1] ** 2 - 1) ** 2
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (3, 3)))[0]
    bent = lambda z: z[0] ** 4 + jnp.sum((z[1:] + 0.1 * z[0] * jnp.roll(z[1:], 1)) ** 2)
    penalty = lambda x: 1e-5 * jnp.sum((x - 1) ** 2) + (x @ x - 0.25) ** 2
    wide = lambda key: jnp.arange(1.0, 5.0) + jax.random.normal(key, (4,))
    found = {
        "bent valley": verdicts(jaxgd.Landscape(value=penalty, sample=wide), IN_A_BENT_VALLEY),
        "bent x^4": verdicts(jaxgd.Landscape(value=lambda x: bent(turn.T @ x), sample=normal), BENT @ turn.T),
        "wells": verdicts(jaxgd.landscapes.styblinski_tang(dim=2), WELLS + NEAR),
        "ring": verdicts(jaxgd.Landscape(value=lambda x: ring(x) + x[2] ** 2, sample=normal), RING),
        "ring and x^4": verdicts(jaxgd.Landscape(value=lambda x: ring(x) + x[2] ** 4, sample=normal), RING),
    }
    assert found == PINNED[JUDGING_VERSION], "the rules have changed: raise JUDGING_VERSION and pin what they say now"
