"""docs/first-modality.md: its blocks run as printed, and the modality is as short as the page says."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from u2a.testing.checks import check_modality

PAGE = Path(__file__).parents[2] / "docs" / "first-modality.md"
_BLOCK = re.compile(r"^```(\w+) ?([\w./-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 25


def blocks() -> list[tuple[str, str, str]]:
    return [(m[1], m[2], m[3]) for m in _BLOCK.finditer(PAGE.read_text())]


def test_the_first_modality_has_at_most_25_lines():
    source = next(text for _, name, text in blocks() if name == "protein.py")
    lines = [line for line in source.splitlines() if line.strip()]
    assert 10 < len(lines) <= MOST_LINES
    assert "register(PROTEIN)" in source


def test_it_passes_the_conformance_kit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("protein.py", "make_encoder.py"):
        (tmp_path / name).write_text(next(text for _, one, text in blocks() if one == name))
    runpy.run_path("make_encoder.py")
    spec = importlib.util.spec_from_file_location("protein", tmp_path / "protein.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "protein", module)  # pickling looks there
    spec.loader.exec_module(module)
    check_modality(
        module.PROTEIN, {"encoder": str(tmp_path / "encoder")}, [b"MKV", b"LAGIF", b"SERDK"], bad=[b"xy"]
    )


@pytest.mark.slow
def test_its_commands_run_as_printed(tmp_path):
    output = run(tmp_path)
    assert "ok: final norm" in output
    assert "checks failed" not in output
    accuracy = re.search(r"^ *complete +([01]\.\d+)", output, re.MULTILINE)
    assert accuracy is not None, output
    assert float(accuracy[1]) > 0.7


def run(folder: Path) -> str:
    for _, name, text in blocks():
        if name:
            (folder / name).write_text(text)
    script = "set -e\n" + "".join(text for language, name, text in blocks() if language == "sh")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
