"""The table of files that are read says what the plugins read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from u2a.plugins.loading import registry

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def table() -> dict[str, set[str]]:
    section = PAGE.read_text().split("### Files that are read")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")]
    return {kind.strip(): set(" ".join(re.findall("`([^`]*)`", cell)).split()) for kind, cell in rows[1:]}


@pytest.mark.parametrize(
    ("modality", "kinds"),
    [("image", ["pictures"]), ("audio", ["sounds", "films"]), ("video", ["films"]), ("text", ["texts"])],
)
def test_the_table_of_files_is_what_the_plugins_read(modality, kinds):
    listed = set().union(*(table()[kind] for kind in kinds))
    silent = {"gif"} if modality == "audio" else set()  # films without sound
    assert listed - silent == set(registry().spec(modality).extensions)
