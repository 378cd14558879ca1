import numpy as np

from jaxgd import landscapes

PUBLISHED = [
    (-0.558224, 1.441726, -146.699517),
    (0.623499, 0.028038, -108.166724),
    (-0.050011, 0.466694, -80.767818),
    (0.212487, 0.292988, -72.248940),
    (-0.822002, 0.624313, -40.664844),
]


def test_known_points_match_the_published_table():
    points = landscapes.mueller_brown().facts.points
    np.testing.assert_allclose([(*point.params, point.value) for point in points], PUBLISHED, atol=1.01e-6)
    assert [point.index for point in points] == [0, 0, 0, 1, 1]
