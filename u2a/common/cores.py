"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_MINE = Path("/proc/self/cgroup")


def cores() -> int:
    """Those that it may run on, and no more than its container has time on (docker run --cpus, Kubernetes)."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(there, _share(_GROUPS, _MINE)))


def _share(groups: Path, mine: Path) -> float:
    """The least quota of this process's control group and of those around it, in cores; inf without one."""
    least = math.inf
    with suppress(OSError, ValueError):
        for line in mine.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = groups / "cpu" if controllers else groups  # the first form of control groups, or the second
            own = root / path.lstrip("/")  # absent where a container sees its own group as the root
            around = [folder for folder in (own, *own.parents) if folder.is_relative_to(root)]
            least = min([least, *map(_quota, around)])
    return least


def _quota(group: Path) -> float:
    for quota, period in (("cpu.cfs_quota_us", "cpu.cfs_period_us"), ("cpu.max", None)):
        with suppress(OSError, ValueError):
            words = (group / quota).read_text().split()
            allowed, of = int(words[0]), int((group / period).read_text() if period else words[1])
            if allowed > 0 and of > 0:
                return allowed / of
    return math.inf
