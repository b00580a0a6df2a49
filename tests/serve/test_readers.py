"""The processes that read samples: what their end costs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tiny
from asking import Asked, serving
from PIL import Image
from processes import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes below /proc")

SMALL = tiny.image_bytes(tiny.picture(44, 40, 3))
#: What a reader may grow by before it is killed: a picture of `LARGE` takes far more, a text nothing.
PAGES = 2**25 // os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def service(run: Path) -> Iterator[Asked]:
    with serving(run, "--readers", 2) as made:
        made.wait_ready()
        yield made


def readers(service: Asked) -> list[int]:
    """The processes below the service's that have none below them, but for the one that tracks resources."""
    found, leaves = [service.process.pid], []
    for pid in found:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
        found += children
        if not children and b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            leaves.append(pid)
    return leaves


def size(pid: int) -> int:
    """Resident pages; 0 of one that is no more."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0


def test_killed_readers_cost_no_sample(service: Asked) -> None:
    before = service.predict({"sample": {"text": "the sea"}})
    assert before[0] == 200
    old = readers(service)
    assert len(old) == 2
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    for _ in range(4):  # of either thread
        assert service.predict({"sample": {"text": "the sea"}}) == before
    assert not set(readers(service)) & set(old)


def test_what_ends_its_reader_is_named(service: Asked) -> None:
    """As the kernel does where memory ends: whoever reads the large picture is killed, again and again."""
    wanted = service.predict({"sample": {"text": "the sea"}})[1]["predictions"][0]
    most = max(size(pid) for pid in readers(service)) + PAGES
    killed: list[int] = []
    end = threading.Event()

    def kill() -> None:
        while not end.is_set():
            with suppress(OSError):  # one is no more
                for pid in (pid for pid in readers(service) if size(pid) > most):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.002)

    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3)).astype(np.uint8)
    large = tiny.image_bytes(Image.fromarray(noise.repeat(3, 0).repeat(3, 1)))
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        status, answer = service.upload({"text": "the sea", "image": large})
        other = service.upload({"text": "the sea"})
    finally:
        end.set()
        killer.join()
    assert (status, len(set(killed))) == (422, 2)
    (fault,) = answer["errors"]
    assert (fault["sample"], fault["modality"]) == (0, "image")
    assert "crashes, or needs too much memory" in fault["message"]
    assert other[1]["predictions"][0] == wanted
    assert service.upload({"image": SMALL})[0] == 200


ENDING = """
import os, signal, sys, time
from u2a.runs.folder import Run
from u2a_serve.bodies import Given
from u2a_serve.limits import Limits
from u2a_serve.readers import Readers

made = Readers(Run(sys.argv[1]).recipe(), Limits(), 1, lambda seconds: print("took"))
while not made.ready:
    time.sleep(0.01)
os.kill(next(iter(made._living)).process.pid, signal.SIGSTOP)  # as if it read for long
reading = made._threads.submit(made.read, 0, {"text": Given("the sea", False)})
while not reading.running():
    time.sleep(0.01)
made.close()
print(repr(reading.exception(60)), len(made._living))
"""


def test_what_is_read_as_the_service_ends_begins_no_process(run: Path) -> None:
    """Else Python would wait for it for ever."""
    ended = python("-c", ENDING, run)
    assert (ended.returncode, ended.stdout) == (0, "RuntimeError('the service has ended') 0\n"), ended
