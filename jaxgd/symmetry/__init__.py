"""Ready groups of motions that leave a landscape's value unchanged, to be declared as its `symmetry`.

Each is a `Group`, and groups multiply: `rigid_motions() * permutations()` for atoms of one kind,
`hidden_units(...) * scale(at="gain")` on a pytree. Every group knows the velocities of its continuous motions, which
explain zero modes, a vector of invariants, by which images of one point are known to be the same, and how to draw
a random motion, by which a survey notices that a declared symmetry is none.
"""

from jaxgd.symmetry.groups import Group
from jaxgd.symmetry.motions import orthogonal, rigid_motions, torus
from jaxgd.symmetry.permuted import permutations
from jaxgd.symmetry.scaled import scale, sign_flips
from jaxgd.symmetry.units import hidden_units

__all__ = ["Group", "hidden_units", "orthogonal", "permutations", "rigid_motions", "scale", "sign_flips", "torus"]
