"""T0.2: Clip or discard huge gradients, and stop at once when it turns to NaN.

Stochastic gradient descent on the Styblinski-Tang function in ten dimensions, whose walls grow like x^4, with noise of
heavy tails on the gradient (symmetric stable, index 1.2, scale 10): now and then a gradient is huge. Arms: nothing,
clipping the gradient to a norm of 300, discarding gradients beyond it, and restarting with half the step once a
descent has left the finite range; all at the rate that is best for clipping (of 12, by mean final value on 16 starts
of their own), and each also at its own best rate. 1,000 ticks, the same starts and noise. Halting: a descent that left
the finite range stops there; the ticks it saves are those to the limit. Outside the condition: no noise, but starts
twice as wide, where the huge gradient is the wall itself and to discard it is to stand still.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optax

from jaxgd import Restart, Status, Stop, descend, experiment, landscapes, transforms
from jaxgd.experiment.arms import tuned, values_at
from jaxgd.experiment.charts import forest

DIM, LIMIT, MAX_STEPS = 10, 300.0, 1_000
HILL = landscapes.styblinski_tang(dim=DIM)
STEEP = replace(HILL, sample=lambda key: 2 * HILL.sample(key))
STOP = Stop(gradient_norm=None, max_steps=MAX_STEPS)
GUARDS = {
    "nothing": optax.identity(),
    "clipping": optax.clip_by_global_norm(LIMIT),
    "discarding": transforms.discard_large_updates(LIMIT),
}
WORST = 0.0  # the value of the plateau at the origin, counted for descents that left the finite range


def descent(guard: str, learning_rate: Any, noise: float = 10.0) -> optax.GradientTransformation:
    """Returns noisy descent behind a guard."""
    noisy = [transforms.add_gradient_noise(noise, tail_index=1.2)] if noise else []
    return optax.chain(*noisy, GUARDS[guard], optax.sgd(learning_rate))


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns the ends of every arm."""
    num_starts = 128 if options.quick else 4096
    key, rates = jax.random.key(0), np.geomspace(1e-5, 5e-2, 12)

    def final(ends: Any) -> np.ndarray:
        values = values_at(HILL, ends.params)
        return np.where(ends.status == Status.DIVERGED, WORST, np.minimum(values, WORST))

    arms = {
        guard: tuned(HILL, lambda learning_rate, guard=guard: descent(guard, learning_rate), num_starts, rates=rates,
                     key=key, stop=STOP, num_tuning=16, cost=final)
        for guard in GUARDS
    }  # fmt: skip
    rate = arms["clipping"].rate
    run = lambda guard, landscape=HILL, noise=10.0, **how: descend(
        landscape, descent(guard, rate, noise), 4 * num_starts, key=jax.random.key(1), stop=STOP, **how
    )
    ends = {guard: run(guard) for guard in GUARDS}
    ends["restarting"] = run("nothing", restart=Restart(on=(Status.DIVERGED,), max_restarts=5))
    steep = {guard: run(guard, STEEP, 0.0) for guard in ("clipping", "discarding")}
    return judge(
        {name: each.status == Status.DIVERGED for name, each in ends.items()},
        1 - ends["nothing"].num_steps / MAX_STEPS,
        {name: final(arm.ends) for name, arm in arms.items()},
        {name: final(each) for name, each in steep.items()},
    )


def judge(diverged: dict, saved: np.ndarray, tuned_value: dict, steep_value: dict) -> experiment.Claim:
    """Returns the claim from flags, shares of ticks, and final values, all (starts,) by arm."""
    rows = [
        experiment.share("diverged with nothing", diverged["nothing"]),
        *(experiment.mean(f"diverged less with {name}", diverged["nothing"] * 1.0 - diverged[name], expected=0.0,
                          relation="at_least") for name in ("clipping", "discarding", "restarting")),
        experiment.mean("ticks saved by halting, share", saved, expected=0.0, relation="at_least"),
    ] + [
        experiment.mean(f"own best rates: value with nothing minus {name}", tuned_value["nothing"] - tuned_value[name],
                        expected=0.0, relation="at_least")
        for name in ("clipping", "discarding")
    ]  # fmt: skip
    rows.append(experiment.mean("no noise, steep starts: value with clipping minus discarding",
                                steep_value["clipping"] - steep_value["discarding"], expected=0.0, relation="at_least",
                                is_outside=True))  # fmt: skip
    return experiment.Claim(
        name="T0.2", rows=rows, claim="Clip or discard huge gradients, and halt at once on NaN.",
        condition="huge gradients are noise; where they are a wall, discarding stands still",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns shares that diverge, and differences of final value."""
    title = f"Wild noise: {claim.rows[0].measured:.0%} of descents leave the finite range, with a guard far fewer"
    drawn, (shares, values) = experiment.panels(title, 2, width=7)
    forest(shares, claim.rows[:5], xlabel="share")
    forest(values, claim.rows[5:], xlabel="difference of final value")
    return drawn
