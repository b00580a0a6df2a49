"""`u2a export`: its graphs beside u2a itself, its program with neither torch nor u2a, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from click.testing import CliRunner

import u2a
from u2a.cli.main import main

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library, reason=f"{library} is not installed: u2a[export]")

pytestmark = pytest.mark.slow  # torch.onnx takes long, even for tiny encoders
#: The program's own words, with torch and u2a out of reach.
ALONE = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "u2a", "transformers", "tokenizers", "scipy"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    """A run whose adapters and proxies have learned; the pictures' positions are interpolated."""
    folder = tmp_path_factory.mktemp("exported")
    recipe = toys.make(
        folder,
        {**checkpoints, "clip": checkpoints["dinov2"]},
        counts={"train": 20, "val": 8, "test": 9},
        presence=lambda i: (i % 5 != 2, i % 5 != 4),
    )
    sets = ["model.fusion=per_modality", "training.head_start=true", "training.epochs=1", "training.lr=1e-3"]
    model = u2a.train(recipe, run=folder / "run", sets=sets)
    assert model.calibration.patterns
    return folder / "run"


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "out"
    done = invoke("export", run, folder, "--checkpoint", "last", "--verify", "--samples", 9)
    assert done.exit_code == 0, done.output
    said = done.output.splitlines()
    assert [line.split()[0] for line in said[1:4]] == ["image+text", "image", "text"]
    assert said[-1].startswith("equal to u2a within 0.0001 in 3 patterns (largest difference ")
    return folder


def invoke(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_program_needs_neither_torch_nor_u2a_and_says_what_u2a_says(run: Path, exported: Path) -> None:
    model = u2a.load(run, checkpoint="last", sets=["training.device=cpu"])
    picture = next((run.parent).glob("test-*.png"))
    for given in ({"image": picture, "text": "the old boat and"}, {"image": picture}, {"text": "the sea"}):
        words = [f"{name}={value}" for name, value in given.items()]
        command = [sys.executable, "-c", ALONE, exported / "run.py", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        label, *lines = done.stdout.splitlines()
        prediction = model.predict(given)
        assert label == f"label: {prediction.labels[0]}"
        found = {name: float(p) for p, name in map(str.split, lines)}
        assert found == pytest.approx(prediction.probabilities, abs=2e-4)


def test_the_folder_says_what_a_program_needs(run: Path, exported: Path) -> None:
    spec = json.loads((exported / "u2a_export.json").read_text())
    assert spec["task"]["classes"] == ["sea", "boat", "town", "film"]
    assert spec["modalities"]["image"]["inputs"] == {
        "pixel_values": {"dtype": "float32", "shape": [None, 3, 32, 32]}
    }
    assert spec["modalities"]["text"]["inputs"]["input_ids"]["shape"] == [None, None]
    assert {"image+text", "image", "text"} <= set(spec["calibration"])
    assert set(spec["files"]) == {p.name for p in exported.iterdir()} - {"u2a_export.json"}
    card = (exported / "README.md").read_text()
    assert "| text (text) | `input_ids` int64 [P, L], `attention_mask` int64 [P, L] |" in card
    assert 'python run.py image=picture.png text="some text"' in card


def test_a_changed_file_or_run_is_told(run: Path, exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "copy")
    done = invoke("export", run, copy)
    assert done.exit_code == 2
    assert "holds an export already" in done.output
    spec = json.loads((copy / "u2a_export.json").read_text())
    (copy / "u2a_export.json").write_text(json.dumps({**spec, "checkpoint": {"which": "last", "step": 1}}))
    done = invoke("export", run, copy, "--verify")
    assert (done.exit_code, "is of step 1" in done.output) == (2, True)
    (copy / "head.onnx").write_bytes((copy / "text.onnx").read_bytes())
    done = invoke("export", run, copy, "--verify")
    assert (done.exit_code, "head.onnx: checksum mismatch" in done.output) == (2, True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    assert "holds something else" in invoke("export", run, tmp_path / "mine").output


def test_graphs_that_differ_are_refused(run: Path, exported: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    from u2a.common.files import sha256_file

    copy = shutil.copytree(exported, tmp_path / "copy")
    graph = onnx.load(copy / "head.onnx")
    (bias,) = (one for one in graph.graph.initializer if list(one.dims) == [4])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1e-2), bias.name))
    onnx.save(graph, copy / "head.onnx")
    spec = json.loads((copy / "u2a_export.json").read_text())
    spec["files"]["head.onnx"] = sha256_file(copy / "head.onnx")
    (copy / "u2a_export.json").write_text(json.dumps(spec))
    done = invoke("export", run, copy, "--verify", "--samples", 9)
    assert done.exit_code == 2
    assert ", more than 0.0001" in done.output


def test_the_page(run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands, on this run; its first one was run by `exported`, with other names."""
    page = (Path(__file__).parents[2] / "docs/export.md").read_text()
    console, code = (re.findall(rf"^```{kind}\n(.*?)^```", page, re.M | re.S) for kind in ("console", "python"))
    shutil.copytree(exported, tmp_path / "movies-export")
    shutil.copy(next(run.parent.glob("test-*.png")), tmp_path / "poster.png")
    monkeypatch.chdir(tmp_path)
    assert console[0].splitlines()[1] == "$ u2a export runs/movies movies-export --verify"
    for line in console[1].splitlines():
        words = shlex.split(line.removeprefix("$ "))[1:]
        done = subprocess.run([sys.executable, "-c", ALONE, *words], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("label: ")
    done = subprocess.run([sys.executable, "-c", code[0]], capture_output=True, text=True, check=True)
    labels = u2a.load(run, checkpoint="last").predict({"text": "the old boat"}).labels
    assert done.stdout.startswith(str(list(labels)))
