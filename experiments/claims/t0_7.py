"""T0.7: Too far away you never arrive: the signal decays with the horizon.

Chains of weights whose product should be one (`deep_linear`): a step of the first weight is felt only through all the
others. For starts N(0, 1) the signal through L weights is a product of L - 1 of them, so its logarithm falls by
(Euler's constant + ln 2) / 2 = 0.63518 a link. Measured: the gradient of the first weight at the start against L, and
the share of gradient descents within 0.1 of the goal (value below 0.005) after 2,000 ticks, best of 12 rates for each
length, chosen on 16 starts of their own. Outside the condition: the same chains with weights that start near one (1 +
N(0, 0.01)), as skip connections do it.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optax

from jaxgd import Stop, experiment, landscapes
from jaxgd.experiment.arms import tuned
from jaxgd.experiment.charts import with_intervals

STOP = Stop(gradient_norm=None, max_steps=2_000, at_event="there")
EVENTS = {"there": lambda weights, value, gradient: value < 0.005}
DECAY = (np.euler_gamma + np.log(2)) / 2
LAWS = {
    "random": lambda depth: lambda key: jax.random.normal(key, (depth,)),
    "near one": lambda depth: lambda key: 1 + 0.1 * jax.random.normal(key, (depth,)),
}


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns gradient norms at the starts and whether descents arrived, for chains of growing length."""
    lengths, num_starts = ([2, 4, 8, 16, 32], 128) if options.quick else ([2, 3, 4, 6, 8, 12, 16, 24, 32, 64], 1024)
    norms, arrived = {}, {}
    for law, sample in LAWS.items():
        for length in lengths:
            chain = replace(landscapes.deep_linear(depth=length), sample=sample(length))
            starts = jax.vmap(chain.sample)(jax.random.split(jax.random.key(1), 20_000))
            norms[law, length] = np.abs(np.asarray(jax.vmap(lambda x, f=chain: f.gradient(x)[0])(starts)))
            arm = tuned(
                chain, optax.sgd, num_starts, rates=np.geomspace(1e-4, 3e1, 12), key=jax.random.key(0), stop=STOP,
                events=EVENTS, cost=lambda ends: ends.event_steps["there"] < 0,
            )  # fmt: skip
            arrived[law, length] = np.asarray(arm.ends.event_steps["there"]) >= 0
    return judge(norms, arrived)


def judge(norms: dict[tuple[str, int], np.ndarray], arrived: dict[tuple[str, int], np.ndarray]) -> experiment.Claim:
    """Returns the claim from gradient norms and flags of arrival, by law of the starts and length."""
    last = max(length for law, length in norms if law == "random")
    rows = []
    for law in LAWS:
        fall = np.log(norms[law, last // 2] / norms[law, last]) / (last - last // 2)
        judged = dict(expected=DECAY, source="-E ln |N(0, 1)|") if law == "random" else dict(is_outside=True)
        rows.append(experiment.mean(f"weights {law}: fall of the log gradient a link", fall, **judged))
        rows.append(experiment.share(f"weights {law}: arrived through {last} links", arrived[law, last], expected=0.1,
                                     relation="at_most", is_outside=law != "random"))  # fmt: skip
    rows.insert(0, experiment.share("weights random: arrived through 2 links", arrived["random", 2], expected=0.9,
                                    relation="at_least"))  # fmt: skip
    data = {
        "arrived": {where: experiment.share("", flags) for where, flags in arrived.items()},
        "norms": {where: float(np.median(values)) for where, values in norms.items()},
    }
    return experiment.Claim(
        name="T0.7", rows=rows, data=data,
        claim="The signal decays exponentially with the horizon; too far, none arrive.",
        condition="the links are random; links that start near one carry the signal on",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns gradient size and success against the length of the chain."""
    drawn, (size, success) = experiment.panels(
        "Through a long chain of random links no signal arrives; near one it does"
    )
    for law in LAWS:
        at = sorted(length for kind, length in claim.data["norms"] if kind == law)
        size.plot(at, [claim.data["norms"][law, length] for length in at], "o-", label=f"weights {law}")
        with_intervals(success, at, [claim.data["arrived"][law, length] for length in at], f"weights {law}")
    size.plot(at, np.exp(-DECAY * (np.array(at) - 2.0)), "k--", label="exp(-0.635 L)")
    size.set(yscale="log", xlabel="links L", ylabel="median gradient of the first weight")
    success.set(xlabel="links L", ylabel="share that arrives", ylim=(-0.03, 1.03))
    size.legend()
    return drawn
