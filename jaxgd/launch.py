"""Several processes on this machine at one run: `python -m jaxgd.launch --processes 2 -- survey NAME ... --out DIR`.

Each process is a `jaxgd` with cores of its own; they meet in the run directory alone, so that any of them may be lost,
and none is needed by another. `join` is for clusters whose devices must be joined by jax first.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from jaxgd.base import InputValueError
from jaxgd.cores import own_cores

_POLL_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts the processes, hands signals on to them, and returns the exit code of the run.

    Returns:
      0 if a process has seen the run finished; else the largest exit code of a process.
    """
    parser = argparse.ArgumentParser(prog="python -m jaxgd.launch", description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=len(own_cores()), help="one for each core if left out")
    parser.add_argument("--distributed", action="store_true", help="join them by jax.distributed, too")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- survey NAME ... --out DIR")
    asked = parser.parse_args(arguments)
    command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    if asked.processes < 1 or not command:
        parser.error("give at least one process and a command, such as `-- resume DIR`")
    if command[0] not in ("survey", "resume", "extend") or (command[0] == "survey" and "--out" not in command):
        parser.error("the processes meet in a run directory: give `survey NAME ... --out DIR` or `resume DIR`")
    processes = [
        _start(number, asked.processes, [*command, *(["--distributed"] if asked.distributed else [])], port)
        for port in [_free_port()]
        for number in range(asked.processes)
    ]
    with _handing_on(processes):
        while any(process.poll() is None for process in processes):
            time.sleep(_POLL_SECONDS)
    codes = [process.returncode for process in processes]
    for number, code in enumerate(codes):
        if code < 0:
            print(f"jaxgd.launch: process {number} was killed by signal {-code}.", file=sys.stderr)
    return 0 if 0 in codes else max(code if code > 0 else 128 - code for code in codes)


def join() -> None:
    """Joins this process to the others of a cluster, as jax detects it (SLURM, MPI, Kubernetes, TPU) or as told.

    Told by the environment: `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID`. Descents need no such
    thing; it serves devices that begin only together, such as a TPU slice, and costs that jax ends all processes when
    one is lost. What they have written stays, and `jaxgd resume` goes on.

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


def _start(number: int, num_processes: int, command: list[str], port: int) -> "subprocess.Popen[bytes]":
    cores = own_cores()
    own = cores[number::num_processes] or [cores[number % len(cores)]]
    environment = {
        **os.environ,
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": str(num_processes),
        "JAX_PROCESS_ID": str(number),
    }
    process = subprocess.Popen([sys.executable, "-m", "jaxgd.cli", *command], env=environment, start_new_session=True)
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(process.pid, own)  # before it has counted its cores
    return process


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def _handing_on(processes: list["subprocess.Popen[bytes]"]) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM go to all processes."""

    def hand_on(number: int, frame: object) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
