"""Whatever kind of thing is handed to a public function, the answer is one sentence or a right result."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import InputTypeError, InputValueError, statistics


def wells(x):
    return jnp.sum((x**2 - 1) ** 2)


WRONG = {
    "text": "text",
    "number as text": "0.95",
    "complex": 1j,
    "nan": float("nan"),
    "negative": -1,
    "truth": True,
    "nothing in a list": [],
    "mapping": {"a": 1},
    "function": lambda *args: None,
    "class": jaxgd.Stop,
    "object": object(),
    "complex array": np.array([1j, 2j]),
    "texts": np.array(["a", "b"]),
    "too large": 2**63,
    "matrix": np.ones((2, 2)),
}

KEY = jax.random.key(0)
BOX = jaxgd.box(-2, 2, dim=2)
COUNTS, TIMES, ESCAPED = [5, 3, 1], [1.0, 2.0, 3.0], [True, True, False]
ASK = dict(landscape=wells, optimizer="sgd(0.02)", num_starts=3, sample=BOX, seed=0, max_steps=3)

GOOD = [
    (statistics.proportion_interval, dict(hits=3, trials=10, confidence=0.95)),
    (statistics.unseen_mass, dict(hits=COUNTS, confidence=0.95)),
    (statistics.unseen_number, dict(hits=COUNTS, confidence=0.95)),
    (statistics.extrapolation, dict(hits=COUNTS, num_more=10)),
    (statistics.survival_curve, dict(times=TIMES, escaped=ESCAPED, confidence=0.95)),
    (statistics.hazard_rate, dict(times=TIMES, escaped=ESCAPED, edges=[0.0, 2.0, 4.0])),
    (statistics.restricted_mean, dict(times=TIMES, escaped=ESCAPED, horizon=2.0)),
    (statistics.compare_laws, dict(x=[1.0, 2, 3, 4, 5], y=[1.0, 2, 3, 4, 5])),
    (statistics.log_grid, dict(low=1.0, high=10.0, num=3)),
    (statistics.paired_difference, dict(success_first=[True, False, True], success_second=[True, True, True])),
    (statistics.mcnemar, dict(success_first=[True, False, True], success_second=[True, True, True])),
    (jaxgd.Stop, dict(gradient_norm=1e-3, max_steps=5, patience=0, improvement=1e-12, at_event="low")),
    (jaxgd.Engine, dict(layout=None, num_lanes=2, num_devices=1)),
    (jaxgd.Restart, dict(on=(jaxgd.Status.DIVERGED,), max_restarts=1, step_factor=0.5)),
    (jaxgd.box, dict(low=-1.0, high=1.0, dim=2)),
    (jaxgd.grid, dict(low=-1.0, high=1.0, num=2, dim=2)),
    (jaxgd.normal_like, dict(params=np.zeros(2), scale=1.0)),
    (jaxgd.prove, dict(landscape=wells, low=-2.0, high=2.0, resolution=0.5, max_boxes=40, progress=None)),
    (jaxgd.descend, ASK | dict(stop=None, restart=None, events=None, engine=None, progress=None, first_start=0)),
    (jaxgd.survey, ASK | dict(stop=None, engine=None, confidence=0.95, until=None, keep="ends", block_size=None)),
    (jaxgd.classify, dict(landscape=wells, ends=np.ones((1, 2)), sample=BOX)),
    (jaxgd.catalogue, dict(landscape=wells, points=None, sample=BOX, confidence=0.95)),
    (jaxgd.dwell_by_index, dict(landscape=wells, optimizer="sgd(0.02)", num_starts=2, sample=BOX, seed=0, num_steps=2)),
    (jaxgd.sweep, dict(landscape=wells, builder=optax.sgd, num_starts=2, sample=BOX, key=KEY, learning_rate=[0.1])),
]


SLOW = (jaxgd.descend, jaxgd.classify)  # what is right among the wrong kinds is compiled


@pytest.mark.parametrize(
    ("function", "good"),
    [
        pytest.param(function, good, id=function.__name__, marks=[pytest.mark.slow] if function in SLOW else [])
        for function, good in GOOD
    ],
)
def test_wrong_kinds_are_answered_by_a_sentence_or_a_right_result(function, good):
    raw = []
    for name in good:
        for kind, wrong in WRONG.items():
            try:
                function(**(good | {name: wrong}))
            except (InputValueError, InputTypeError) as error:
                raw += [f"{name}={kind}: on several lines"] if "\n" in str(error) else []
            except Exception as error:
                raw.append(f"{name}={kind}: {type(error).__name__}: {str(error)[:80]}")
    assert not raw, "\n".join(raw)


def test_the_table_of_good_calls_is_written_by_name():
    for function, good in GOOD:
        assert set(good) <= set(inspect.signature(function).parameters) | {"learning_rate"}
