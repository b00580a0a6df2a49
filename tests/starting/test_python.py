"""The way from Python: data in memory, a recipe as a dict, results that show themselves, explanations."""

from __future__ import annotations

import itertools
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import u2a


class Frame:
    """What u2a asks of a pandas data frame."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.columns = rows, list(rows[0])

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return self.rows


def rows(count: int = 40) -> list[dict[str, Any]]:
    """A picture as an array, a text; every seventh lacks the text."""
    return [
        {
            "image": np.asarray(tiny.picture(40, 36, i // 2)),  # pairs of twins
            "text": float("nan") if i % 7 == 3 else f"the {['red', 'old'][i % 2]} boat {i}",
            "label": ["red", "old"][i % 2],
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("python")
    return {
        "name": "held",
        "data": {"shards": str(folder / "shards"), "workers": 0},
        "task": {"classes": ["red", "old"]},
        "modalities": {
            "image": {"encoder": str(checkpoints["clip"])},
            "text": {"encoder": str(checkpoints["bert"])},
        },
        "training": {"epochs": 1, "batch_size": 4, "device": "cpu"},
    }


@pytest.fixture(scope="module")
def model(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> u2a.Model:
    u2a.pack(rows(), recipe)
    return u2a.train(recipe, run=tmp_path_factory.mktemp("runs") / "run")


def names_in(shard: Path) -> list[str]:
    with tarfile.open(shard) as tar:
        return tar.getnames()


def presence(summary: Any) -> dict[str, int]:
    return {name: split.samples for name, split in summary.items()}


def test_a_frame_is_data_like_a_list_of_dicts(recipe: dict[str, Any], tmp_path: Path) -> None:
    listed = u2a.pack(rows(), recipe, tmp_path / "list")
    framed = u2a.pack(Frame(rows()), recipe, tmp_path / "frame")
    assert presence(listed) == presence(framed)
    assert set(listed) == {"train", "val", "test"}
    assert sum(presence(listed).values()) == 40
    assert sum(split.presence["image",] for split in listed.values()) == 6
    both = [(tmp_path / name / "dataset.json").read_bytes() for name in ("list", "frame")]
    assert both[0] == both[1]
    split = {
        int(Path(member).name.split(".")[0]): name
        for name in listed
        for shard in (tmp_path / "list").glob(f"{name}-*.tar")
        for member in names_in(shard)
    }
    assert len(split) == 40
    assert all(split[i] == split[i + 1] for i in range(1, 40, 2))


def test_faults_in_memory_are_told_by_row(recipe: dict[str, Any], tmp_path: Path) -> None:
    bad = rows()
    bad[4]["image"] = 7
    with pytest.raises(u2a.U2AError, match=r"line 5: "):
        u2a.pack(bad, recipe, tmp_path / "bad")
    with pytest.raises(u2a.U2AError, match=r"every sample must be a dict, not int"):
        u2a.pack([1, 2], recipe, tmp_path / "bad")
    with pytest.raises(u2a.U2AError, match=r"training\.epoch: unknown key; did you mean 'epochs'"):
        u2a.train({**recipe, "training": {"epoch": 3}})


def test_a_recipe_as_a_dict_is_not_changed_and_takes_sets(
    recipe: dict[str, Any], model: u2a.Model, tmp_path: Path
) -> None:
    assert model.recipe.training.epochs == 1
    other = u2a.train(recipe, run=tmp_path / "run", sets=["training.epochs=0"])
    assert other.recipe.training.epochs == 0
    assert recipe["training"]["epochs"] == 1


def test_results_say_what_they_are(model: u2a.Model) -> None:
    assert "image, text; 2 classes" in repr(model)
    scenario = model.evaluate(drop="text")
    assert repr(scenario).startswith("Scenario(without text: accuracy 0.")
    prediction = model.predict({"text": "the red boat <b>"})
    assert repr(prediction).startswith(f"Prediction({prediction.labels[0]}: {prediction.labels[0]} ")
    assert "filled in image" in repr(prediction)
    for shown in (model, scenario, prediction):
        html = shown._repr_html_()
        assert html.startswith("<table>")
        assert "<b>" not in html


def test_an_explanation_is_the_mean_over_all_orders_of_joining(model: u2a.Model) -> None:
    sample = {"image": tiny.picture(40, 36, 3), "text": "the red boat"}
    found = model.explain(sample)
    p = {
        names: model.predict({name: sample[name] for name in names}).probabilities[found.label]
        for n in (1, 2)
        for names in itertools.combinations(sample, n)
    }
    p[()] = found.nothing
    for name in sample:
        joined = []
        for order in itertools.permutations(sample):
            before = tuple(n for n in sample if n in order[: order.index(name)])
            after = tuple(n for n in sample if n in (*before, name))
            joined.append(p[after] - p[before])
        assert found.contributions[name] == pytest.approx(math.fsum(joined) / len(joined), abs=1e-5)
        assert found.alone[name] == pytest.approx(p[name,], abs=1e-5)
    assert found.probability == pytest.approx(p["image", "text"], abs=1e-5)
    assert sum(found.contributions.values()) == pytest.approx(found.probability - found.nothing, abs=1e-9)
    only = model.explain({"text": "the red boat"}, label="old")
    assert only.label == "old"
    assert list(only.contributions) == ["text"]
    with pytest.raises(u2a.U2AError, match="none of the classes"):
        model.explain(sample, label="blue")
