"""Claims: one living owner at a time, and none that outlives its process."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from jaxgd.runs import claims
from jaxgd.runs.claims import STALE_SECONDS, claim, tidy


def test_one_of_many_wins_and_the_next_one_when_it_is_given_up(tmp_path):
    for _ in range(5):
        won: list = []
        race = lambda won=won: won.append(claim(tmp_path, "unit"))
        racers = [threading.Thread(target=race) for _ in range(8)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        (held,) = [held for held in won if held is not None]
        with held:
            assert claim(tmp_path, "unit") is None
            other = claim(tmp_path, "another")
            assert other is not None
            other.__exit__()
    assert list(tmp_path.iterdir()) == []


def owner(tmp_path, **changes):
    held = claim(tmp_path, "unit")
    tree = json.loads(held.path.read_text())
    held.path.write_text(json.dumps({**tree, **changes}))
    return held


def test_the_claim_of_a_dead_process_is_taken_over_once(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner(tmp_path, pid=dead.pid, began="1")
    won = [claim(tmp_path, "unit") for _ in range(3)]
    assert [held is not None for held in won] == [True, False, False]
    assert won[0].path.name == "unit.claim-1"
    tidy(tmp_path, "unit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_process_number_that_was_given_again_and_a_zombie_are_dead(tmp_path):
    owner(tmp_path, began="another time")
    assert claim(tmp_path, "unit").path.name == "unit.claim-1"
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    began = claims._began(zombie.pid)
    while "dead" not in claims._began(zombie.pid):
        time.sleep(0.01)
    tidy(tmp_path, "unit")
    owner(tmp_path, pid=zombie.pid, began=began)
    assert claim(tmp_path, "unit") is not None
    zombie.wait()


@pytest.mark.parametrize("content", [None, b"", b"no json", b"[]", b'{"place": 3, "pid": -1e999}'])
def test_a_claim_of_elsewhere_lives_as_long_as_it_is_touched(content, tmp_path):
    held = owner(tmp_path, place="another machine")
    if content is not None:
        held.path.write_bytes(content)
    assert claim(tmp_path, "unit") is None
    old = time.time() - 2 * STALE_SECONDS
    os.utime(held.path, (old, old))
    held.beat()
    assert claim(tmp_path, "unit") is None
    os.utime(held.path, (old, old))
    assert claim(tmp_path, "unit") is not None
