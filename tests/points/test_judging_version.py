"""Same ends in, same verdicts out: what the rules say is pinned for each version of them."""

import jax.numpy as jnp
import numpy as np

import jaxgd
from jaxgd.fingerprint import JUDGING_VERSION

CRITICAL = np.array([-2.90353403, 0.15673126, 2.74680277])  # of Styblinski-Tang in one dimension
WELLS = [[a, b] for a in CRITICAL for b in CRITICAL]
NEAR = [[CRITICAL[0] + 1e-3, CRITICAL[0]], [CRITICAL[1] + 1e-3, CRITICAL[1]], [1.5, 1.5], [4.0, -4.0]]
MIXED = [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 0.0], [0.6, 0.8, 0.3], [0.6, 0.7, 0.1]]

PINNED = {
}


def verdicts(landscape, ends):
    points = jaxgd.classify(landscape, jnp.asarray(ends))
    names = [jaxgd.Verdict(verdict).name.lower() for verdict in points.verdict]
    return list(zip(names, points.index.tolist(), points.num_zero_modes.tolist(), strict=True))


def test_the_verdicts_of_these_ends_belong_to_this_version_of_the_rules():
    ring = jaxgd.Landscape(  # a valley around a maximum, and a coordinate that is singular
        value=lambda x: (x[0] ** 2 + x[1] ** 2 - 1) ** 2 + x[2] ** 4, sample=lambda key: jnp.ones(3), name="ring"
    )
    found = verdicts(jaxgd.landscapes.styblinski_tang(dim=2), WELLS + NEAR), verdicts(ring, MIXED)
    assert found == PINNED[JUDGING_VERSION], "the rules have changed: raise JUDGING_VERSION and pin what they say now"
