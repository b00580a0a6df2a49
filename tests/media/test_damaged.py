"""A sample of `benchmarks/damaged.py`: nothing but the sample's own error comes of damaged files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "damaged.py"


@pytest.mark.slow
def test_damaged_files_stop_nothing_and_a_run_goes_on(tmp_path: Path):
    lines = tmp_path / "out.jsonl"
    for members in ("100", "400"):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(lines), members],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert [json.loads(line)["seed"] for line in lines.read_text().splitlines()] == list(range(400))
    assert done.stdout.startswith("400 members")
