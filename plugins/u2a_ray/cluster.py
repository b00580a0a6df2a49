"""Joining a Ray cluster, or starting one, for as long as some work takes."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from u2a.errors import U2AError, one_line

#: Read by Ray when it is imported, and by what it starts.
_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}


#: What each process of the cluster gets: ``{"CPU": 1}``, or a GPU as well.
Share = dict[str, float]


@contextmanager
def joined(workers: int, device: str) -> Iterator[Share]:
    """Be on the cluster that ``RAY_ADDRESS`` names, or on one of this machine's cores.

    Args:
        workers: how many processes there must be room for.
        device: ``training.device``; with auto, each process has a GPU where the cluster has some.

    Raises:
        U2AError: the cluster cannot be reached, or is too small.
    """
    _quiet()
    import ray

    ours = not ray.is_initialized()
    if ours:
        where = os.environ.get("RAY_ADDRESS", "")
        carried = {name: value for name, value in os.environ.items() if name.startswith("U2A_")}
        try:
            with _nothing_on_stderr():
                ray.init(
                    address=where or "local",  # never what somebody left running here
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"env_vars": carried},
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise U2AError(
                f"--engine ray: no cluster at {where or 'this machine'}: {one_line(error, 200)} (RAY_ADDRESS "
                "says where it is; one that asks for a token: RAY_AUTH_MODE=token)"
            ) from None
    try:
        yield _room(workers, device)
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _nothing_on_stderr() -> Iterator[None]:
    """For what is written past Python: the core of Ray tells which of its settings it has read."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _room(workers: int, device: str) -> Share:
    import ray

    there = ray.cluster_resources()
    on_gpu = device.startswith("cuda") or (device == "auto" and there.get("GPU", 0) >= 1)
    share: Share = {"CPU": 1, "GPU": 1} if on_gpu else {"CPU": 1}
    room = min(int(there.get(name, 0)) for name in share)
    grows = os.environ.get("RAY_ADDRESS") and room > 0  # a cluster may start further machines
    if room < workers and not grows:
        raise U2AError(f"--workers {workers}: the Ray cluster has {'GPUs' if on_gpu else 'CPUs'} for {room}")
    return share


def _quiet() -> None:
    """Ray speaks of itself in many places; what concerns a user of u2a is said by u2a."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def bookkeeping(near: str) -> Iterator[str]:
    """A folder in ``near`` (which all machines of the cluster see) for Ray's own records, gone afterwards."""
    if "://" in near:
        yield f"{near}/.ray"
        return
    os.makedirs(near, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ray-", dir=near, ignore_cleanup_errors=True) as folder:
        yield folder
    with suppress(OSError):
        os.rmdir(near)  # where nothing else was written


@contextmanager
def heard() -> Iterator[Any]:
    """A queue; what `u2a_ray.workers.Voice` puts in it is printed here. Ray would bring its own log as well."""
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})
    listener = threading.Thread(target=_listen, args=(queue,), daemon=True)
    listener.start()
    try:
        yield queue
    finally:
        with suppress(Exception):  # the cluster may be gone
            queue.put(None)
            listener.join(10)
            queue.shutdown()


def _listen(queue: Any) -> None:
    with suppress(Exception):
        for stream, text in iter(queue.get, None):
            print(text, end="", file=getattr(sys, stream), flush=True)
