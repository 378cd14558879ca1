"""Blocks by the workers of any executor: the same bits, and nothing lost when a worker dies."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import jax
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.workers import find_executor, num_workers

pytest.importorskip("cloudpickle")

WELLS = jaxgd.Landscape(value=lambda x: ((x**2 - 1) ** 2).sum(), sample=lambda key: jax.random.normal(key, (2,)))


def survey(num_starts=100, **how):
    return jaxgd.survey(
        WELLS,
        optax.sgd(0.05),
        num_starts,
        key=jax.random.key(3),
        block_size=20,
        engine=jaxgd.Engine(layout="lanes_last", num_lanes=16),
        **how,
    )


@pytest.fixture(scope="module")
def alone():
    return survey()


def same(one, other):
    for record in ("ends", "points", "catalogue"):
        for name, array in vars(getattr(one, record)).items():
            if isinstance(array, np.ndarray):
                np.testing.assert_array_equal(array, getattr(getattr(other, record), name), err_msg=name)


class Breaking(ThreadPoolExecutor):
    """An executor that breaks when it has done two blocks, as one of processes does when a worker is killed."""

    num_made = 0

    def __init__(self, num_good):
        super().__init__(2)
        self.left = num_good
        Breaking.num_made += 1

    def submit(self, fn, *args):
        self.left -= 1
        if self.left >= 0:
            return super().submit(fn, *args)
        self.shutdown()
        broken = Future()
        broken.set_exception(BrokenProcessPool("a worker was killed"))
        return broken


def test_an_executor_gives_the_bits_of_this_process(alone):
    with ThreadPoolExecutor(2) as pool:
        same(survey(executor=pool), alone)


def test_a_broken_executor_is_made_again_where_that_is_possible(alone):
    Breaking.num_made = 0
    same(survey(executor=lambda: Breaking(2)), alone)
    assert Breaking.num_made > 1


def test_a_broken_executor_that_cannot_be_made_again_leaves_the_rest_to_this_process(alone, capsys):
    same(survey(executor=Breaking(2)), alone)
    assert (
        "the executor is broken (BrokenProcessPool); its blocks are computed in this process" in capsys.readouterr().err
    )


def test_a_directory_takes_the_blocks_of_an_executor(alone, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        same(survey(executor=pool, out=tmp_path / "run"), alone)
    assert len(list((tmp_path / "run").glob("block-*"))) == 5


class Failing(ThreadPoolExecutor):
    def submit(self, fn, *args):
        failed = Future()
        failed.set_exception(MemoryError("no memory"))
        return failed


def test_a_block_that_always_fails_is_one_sentence_in_the_end():
    with pytest.raises(jaxgd.InputValueError, match=r"starts .* failed 3 times .* MemoryError: no memory"):
        survey(executor=Failing(1))


def test_an_executor_that_only_breaks_is_one_sentence_in_the_end():
    with pytest.raises(jaxgd.InputValueError, match="the executor broke 3 times without finishing a block"):
        survey(executor=lambda: Breaking(0))


@pytest.mark.parametrize("wrong", [3, "dask"])
def test_what_is_no_executor_is_refused(wrong):
    with pytest.raises(jaxgd.InputTypeError, match=r"`executor` must be a concurrent\.futures\.Executor"):
        survey(executor=wrong)


def test_what_cannot_be_sent_is_refused():
    lock = threading.Lock()
    landscape = jaxgd.Landscape(value=lambda x: x**2 if lock else x, sample=lambda key: jax.random.normal(key))
    with ThreadPoolExecutor(1) as pool, pytest.raises(jaxgd.InputValueError, match="cannot be sent to other processes"):
        jaxgd.survey(landscape, optax.sgd(0.1), 5, key=jax.random.key(0), executor=pool)


@pytest.mark.parametrize("text", ["slurm", "dask", "dask:", "loky:many", "mpi:3", "processes:0"])
def test_an_executor_that_cannot_be_found_by_its_name_is_refused(text):
    with pytest.raises(jaxgd.InputValueError, match="`--executor` must be dask:ADDRESS, loky"):
        find_executor(text)


def kill_one(pool_of_pids, alone, **how):
    """Kills a worker in the middle of a survey, which must not notice."""
    killed = []

    def look(phase, done, total):
        if done and not killed:
            killed.append(pool_of_pids()[0])
            os.kill(killed[0], 9)

    same(survey(progress=look, **how), alone)
    assert killed


@pytest.mark.slow
def test_loky_gives_the_same_bits_with_a_worker_killed_in_the_middle(alone):
    loky = pytest.importorskip("loky")
    make = lambda: loky.get_reusable_executor(max_workers=2, timeout=None)
    assert num_workers(make()) == 2
    same(survey(executor=make), alone)
    kill_one(lambda: list(make()._processes), alone, executor=make)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_the_same_bits_with_a_worker_killed_in_the_middle(alone):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        pool = client.get_executor()
        assert num_workers(pool) == 2
        same(survey(executor=pool), alone)
        kill_one(lambda: list(client.run(os.getpid).values()), alone, executor=pool)


@pytest.mark.slow
def test_processes_of_the_standard_library_give_the_same_bits(alone):
    pool = find_executor("processes:2")()
    with pool:
        same(survey(executor=pool), alone)
