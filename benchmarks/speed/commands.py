"""How long commands take to start, beside the imports that they cannot do without."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.speed.timing import Row, beside

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "quickstart.toml"


def rows(folder: Path) -> Iterator[Row]:
    """All of them."""
    click, torch = "import click", "import torch, transformers"
    for words, floor, goal in (
        (("--help",), click, "<= 1.5"),
        (("plugins", "list"), click, "<= 2"),
        (("params", str(RECIPE)), torch, "<= 1.3"),
    ):
        shown = "u2a " + " ".join(words).replace(str(RECIPE), "quickstart.toml")
        yield beside(shown, _run("-m", "u2a", *words), f'python -c "{floor}"', _run("-c", floor), goal)


def _run(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)
