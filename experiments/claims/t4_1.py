"""T4.1: A zero gradient does not mean an optimum: first derivatives cannot tell a saddle from a minimum, second can.

Every critical point of known index of a zoo of landscapes is moved by 1e-8 in a random direction and judged: by its
gradient alone ("the gradient is below 1e-4, so this is a minimum") and by `classify`, which polishes the point and
looks at the Hessian's spectrum. Rows count the points that each judges rightly; points with a singular Hessian (the
origin of x^4, of the monkey saddle and of a deep linear chain, the inflections of x + sin x) are counted apart, as
second derivatives vanish there. No optimizer, no rate, nothing tuned; a "descent" is a judged point.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd import Verdict, classify, experiment, landscapes
from jaxgd.experiment.charts import forest

REGULAR = (
    landscapes.styblinski_tang(dim=4), landscapes.product_double_well(dim=4), landscapes.mueller_brown(),
    landscapes.rank_one_factorisation((5, 4, 3, 2, 1)),
)  # fmt: skip
SINGULAR = (
    landscapes.quartic(),
    landscapes.monkey_saddle(),
    landscapes.deep_linear(depth=3),
    landscapes.x_plus_sin_x(),
)


def measure(options: experiment.Options) -> experiment.Claim:
    """Returns verdicts over the zoo."""
    repeats = 1 if options.quick else 20
    found = {"regular": [], "singular": []}
    for kind, zoo in (("regular", REGULAR), ("singular", SINGULAR)):
        for landscape in zoo:
            points = [p for p in landscape.facts.points if p.params is not None] * repeats
            if kind == "singular":
                points = [p for p in points if p.name != "minimum" and is_singular(landscape, p.params)]
            batch = jnp.stack([jnp.asarray(p.params, float) for p in points])
            moved = batch + 1e-8 * jax.random.normal(jax.random.key(0), batch.shape)
            norms = jax.vmap(lambda x, f=landscape: jnp.linalg.norm(jnp.ravel(f.gradient(x))))(moved)
            judged = classify(landscape, moved)
            for place, point in enumerate(points):
                found[kind].append(
                    (point.index, float(norms[place]), int(judged.verdict[place]), int(judged.index[place]))
                )
            experiment.note(f"{landscape.name}: {judged.verdict_counts()}")
    return judge(np.array(found["regular"]), np.array(found["singular"]))


def is_singular(landscape: Any, params: Any) -> bool:
    """Returns whether the Hessian there has a zero eigenvalue."""
    hessian = jnp.atleast_2d(jax.hessian(landscape.value)(jnp.asarray(params, float)))
    return bool(np.abs(np.linalg.eigvalsh(np.asarray(hessian))).min() < 1e-9)


def judge(regular: np.ndarray, singular: np.ndarray) -> experiment.Claim:
    """Returns the claim from rows of (true index, gradient norm, verdict, index found), one a point."""
    index, norm, verdict, found = regular.T
    names = {0: Verdict.MINIMUM}
    is_right = np.where(index == 0, verdict == names[0], (found == index) & (verdict != Verdict.MINIMUM))
    decided = ~np.isin(singular[:, 2], [Verdict.DEGENERATE, Verdict.UNDECIDED, Verdict.GRADIENT_FLAT, Verdict.PLATEAU])
    rows = [
        experiment.share("gradient below 1e-4 at a critical point", norm < 1e-4, expected=0.95, relation="at_least"),
        experiment.share("of those, true minima", index[norm < 1e-4] == 0, expected=0.5, relation="at_most"),
        experiment.share("index right by second derivatives", is_right, expected=0.95, relation="at_least"),
        experiment.share("singular points that second derivatives decide", decided, expected=0.95, relation="at_least",
                         is_outside=True),
    ]  # fmt: skip
    table = np.zeros((int(index.max()) + 1, int(max(found.max(), index.max())) + 1), int)
    np.add.at(table, (index.astype(int), np.maximum(found, 0).astype(int)), 1)
    return experiment.Claim(
        name="T4.1", rows=rows, data={"table": table, "num_singular": len(singular)},
        claim="A small gradient cannot tell a saddle from a minimum, second derivatives can.",
        condition="no eigenvalue of the Hessian vanishes",
    )  # fmt: skip


def figure(claim: experiment.Claim) -> Any:
    """Returns true against found index, and the shares."""
    share = claim.rows[1].measured
    title = f"Of the points a gradient test would pass, {share:.0%} are minima; the Hessian gets the others right, too"
    drawn, (grid, shares) = experiment.panels(title, 2, width=5.5)
    grid.imshow(np.log1p(claim.data["table"]), cmap="Blues", origin="lower")
    for (row, column), count in np.ndenumerate(claim.data["table"]):
        if count:
            grid.text(column, row, str(count), ha="center", va="center")
    grid.set(xlabel="negative eigenvalues found", ylabel="true index")
    grid.grid(visible=False)
    forest(shares, claim.rows, xlabel="share of points")
    return drawn
