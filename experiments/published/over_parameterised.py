r"""A student of the teacher's width has isolated minima; one unit more joins all of them into one connected valley.

Simsek et al. 2021 (arXiv 2105.12221). The measurement is that of `experiments.valleys.overparameterised_student`, which
states teacher, data, starts, optimizer, stop and seeds: numbers of isolated minima and of subspaces by exact formulas,
valleys told by walks, and ways through crossings along which the loss stays zero. None of the counts has chance in it.
"""

import sys
from typing import Any

from experiments.published.rows import Table, exact, stated
from experiments.valleys import overparameterised_student
from jaxgd import experiment


def measure(options: experiment.Options) -> Table:
    """Returns what was counted beside the formulas."""
    found = overparameterised_student.measure(options)
    rows = [
        exact(row.statistic, row.measured, expected=row.expected, tolerance=row.tolerance,
              num_descents=row.num_descents, relation=row.relation, is_outside=row.is_outside,
              source="prediction" if row.expected is None else f"Simsek et al. 2021: {row.source or 'one set'}")
        for row in found.rows
    ]  # fmt: skip
    return stated("over_parameterised", __doc__, rows, data=found.data, condition=found.condition)


def figure(result: Table) -> Any:
    """Returns the loss on the ways between two orders of the units, and the numbers counted."""
    return overparameterised_student.figure(result)


if __name__ == "__main__":
    sys.exit(experiment.main(measure, description=__doc__, figure=figure))
