"""``u2a init`` on tables that hold files as bytes: which samples hold one, and which only name one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from click.testing import CliRunner

from u2a.cli.main import main

FIRST = {
    "none": None,
    "an empty struct": {"bytes": None, "path": None},
    "no bytes": {"bytes": b"", "path": None},
    "a path": {"bytes": None, "path": "p0.png"},
    "bytes": {"bytes": tiny.image_bytes(tiny.picture(24, 20, 0)), "path": "p0.png"},
}


@pytest.mark.parametrize("first", FIRST)
def test_whatever_the_first_sample_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    monkeypatch.chdir(tmp_path)
    files = [tiny.image_bytes(tiny.picture(24, 20, i)) for i in range(30)]
    Path("p0.png").write_bytes(files[0])
    images: list[Any] = [FIRST[first], *({"bytes": data, "path": "lost.png"} for data in files[1:])]
    texts = [f"the boat number {i} is red" for i in range(30)]
    table = {"image": images, "caption": texts, "label": ["cat", "dog"] * 15}
    pq.write_table(pa.table(table), "t.parquet")
    result = CliRunner().invoke(main, ["init", "t.parquet"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = pq.read_table("t.manifest.parquet").to_pylist()
    named = "p0.png" if first == "a path" else None
    held = files[0] if first == "bytes" else None
    assert [(row["image"], row["image_path"]) for row in rows] == [
        (held, named),
        *((f, None) for f in files[1:]),
    ]
    assert [row["caption"].decode() for row in rows] == texts
