"""The recipes of the paper's data sets train and evaluate on prepared miniatures, with 70 % missing too."""

import miniatures
import pytest
from miniatures import small

from u2a.evaluation.commands import evaluate_run
from u2a.recipe.file import load_recipe
from u2a.recipe.shipped import shipped_recipes
from u2a.training.start import train_command
from u2a_prepare.run import prepare
from u2a_prepare.sets import DATA_SETS

TINY = ["epochs=1", "warmup_epochs=0", "batch_size=4", "device=cpu"]


ALIKE = [pytest.param(name, marks=pytest.mark.slow) for name in ("kinetics_sound", "ave")]


@pytest.mark.filterwarnings("ignore:No positive samples")  # the miniatures lack most genres
@pytest.mark.parametrize("name", ["food101", "mm_imdb", "crema_d", *ALIKE])
def test_prepare_train_evaluate(name, tmp_path, checkpoints, capsys):
    kept = {"classes": ("apple_pie", "waffles")} if name == "food101" else {}
    getattr(miniatures, name)(tmp_path / "source", **kept)
    recipe = shipped_recipes()[name]
    sets = small(name, checkpoints)
    made = prepare(name, load_recipe(recipe, sets), tmp_path / "source", tmp_path / "out")
    n = made.summary.splits["train"].samples
    sets += [f"data.shards={tmp_path / 'out'}", "data.workers=0", *(f"training.{value}" for value in TINY)]
    for eta, incomplete in (([], 0), (["data.missing.rate=0.7"], n * 7 // 10)):
        folder = tmp_path / f"run{len(eta)}"
        train_command(str(recipe), [*sets, *eta], str(folder), False)
        assert f"{n} training samples, {incomplete} with a missing modality" in capsys.readouterr().err
        scenario, _ = evaluate_run(
            folder, drop=DATA_SETS[name].columns[1:], split="test", checkpoint="last", sets=()
        )
        assert scenario.n + scenario.n_empty == made.summary.splits["test"].samples
        assert scenario.scores.keys() == scenario.complete.keys()
        assert all(0 <= value <= 1 for value in scenario.scores.values())
