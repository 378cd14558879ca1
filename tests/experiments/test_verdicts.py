"""The verdict of a claim follows from its numbers: other numbers, another verdict."""

from importlib import import_module

import numpy as np
import pytest

from jaxgd import Verdict

RNG = np.random.default_rng(0)


def claim(name):
    return import_module(f"experiments.claims.{name}")


def around(middle, num=200):
    return middle + 1e-3 * RNG.standard_normal(num)


def flags(share, num=200):
    return np.arange(num) < share * num


def t0_1(good):
    where = [(noise, width) for noise in (0.0, 0.01) for width in (1.0, 0.3, 0.12)]
    success = {(noise, width): flags(1.0 if width == 1.0 or not good else 0.0) for noise, width in where}
    return success, {place: flags(0.0) for place in where} | {"high": flags(1.0 if good else 0.0)}


def t0_2(good):
    diverged = {name: flags(0.0) for name in ("clipping", "discarding", "restarting")}
    diverged["nothing"] = flags(0.5) if good else flags(0.0)
    tuned = {"nothing": around(0.0), "clipping": around(-1.0 if good else 1.0), "discarding": around(-1.0)}
    steep = {"clipping": around(-1.0), "discarding": around(0.0)}
    return diverged, around(0.3), tuned, steep


def t0_3(good):
    losses = {0.5: 0.0, 4.0: 0.0, 10.0: 1.0 if good else -1.0, 100.0: 2.0}
    return ({(arm, r): around(v) for r, v in losses.items() for arm in ("gradient descent", "annealed noise")},)


def t0_4(good):
    sign = 1.0 if good else -1.0
    cases = claim("t0_4").CASES
    return ({(name, arm): around(sign * (arm == "pull")) for name in cases for arm in ("noise", "pull")},)


def t0_5(good):
    by_start = np.tile(RNG.standard_normal((50, 1)), (1, 4)) * (1.0 if good else 1e-6)
    losses = {
        (name, length): by_start + 0.1 * RNG.standard_normal((50, 4))
        for name in ("network", "bumpy bowl, noise 0.3", "bumpy bowl, noise 3")
        for length in (claim("t0_5").SHORT, claim("t0_5").LONG)
    }
    return losses, {claim("t0_5").SHORT: around(1.0), claim("t0_5").LONG: around(0.0)}


def t0_6(good):
    sizes = (5, 10, 20, 40, 80)
    energies = {n: -1 + (n**-1.0 if good else n**0.5 / 10) * RNG.standard_normal(2000) / 10 for n in sizes}
    arrived = {"none": flags(0.2), "restarts, same step": flags(0.5), "restarts, half the step": flags(0.9)}
    return energies, {1: around(1.0), 3: around(1.0)}, arrived


def t0_7(good):
    lengths, decay = (2, 4, 8, 16, 32), claim("t0_7").DECAY
    norms = {("random", n): np.exp(-(decay if good else 0.1) * n + 0.01 * RNG.standard_normal(200)) for n in lengths}
    norms |= {("near one", n): np.exp(0.01 * RNG.standard_normal(200)) for n in lengths}
    arrived = {("random", n): flags(1.0 if n == 2 else 0.0) for n in lengths}
    return norms, arrived | {("near one", n): flags(1.0) for n in lengths}


def t0_8(good):
    arms = claim("t0_8").ARMS
    value = lambda name: 0.0 if (name == "gradient descent") == good else 1.0
    return ({(place, name): around(value(name)) for place in ("rugged bowl", "quadratic bowl") for name in arms},)


def t3_1(good):
    ticks = {"gradient descent": 1000.0}
    arms = claim("t3_1").ARMS
    value = lambda name, axes: ticks.get(name, 100.0 if good or axes == "rotated" else 2000.0)
    return ({(axes, 1000.0, name): around(value(name, axes)) for axes in ("aligned", "rotated") for name in arms},)


def t3_2(good):
    module = claim("t3_2")
    value = lambda name: 1000.0 if (name == module.ROOT_MEAN) == good else 100.0
    return ({(s, name): around(value(name)) for s in (module.STEEP, module.EVEN) for name in module.ARMS},)


def t3_3(good):
    step, decay = np.arange(3000.0), 1e-6 + np.exp(-np.arange(3000.0))
    calm = np.tile(decay, (120, 1)) * RNG.uniform(0.5, 1, (120, 1))
    middle = 2000 + np.arange(120.0)[:, None]
    burst = calm + (0.2 * np.exp(-(((step[None, :] - middle) / 10) ** 2)) if good else 0.0)
    arms = list(claim("t3_3").ARMS)
    return ({name: burst if name == arms[0] else calm for name in arms},)


def t3_4(good):
    variance = np.geomspace(100.0 if good else 1.0, 1.0, 100)[:, None] * np.ones((1, 50))
    losses = {name: np.tile(around(1.0, 108), (8, 1)) for name in claim("t3_4").ARMS}
    losses["Adam"] = losses["Adam"] + 1.0
    return variance, losses


