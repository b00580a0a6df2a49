"""Dedicated models beside a run: trained in its folder, scored on equal samples."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import toys
from click.testing import CliRunner, Result
from processes import as_forks

import u2a
from u2a.cli.baselines import print_baselines
from u2a.cli.main import main
from u2a.data.packing.pack import pack_manifest
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.report.baselines import LABELS
from u2a.runs.dedicated import dedicated_run, finished
from u2a.runs.folder import Run
from u2a.training.dedicated import train_dedicated

#: Of every eight samples one lacks the image, one the text.
COUNTS = {"train": 40, "val": 16, "test": 24}
FAST = ("training.device=cpu", "training.epochs=0", "model.read_out=both")


@pytest.fixture(scope="module")
def run(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and one of its dedicated models trained by hand: text, from a recipe without images."""
    folder = tmp_path_factory.mktemp("run")
    gaps = lambda i: (i % 8 != 3, i % 8 != 6)  # noqa: E731
    recipe = toys.make(folder / "toy", checkpoints, counts=COUNTS, presence=gaps)
    text = recipe.read_text()
    pack_with_notes(recipe)
    recipe.write_text(text[: text.index("[model]")].replace('select_on = "complete"\n', ""))
    whole = u2a.train(recipe, run=folder / "run", sets=FAST).run.folder
    start, end = recipe.read_text().index("[modalities.image]"), recipe.read_text().index("[modalities.text]")
    alone = recipe.with_name("alone.toml")
    alone.write_text(recipe.read_text()[:start] + recipe.read_text()[end:])
    u2a.train(alone, run=whole / "dedicated/text", sets=FAST)
    return whole


def pack_with_notes(recipe: Path) -> None:
    """Pack anew, with a modality that is not the recipe's: each split begins with two samples of it alone."""
    manifest, wide = recipe.with_name("manifest.jsonl"), recipe.with_name("wide.toml")
    wide.write_text(recipe.read_text() + '[modalities.note]\nkind = "text"\nencoder = "./bert"\n')
    noted = [
        json.dumps({"key": f"{split}-note-{i}", "split": split, "label": "sea", "note": "ahoy"}) + "\n"
        for split in COUNTS
        for i in range(2)
    ]
    manifest.write_text("".join(noted) + manifest.read_text())
    pack_manifest(load_recipe(wide), manifest, recipe.with_name("shards"), overwrite=True, shard_size=10)


def test_models_of_another_recipe_do_not_count(run: Path) -> None:
    found, recipe = Run(run), Run(run).recipe()
    assert dedicated_run(found, recipe, ["text"]) is not None
    assert dedicated_run(found, Run(run).recipe(("training.lr=0.002",)), ["text"]) is None
    assert dedicated_run(found, Run(run).recipe(("data.workers=2",)), ["text"]) is not None


def test_drawn_gaps_are_refused(run: Path) -> None:
    recipe = Run(run).recipe(("data.missing.rate=0.5",))
    with pytest.raises(U2AError, match=r"data\.missing draws over all"):
        train_dedicated(Run(run), recipe, say=print)


def test_a_training_that_patience_ended_is_finished(run: Path, tmp_path: Path) -> None:
    ended = Run(shutil.copytree(run / "dedicated/text", tmp_path / "run", symlinks=True))
    assert finished(ended)
    rewrite(ended, total_steps=50)
    assert not finished(ended)
    rewrite(ended, stale=5)  # training.patience is 5
    assert finished(ended)


def rewrite(run: Run, **values: int) -> None:
    """Change what the last checkpoint says of itself."""
    folder = run.checkpoints / (run.checkpoints / "LAST").read_text().strip()
    said = folder / "adapter.json"
    said.write_text(json.dumps(json.loads(said.read_text()) | values))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["adapter.json"] = hashlib.sha256(said.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def command(run: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["baselines", str(run), *more])


def test_dedicated_models_are_trained_once_and_stand_beside_the_run(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_forks(monkeypatch)
    saved = (run / "dedicated/text/checkpoints/LAST").stat().st_mtime_ns
    done = command(run, "--dedicated", "--json")
    assert done.exit_code == 0, done.output
    assert "1/1  modalities=image, seed 0: training in" in done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["patterns"]
    assert [row["missing"] for row in rows if "dedicated" in row] == [["text"], ["image"]]
    for row, kept, n in ((rows[1], "image", 21), (rows[2], "text", 21)):
        mine = u2a.load(run / "dedicated" / kept)
        assert list(mine.recipe.modalities) == [kept]
        alone = mine.evaluate()  # on its 21 of 24 test samples that have its modality, as the row is
        assert row["n"] == alone.n == n
        beside = row["dedicated"]
        assert beside["score"] == pytest.approx(alone.scores["accuracy"])
        assert beside["difference"] == pytest.approx(row["score"] - beside["score"])
        assert beside["interval"][0] <= beside["difference"] <= beside["interval"][1]
        assert (beside["run"], beside["left_out"]) == (str(run / "dedicated" / kept), 5)
    assert (run / "dedicated/text/checkpoints/LAST").stat().st_mtime_ns == saved
    print_baselines(json.loads(done.stdout))
    shown = capsys.readouterr().out
    assert shown.count(LABELS["dedicated"]) == 2
    assert shown.count("; 5 training samples left out") == 2
