"""T4.3: A converged deep model is almost surely at a saddle, not at a minimum.

Networks on the digits (tanh, an l2 penalty of 0.003, so that every direction is curved) of growing width, and one with
two hidden layers, trained from random starts until the gradient norm is below 1e-6, by L-BFGS and, in the full run,
for one of them by momentum; then judged by the whole spectrum of the Hessian with its error bounds (`classify`). If
every direction curved up or down by the toss of a coin, the share of minima would be 2^-parameters. Nothing is tuned:
descents that do not converge within the step limit are counted and not judged.
"""

from typing import Any

import jax
import numpy as np
import optax

from jaxgd import Status, Stop, Verdict, classify, descend, experiment, landscapes, transforms
from jaxgd.experiment.charts import with_intervals

NUM_IMAGES, PENALTY = 50, 3e-3
STOP = Stop(gradient_norm=1e-6, max_steps=20_000)
LBFGS = transforms.lbfgs(max_step=1.0)


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns verdicts of trained networks."""
    num_starts, shapes = (
        (16, [(1,), (2,), (3,)]) if options.quick else (100, [(1,), (2,), (3,), (4,), (6,), (8,), (4, 4)])
    )
    arms = [(widths, "L-BFGS", LBFGS) for widths in shapes]
    if not options.quick:
        arms.append(((1,), "momentum", optax.sgd(0.3, momentum=0.9)))
    found = {}
    for widths, name, optimizer in arms:
        network = landscapes.digits_mlp(widths=widths, num_images=NUM_IMAGES, l2=PENALTY)
        ends = descend(network, optimizer, num_starts, key=jax.random.key(0), stop=STOP)
        done = np.flatnonzero(ends.status == Status.CONVERGED)
        params = sum(leaf[0].size for leaf in jax.tree.leaves(ends.params))
        verdicts = np.asarray(classify(network, ends[done]).verdict) if done.size else np.zeros(0)
        label = f"{'-'.join(map(str, widths))} units, {params} parameters, {name}"
        found[label] = (params, len(ends), verdicts)
        experiment.note(f"{label}: {done.size} of {len(ends)} converged")
    return judge(found)


def judge(found: dict[str, tuple[int, int, np.ndarray]]) -> experiment.Claim:
    """Returns the claim from (parameters, descents, verdicts of those that converged) of each arm."""
    rows = [
        experiment.share(f"{label}: saddles", verdicts == Verdict.SADDLE, expected=0.95, relation="at_least")
        for label, (_, _, verdicts) in found.items()
        if verdicts.size
    ]
    rows += [
        experiment.share(f"{label}: minima", verdicts == Verdict.MINIMUM)
        for label, (_, _, verdicts) in found.items()
        if verdicts.size
    ]
    converged = sum(verdicts.size for _, _, verdicts in found.values())
    total = sum(count for _, count, _ in found.values())
    rows.append(experiment.share("descents that converged", np.arange(total) < converged))
    shares = {
        params: experiment.share("", verdicts == Verdict.MINIMUM)
        for label, (params, _, verdicts) in found.items()
        if verdicts.size and "L-BFGS" in label
    }
    return experiment.Claim(
        name="T4.3", rows=rows, data={"minima": shares}, claim="A converged network is almost surely at a saddle."
    )


def figure(claim: experiment.Claim) -> Any:
    """Returns the share of minima against the number of parameters."""
    minima = claim.data["minima"]
    title = "Converged networks are at minima, whatever their size"
    if min(row.measured for row in minima.values()) < 0.95:
        title = "What converged networks are, by their size"
    drawn, (panel,) = experiment.panels(title, 1, width=7)
    with_intervals(panel, list(minima), list(minima.values()), "minima among converged networks, measured")
    panel.plot(list(minima), [2.0**-params for params in minima], "k--", label="2^-parameters, as claimed")
    panel.set(xlabel="parameters", ylabel="share", ylim=(-0.03, 1.03))
    panel.legend(loc="center right")
    return drawn
