"""For a cluster of atoms: its minima, how often each is found, and what has not been found."""

# %% Seven atoms with the Lennard-Jones energy; jaxgd knows that turned and renumbered clusters are the same.
import sys

import jax
import numpy as np

import jaxgd

jax.config.update("jax_enable_x64", True)
cluster = jaxgd.landscapes.lennard_jones(num_atoms=7)

# %% Quench from random starts. The four minima of LJ7 are known since Hoare and Pal (1971).
found = jaxgd.survey(cluster, num_starts=200, seed=0)
print(repr(found))
known = np.array([-16.505384, -15.935043, -15.593211, -15.533060])
assert np.allclose(found.catalogue.value, known, atol=1e-5)

# %% Shares belong to the optimizer as well as to the cluster: here is another one, from the same starts.
fire = jaxgd.survey(cluster, "fire(0.01)", 200, seed=0)
figure = jaxgd.plot.style.new_figure(10, 3.2)
for place, (name, each) in enumerate({"L-BFGS": found, "FIRE": fire}.items()):
    axis = jaxgd.plot.weights(each, figure.add_subplot(1, 2, place + 1))
    axis.set_title(name, fontsize=10)

# %% Keep the picture.
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "physicist.png", dpi=150)
