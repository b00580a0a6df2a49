"""The documentation's notebooks run from their first cell to their last, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

BOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_a_notebook_runs_as_it_stands(book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    kernels = pytest.importorskip("ipykernel.kernelspec")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    kernels.write_kernel_spec(tmp_path / "jupyter/kernels/python3")  # of this interpreter
    read = nbformat.read(book, as_version=4)
    assert all(not cell.get("outputs") for cell in read.cells), "commit notebooks without outputs"
    (tmp_path / "work").mkdir()
    client = nbclient.NotebookClient(
        read, timeout=240, resources={"metadata": {"path": str(tmp_path / "work")}}
    )
    client.execute()
    shown = "".join(
        output.get("text", "") + "".join(map(str, output.get("data", {}).values()))
        for cell in read.cells
        for output in cell.get("outputs", [])
    )
    assert "accuracy" in shown
    assert "<table>" in shown
    assert not any(output.output_type == "error" for cell in read.cells for output in cell.get("outputs", []))
