"""The documentation's notebooks run from their first cell to their last, in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import python

BOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))
#: What a kernel does with each cell: run it, and show what it is worth in the richest form.
KERNEL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        done = shell.run_cell("".join(cell["source"]), store_history=True)
        done.raise_error()
        print(shell.display_formatter.format(done.result)[0].get("text/html", ""))
"""


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_a_notebook_runs_as_it_stands(book: Path, tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    cells = json.loads(book.read_text())["cells"]
    assert all(not cell.get("outputs") for cell in cells), "commit notebooks without outputs"
    (tmp_path / "work").mkdir()
    done = python("-c", KERNEL, book, cwd=tmp_path / "work", env={"IPYTHONDIR": str(tmp_path / "ipython")})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "accuracy" in done.stdout
    assert "<table>" in done.stdout
