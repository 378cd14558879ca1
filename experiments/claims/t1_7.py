"""T1.7: A loss surface can be looked at along two random, normalised directions; skip connections smooth it.

Residual and plain networks (the same weights at the start, rectified, 200 digits) are trained by Adam on batches of 32,
at a rate tuned over 4 values on 4 starts. Around each, filter-normalised surfaces along many pairs of directions: their
roughness is the share of bending that is downward, averaged over the pairs and compared by start. The picture must not
change when a layer is multiplied by 10 and the next by 1/10, as the function does not.
"""

import functools
from typing import Any

import jax
import numpy as np
import optax

from jaxgd import Stop, experiment, landscapes
from jaxgd.experiment.arms import tuned, values_at
from jaxgd.surface import filter_normalised, roughness, surface, whole_normalised

DEEP, SHALLOW, NUM = 5, 1, 11
KINDS = ("residual", "plain")
FACTORS = {"weights_1": 10.0, "bias_1": 10.0, "weights_2": 0.1, "bias_2": 1.0}  # change no output


def measure(options: experiment.Options) -> experiment.Claim:
    """Trains both kinds at both depths and looks around the trained networks."""
    count, num_pairs, ticks = (32, 4, 300) if options.quick else (40, 40, 1500)
    seen, losses = {}, {}
    for depth in (DEEP, SHALLOW):
        for kind in KINDS:
            network = landscapes.digits_network(depth, 12, connections=kind, l2=0.0, num_images=200, batch_size=32)
            arm = tuned(
                network, optax.adam, count, rates=(0.001, 0.003, 0.01, 0.03), num_tuning=4, is_noisy=True,
                key=jax.random.key(0), stop=Stop(max_steps=ticks, gradient_norm=1e-12),
            )  # fmt: skip
            look = functools.partial(surface, network.value, num=NUM)
            pairs = jax.random.split(jax.random.key(1), num_pairs)
            of_pairs = jax.jit(lambda at, look=look, pairs=pairs: jax.lax.map(lambda key: look(at, key=key), pairs))
            ends = [jax.tree.map(lambda leaf, place=place: leaf[place], arm.ends.params) for place in range(count)]
            seen[depth, kind] = np.stack([of_pairs(end) for end in ends])
            losses[depth, kind] = values_at(network, arm.ends.params)
    moved = ends[0] | {"block_1": {name: FACTORS[name] * leaf for name, leaf in ends[0]["block_1"].items()}}
    show = lambda normalise: np.stack([look(at, key=pairs[0], normalise=normalise) for at in (ends[0], moved)])
    return judge(seen, losses, {how.__name__: show(how) for how in (filter_normalised, whole_normalised)})


def judge(seen: dict[Any, np.ndarray], losses: dict[Any, np.ndarray], pictures: dict[str, np.ndarray]) -> Any:
    """Returns the claim from surfaces (starts, pairs, num, num) and losses by depth and kind, and rescaled pictures."""
    rough = {key: roughness(values) for key, values in seen.items()}
    change = {name: np.max(np.abs(after - before)) / np.ptp(before) for name, (before, after) in pictures.items()}
    rows = [
        experiment.exactly("change of the picture by rescaling, over its range", change["filter_normalised"],
                           at_most=1e-9, source="exact invariance"),
        experiment.exactly("the same, directions normalised as a whole", change["whole_normalised"], at_least=0.1,
                           source="the reason for it"),
    ]  # fmt: skip
    for depth in (DEEP, SHALLOW):
        plain, residual = (rough[depth, kind].mean(axis=1) for kind in ("plain", "residual"))
        layers = f"{2 * depth + 2} layers"
        rows.append(experiment.mean(f"{layers}: roughness of the plain less that of the residual", plain - residual,
                                    at_least=0.0, source="the claim", is_outside=depth == SHALLOW))  # fmt: skip
        for kind, values in (("plain", plain), ("residual", residual)):
            rows.append(experiment.mean(f"{layers}, {kind}: roughness", values))
            rows.append(experiment.median(f"{layers}, {kind}: loss at its middle", losses[depth, kind]))
    return experiment.stated(__doc__, rows, condition="in deep networks", data={"seen": seen, "rough": rough})


def figure(claim: experiment.Claim) -> Any:
    """Draws one surface of each deep network, the pair of median roughness, and the roughness of all."""
    rough, seen = claim.data["rough"], claim.data["seen"]
    means = {key: values.mean() for key, values in rough.items()}
    drawn, axes = experiment.panels(
        f"Around trained networks of {2 * DEEP + 2} layers {means[DEEP, 'plain']:.1%} of the loss's bending is "
        f"downward without skip connections, {means[DEEP, 'residual']:.1%} with them", 3, width=4.2,
    )  # fmt: skip
    ticks = np.linspace(-1, 1, NUM)
    for axis, kind in zip(axes, KINDS, strict=False):
        flat = rough[DEEP, kind].ravel()
        place = np.unravel_index(np.argsort(flat)[flat.size // 2], rough[DEEP, kind].shape)
        picture = np.log10(seen[DEEP, kind][place] + 1e-3)
        drawn.colorbar(axis.contourf(ticks, ticks, picture, levels=20, cmap="viridis"), label="log10 loss")
        axis.set(xlabel="first direction, filter lengths", ylabel="second direction")
        axis.set_title(f"{kind}, pair of median roughness", fontsize=9)
    labels = [f"{kind}\n{2 * depth + 2} layers" for depth, kind in rough]
    axes[2].boxplot([values.mean(axis=1) for values in rough.values()], tick_labels=labels)
    axes[2].tick_params(axis="x", labelsize=7)
    axes[2].set(ylabel="roughness: share of downward bending", ylim=(0, None))
    return drawn
