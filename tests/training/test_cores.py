"""How many cores count: those of the container, not of the machine under it."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from u2a.common import cores


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("mine", "files", "share"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),  # docker run --cpus 1.5
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),  # of the group around it
        ("0::/of/the/host", {"cpu.max": "400000 200000"}, 2.0),  # a path from outside the container
        ("0::/../c", {"cpu.max": "300000 100000"}, 3.0),
        ("4:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "250000", "cpu/x/cpu.cfs_period_us": "100000"}, 2.5),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("3:memory:/", {"cpu.max": "100000 100000"}, math.inf),
        ("nonsense", {"cpu.max": "100000 100000"}, math.inf),
    ],
)
def test_a_quota_of_time_is_read(tmp_path: Path, mine: str, files: dict[str, str], share: float) -> None:
    written(tmp_path / "mine", mine)
    for name, text in files.items():
        written(tmp_path / "groups" / name, text)
    assert cores._share(tmp_path / "groups", tmp_path / "mine") == share


def test_half_a_core_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "mine", "0::/")
    written(tmp_path / "groups/cpu.max", "50000 100000")
    monkeypatch.setattr(cores, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "_MINE", tmp_path / "mine")
    assert cores.cores() == 1


def test_without_a_quota_all_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_MINE", tmp_path / "absent")
    assert cores.cores() == len(os.sched_getaffinity(0))
