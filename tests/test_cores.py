"""Work that is handed to threads is done under the settings of whoever handed it over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.cores import Threads, own_cores


def test_this_process_may_use_a_core():
    assert own_cores()


@pytest.mark.parametrize("is_double", [True, False])
def test_precision_that_a_context_sets_holds_for_a_whole_survey(is_double):
    def sample(key):
        return jax.random.normal(key, (2,))

    with jax.enable_x64(is_double):
        found = jaxgd.survey(lambda x: jnp.sum((x**2 - 1) ** 2), "sgd(0.05)", 12, seed=0, sample=sample)
    dtype = np.float64 if is_double else np.float32
    assert found.ends.value.dtype == dtype
    assert found.points.value.dtype == dtype
    assert found.points.verdict_counts() == {"minimum": 12}


def test_settings_do_not_leak_from_one_task_to_the_next():
    with Threads(1) as pool:
        with jax.enable_x64(False):
            assert pool.submit(lambda: jnp.ones(1).dtype).result() == jnp.float32
        assert pool.submit(lambda: jnp.ones(1).dtype).result() == jnp.float64
        with jax.numpy_rank_promotion("allow"):
            assert pool.submit(lambda: (jnp.ones(2) + jnp.ones((2, 2))).shape).result() == (2, 2)
        with pytest.raises(ValueError, match="rank_promotion"):
            pool.submit(lambda: jnp.ones(2) + jnp.ones((2, 2))).result()
