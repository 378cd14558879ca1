"""The same question with the same engine gives the same bits, however busy the machine is and whoever asks."""

import hashlib
import pathlib
import subprocess
import sys
import threading

import jax
import numpy as np
import optax
import pytest

import jaxgd

STOP = jaxgd.Stop(gradient_norm=1e-6, max_steps=400)
CASES = {
    "sgd": lambda: (jaxgd.landscapes.styblinski_tang(dim=3), optax.sgd(0.005), 3000),
    "adam": lambda: (jaxgd.landscapes.rastrigin(dim=8), optax.adam(0.01), 300),
    "lbfgs": lambda: (jaxgd.landscapes.lennard_jones(num_atoms=5), jaxgd.transforms.lbfgs(), 300),
    "noise": lambda: (
        jaxgd.landscapes.styblinski_tang(dim=2),
        jaxgd.transforms.langevin(1e-3, temperature=0.1, key=jax.random.key(5)),
        300,
    ),
}


def digest(landscape, optimizer, num_starts, **how):
    """Returns a hash of all bits of some ends."""
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam takes no other
        ends = jaxgd.descend(landscape, optimizer, num_starts, key=jax.random.key(0), stop=STOP, **how)
    found = hashlib.sha256()
    for leaf in jax.tree.leaves((ends.start_number, ends.params, ends.value, ends.num_steps, ends.status)):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("name", CASES)
def test_a_busy_machine_gives_the_bits_of_a_quiet_one(name, monkeypatch):
    asked = CASES[name]()
    quiet = digest(*asked)
    busy = threading.Event()
    load = [threading.Thread(target=lambda: [np.ones(10**5).sum() for _ in iter(busy.is_set, True)]) for _ in range(3)]
    for thread in load:
        thread.start()
    try:
        found = {digest(*asked) for _ in range(3)}
        monkeypatch.setattr("jaxgd.lanes.run._CHUNK_SECONDS", 0.0)  # as if each chunk took far too long
        found.add(digest(*asked))
    finally:
        busy.set()
        for thread in load:
            thread.join()
    assert found == {quiet}


def test_the_engine_that_a_result_names_repeats_it():
    asked = CASES["lbfgs"]()
    ends = jaxgd.descend(*asked, key=jax.random.key(0), stop=STOP)
    assert digest(*asked) == digest(*asked, engine=ends.cost.engine)
    assert eval(str(ends.cost.engine), {"Engine": jaxgd.Engine}) == ends.cost.engine


@pytest.mark.parametrize("size", [1, 13])
def test_a_block_of_any_size_holds_the_bits_of_one_run(size):
    landscape, optimizer, num_starts = CASES["lbfgs"]()
    how = {"key": jax.random.key(0), "stop": STOP, "engine": jaxgd.Engine(layout="lanes_last", num_lanes=32)}
    whole = jaxgd.descend(landscape, optimizer, num_starts, **how)
    for first in (0, 100, 250):
        block = jaxgd.descend(landscape, optimizer, size, first_start=first, **how)
        np.testing.assert_array_equal(block.params, whole.params[first : first + size])
        np.testing.assert_array_equal(block.num_steps, whole.num_steps[first : first + size])


def test_tuning_in_one_run_changes_no_other_run():
    landscape, optimizer, num_starts = CASES["sgd"]()
    before = digest(landscape, optimizer, num_starts)
    tuned = jaxgd.descend(
        landscape, optimizer, num_starts, key=jax.random.key(0), stop=STOP, engine=jaxgd.Engine(tune=True, num_lanes=64)
    ).cost.engine
    assert tuned.num_lanes == 64
    assert digest(landscape, optimizer, num_starts) == before
    assert digest(landscape, optimizer, num_starts, engine=tuned) == digest(
        landscape, optimizer, num_starts, engine=jaxgd.Engine(tune=True, num_lanes=64)
    )


@pytest.mark.slow
def test_ten_calls_in_a_process_and_ten_processes_side_by_side_give_one_digest():
    code = (
        "import sys, jax; jax.config.update('jax_enable_x64', True)\n"
        f"sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n"
        "from test_same_bits import CASES, digest\n"
        "asked = [CASES[name]() for name in CASES]\n"
        "asked += [(*CASES[name]()[:2], 10_000) for name in ('adam', 'lbfgs')]\n"  # seconds of work
        "for _ in range(int(sys.argv[1])): print([digest(*each) for each in asked])"
    )
    counts = [10] + [1] * 9
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(count)], stdout=subprocess.PIPE, text=True)
        for count in counts
    ]
    found = [process.communicate()[0].splitlines() for process in processes]
    assert [len(lines) for lines in found] == counts
    assert len({line for lines in found for line in lines}) == 1