def t3_5(good):
    paths = {"a": (np.zeros((3, 5, 2)), np.zeros((3, 5, 2)) + (0.0 if good else 1.0))}
    settled = {"of one sign": 1.0, "of alternating signs": 0.1 / 1.9}
    ticks = {name: around(1000.0 if name == "gradient descent" else 100.0) for name in claim("t3_5").ARMS}
    return paths, settled, ticks


def t3_6(good):
    spectra, losses = {}, {}
    for name in claim("t3_6").NETWORKS:
        is_flat = (name != "plain") == good
        values = RNG.uniform(0.9, 1.1, (60, 4, 100))
        spectra[name] = values if is_flat else values * np.append(np.ones(99), 50.0)
        losses[name] = around(0.0 if is_flat else 1.0)
    return spectra, losses


def t4_1(good):
    index = np.repeat([0, 1, 2], [20, 90, 90])
    verdict = np.where(index == 0, int(Verdict.MINIMUM), int(Verdict.SADDLE))
    found = index if good else np.zeros(200)
    regular = np.stack([index, np.full(200, 1e-8), verdict if good else np.zeros(200), found], axis=1)
    return regular, np.array([[0, 0.0, int(Verdict.DEGENERATE), 0]] * 20, float)


def t4_2(good):
    rule = lambda n: 0.5**n if good else 0.3**n
    matrices = {n: RNG.uniform(size=20_000) < rule(n) for n in (1, 2, 3, 4)}
    return matrices, {"field": (1, np.arange(400.0), np.resize([0.0, 1.0], 400))}


def t4_3(good):
    return ({"a, L-BFGS": (100, 200, np.full(200, int(Verdict.SADDLE if good else Verdict.MINIMUM)))},)


def t4_4(good):
    module, dwells = claim("t4_4"), {}
    for noise in module.NOISES:
        spread = module.RATE * noise / ((1 + module.RATE) ** 2 - 1) ** 0.5
        law = (np.log(module.RADIUS / spread) + 0.6351814) / np.log(1 + module.RATE) + 0.5
        dwells[f"noise {noise:g}"] = (around(law if good else 3 * law), flags(1.0))
    dwells |= {f"network, batches of {batch}": (np.full(200, 500), flags(0.0)) for batch in module.BATCHES}
    dwells["network, Gaussian noise 0.0001"] = (np.full(200, 100), flags(1.0))
    return (
        dwells
        | {
            "octopus without noise": (around(800.0), flags(1.0)),
            "octopus with noise 0.01": (around(100.0), flags(1.0)),
        },
    )


def t4_5(good):
    end = 0.1 if good else 1e-5
    way = lambda last: (np.ones((50, 20)), np.geomspace(1, last, 20)[None, :] * np.ones((50, 1)))
    return {name: way(end if "mini" in name else 1e-4) for name in claim("t4_5").ARMS}, np.full(50, 1e-8)


def t4_6(good):
    random = {d: RNG.uniform(size=5000) < 0.15**d for d in (1, 3)} | {101: flags(0.0 if good else 0.5, 5000)}
    way = np.zeros((200, 10, 2), bool)
    way[:100, 2, 0], way[:, 5:, 1] = True, True
    return random, dict.fromkeys((1, 3, 101), way)


def t4_7(good):
    arm = lambda share: {
        "steps": around(500.0),
        "learned": ~flags(share),
        "plateau": flags(share),
        "value": around(2.3),
    }
    share = {0.1: 1.0 if good else 0.0, 1.0: 0.1}
    of = lambda name, scale: share[0.1 if name == "sigmoid" else scale]
    found = {(name, scale): arm(of(name, scale)) for name in claim("t4_7").ACTIVATIONS for scale in (0.1, 1.0)}
    return found, np.full(20, claim("t4_7").REST)


def t4_8(good):
    stuck = {name: flags(0.0 if good else 1.0) for name in claim("t4_8").REMEDIES}
    return (stuck | {"none": flags(1.0), "clipping": flags(1.0), "warm-up": flags(1.0)},)


SUPPORTED = (t0_1, t0_6, t3_2, t3_3, t3_5, t3_6, t4_2, t4_3)
CONDITIONAL = (
    t0_2,
    t0_3,
    t0_4,
    t0_5,
    t0_7,
    t0_8,
    t3_1,
    t3_4,
    t4_1,
    t4_4,
    t4_5,
    t4_6,
    t4_7,
    t4_8,
)


@pytest.mark.parametrize("numbers", SUPPORTED + CONDITIONAL, ids=lambda numbers: numbers.__name__)
def test_the_verdict_turns_with_the_numbers(numbers):
    judge = claim(numbers.__name__).judge
    assert judge(*numbers(True)).verdict in ("supported", "conditional")
    assert judge(*numbers(False)).verdict == "refuted"


@pytest.mark.parametrize("numbers", SUPPORTED + CONDITIONAL, ids=lambda numbers: numbers.__name__)
@pytest.mark.slow
def test_the_figure_is_drawn_from_the_claim_alone(numbers):
    module = claim(numbers.__name__)
    drawn = module.figure(module.judge(*numbers(True)))
    drawn.canvas.draw()
    assert all(panel.get_xlabel() for panel in drawn.axes[-1:])
    assert drawn.get_suptitle()
