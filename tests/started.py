"""Small sources, and what ``u2a init`` makes of them by the real command."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny
from click.testing import CliRunner

from u2a.cli.main import main

CLASSES = ("cat", "dog", "fox")


def init(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["init", *words], catch_exceptions=False)
    return result.exit_code, result.output


def started(*words: str) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The recipe ``n.toml``, the manifest's rows, and what was printed."""
    code, said = init(*words, "--name", "n", "--overwrite")
    assert code == 0, said
    rows = [json.loads(line) for line in Path("n.manifest.jsonl").read_text().splitlines()]
    return tomllib.loads(Path("n.toml").read_text()), rows, said


def refused(*words: str) -> str:
    code, said = init(*words)
    assert code == 2, said
    assert not list(Path().glob("*.manifest.*"))
    return said


def table(path: str, rows: Sequence[dict[str, Any]]) -> str:
    """A CSV file, or JSON lines."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if path.endswith(".jsonl"):
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def sounds(*files: tuple[str, float]) -> None:
    """A tone of its own in each place, so many seconds long."""
    for seed, (path, seconds) in enumerate(files):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(tiny.sound_bytes(tiny.tone(seconds, hertz=200.0 + seed)))


def pictures(*paths: str, size: tuple[int, int] = (24, 20)) -> None:
    """A picture of its own in each place."""
    for seed, path in enumerate(paths):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(tiny.image_bytes(tiny.picture(*size, seed)))


def rows_of(count: int = 12, **columns: Any) -> list[dict[str, Any]]:
    """Rows of three classes; columns are functions of the row's number."""
    made = ({name: value(i) for name, value in columns.items()} for i in range(count))
    return [{**row, "label": CLASSES[i % 3]} for i, row in enumerate(made)]
