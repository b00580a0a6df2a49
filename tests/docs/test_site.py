"""The documentation site builds without a warning, and its questions quote messages that u2a has."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
built = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs")


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        str(root / "mkdocs.yml"),
        "-d",
        str(out),
    ]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )


@built
def test_the_site_builds_and_a_broken_link_does_not(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/api/index.html").read_text()
    assert "begin" in (tmp_path / "site/index.html").read_text().lower()
    for name in ("pack", "explain", "predict", "select_tokens"):
        assert name in page
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs/index.md").write_text("[gone](gone.md)")
    (tmp_path / "docs/api.md").write_text("# Python")
    assert "gone.md" in build(tmp_path, tmp_path / "other").stderr


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert named == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_the_questions_quote_messages_that_are_there() -> None:
    source = re.sub(r'"\s*\n\s*f?"', "", "".join(p.read_text() for p in (ROOT / "u2a").rglob("*.py")))
    heads = re.findall(r"^## (.*)$", (ROOT / "docs/faq.md").read_text(), re.M)
    quoted = [text for head in heads for text in re.findall(r'"([^"]+)"', head)]
    assert len(quoted) >= 8
    for text in quoted:
        parts = [part.strip() for part in re.split(r"\.\.\.|'[^']*'", text) if part.strip()]
        for part in parts:
            assert part in source or part.removeprefix("no installed plugin brings the") in source, text
