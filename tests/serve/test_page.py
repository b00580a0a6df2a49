"""docs/serving.md: its commands are asked of a service, and answered in the form that it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tiny
from asking import serving

from u2a_serve.command import serve

PAGE = (Path(__file__).parents[2] / "docs/serving.md").read_text()


def shown() -> list[tuple[str, Any]]:
    """Each command and what the page says it prints."""
    blocks = "".join(re.findall(r"^```console\n(.*?)^```", PAGE, re.M | re.S))
    return [(command, json.loads(said)) for command, said in re.findall(r"^\$ (.*)\n(.*)$", blocks, re.M)]


def form_of(value: Any) -> Any:
    """An answer without what depends on the run."""
    if isinstance(value, dict):
        return {k: len(v) if k in ("labels", "probabilities") else form_of(v) for k, v in value.items()}
    return [form_of(one) for one in value] if isinstance(value, list) else value


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_its_commands_answer_as_it_says(run: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/001.jpg").write_bytes(tiny.image_bytes(tiny.picture(), "JPEG"))
    assert len(shown()) == PAGE.count("$ curl") == 3
    with serving(run) as service:
        for command, said in shown():
            line = command.replace("localhost:8000", f"127.0.0.1:{service.port}")
            done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
            assert form_of(json.loads(done.stdout)) == form_of(said), done.stdout


def test_it_names_every_limit_and_no_option_that_is_not_there() -> None:
    options = {name for one in serve.params for name in one.opts if name.startswith("--")}
    named = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert named <= options
    assert {name for name in options if name.startswith("--max")} <= named
