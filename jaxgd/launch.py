"""Joins the processes of a cluster whose devices can only start together, such as a TPU slice.

Descents do not need this: any number of processes can share a run directory, however they were started (`srun`,
`mpirun`, a loop in a shell), or one process sends blocks to the workers of an executor.
"""

import os

from jaxgd.base import InputValueError


def join() -> None:
    """Joins this process to the others of a cluster, as jax detects it (SLURM, MPI, Kubernetes, TPU) or as told.

    Told by the environment: `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID`. The drawback: jax ends
    all processes when one is lost. Finished blocks are kept, and `jaxgd resume` continues the run.

    Raises:
      InputValueError: there is no cluster to join.
    """
    import jax

    told = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
    given = {name: int(os.environ[variable]) for name, variable in told.items() if variable in os.environ}
    try:
        jax.distributed.initialize(**given)  # type: ignore[arg-type]
    except (ValueError, RuntimeError) as error:
        raise InputValueError(f"jax finds no cluster to join: {str(error).splitlines()[0]}") from error
