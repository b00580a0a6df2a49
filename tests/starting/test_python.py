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
import torch

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


def test_keys_that_are_numbers_are_divided_as_any_others(recipe: dict[str, Any], tmp_path: Path) -> None:
    """A column of whole numbers with a gap is one of floats in pandas."""
    texts = [{"text": f"the boat {i}", "label": ["red", "old"][i % 2]} for i in range(20)]
    shapes: tuple[Any, ...] = (str, int, float, np.float64)
    found = [
        presence(u2a.pack([{**row, "key": shape(i)} for i, row in enumerate(texts)], recipe, tmp_path / str(n)))
        for n, shape in enumerate(shapes)
    ]
    assert found[0].keys() == {"train", "val", "test"}
    assert found[1:] == found[:1] * 3


def test_a_drawn_split_parts_no_groups_and_is_the_seeds(recipe: dict[str, Any], tmp_path: Path) -> None:
    texts = [
        {"key": f"{i}", "text": f"boat {i}", "label": ["red", "old"][i % 2], "group": f"g{i // 4}"}
        for i in range(40)
    ]
    found = []
    for seed in (0, 1):
        packed = u2a.pack(texts, recipe, tmp_path / str(seed), seed=seed)
        shards = [(name, shard) for name in packed for shard in (tmp_path / str(seed)).glob(f"{name}-*.tar")]
        found.append({Path(m).name.split(".")[0]: name for name, shard in shards for m in names_in(shard)})
        assert all(len({found[-1][f"{4 * group + i}"] for i in range(4)}) == 1 for group in range(10))
    assert found[0] != found[1]


def test_files_are_decoded_before_they_are_packed(recipe: dict[str, Any], tmp_path: Path) -> None:
    cut = tiny.image_bytes(tiny.picture())[:-90]
    with pytest.raises(u2a.U2AError, match="image: cannot be decoded"):
        u2a.pack([{"image": cut, "label": "red", "split": "train"}], recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["pandas", "polars", "polars lazy", "pyarrow"])
def test_real_frames(recipe: dict[str, Any], tmp_path: Path, kind: str) -> None:
    """Of what people have in them: nothing, NaN, categories, nullable numbers and their words for nothing."""
    count = 12
    plain = [
        {
            "image": f"{i}.png",
            "text": None if i == 3 else "N/A" if i == 5 else f"boat {i}",
            "label": i % 2,
            "split": "train",
        }
        for i in range(count)
    ]
    for i in range(count):
        (tmp_path / f"{i}.png").write_bytes(tiny.image_bytes(tiny.picture(40, 36, i)))
    frame = framed(kind, plain)
    if kind == "pandas":
        frame = frame.convert_dtypes()
        frame["label"] = frame["label"].map({0: "red", 1: "old"}).astype("category")
    packed = u2a.pack(frame, recipe, tmp_path / "shards", root=tmp_path, missing_words=("N/A",))
    assert packed["train"].samples == count
    assert packed["train"].presence == {("image", "text"): count - 2, ("image",): 2}
    assert packed["train"].labels == {"red": count // 2, "old": count // 2}


@pytest.mark.parametrize("kind", ["own", "pandas", "polars", "polars lazy", "pyarrow"])
def test_a_frame_is_predicted_like_its_rows(model: u2a.Model, tmp_path: Path, kind: str) -> None:
    picture = tmp_path / "0.png"
    picture.write_bytes(tiny.image_bytes(tiny.picture(40, 36, 0)))
    given = [{"text": text, "image": str(picture), "price": 3} for text in ("the red boat", None)]
    right = [model.predict({k: v for k, v in row.items() if k != "price" and v}) for row in given]
    assert right[0].used != right[1].used
    found = model.predict(framed(kind, given))
    assert [p.used for p in found] == [p.used for p in right]
    for one, other in zip(found, right, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    renamed = [{"Text": row["text"], "image": row["image"]} for row in given]
    with pytest.raises(
        u2a.U2AError, match="column 'Text' is none of this run's modalities; did you mean 'text'"
    ):
        model.predict(framed(kind, renamed))
    assert model.predict(framed(kind, given[:1]))[0].used == right[0].used


def framed(kind: str, rows: list[dict[str, Any]]) -> Any:
    if kind == "own":
        return Frame(rows)
    library = pytest.importorskip(kind.split()[0])
    if kind == "pyarrow":
        return library.Table.from_pylist(rows)
    return library.LazyFrame(rows) if kind == "polars lazy" else library.DataFrame(rows)


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


def test_samples_of_many_batches_are_all_answered_in_their_order(model: u2a.Model) -> None:
    samples = [{"text": f"the {['red', 'old'][i % 2]} boat {i}"} for i in range(70)]
    found, vectors = model.predict(samples), model.embed(samples)
    assert len(found) == len(vectors) == 70
    for i in (0, 31, 32, 69):
        assert found[i].probabilities == pytest.approx(model.predict(samples[i]).probabilities, abs=1e-5)
        np.testing.assert_allclose(vectors[i], model.embed(samples[i]), atol=1e-4)
    assert model.predict([]) == []
    assert model.embed([]).shape == (0, vectors.shape[1])


def test_what_is_predicted_is_read_as_in_evaluation_and_nan_is_missing(model: u2a.Model) -> None:
    member = tiny.image_bytes(tiny.picture(60, 44))
    read = model.predictor.read({"image": member, "text": float("nan")})
    assert list(read) == ["image"]
    plain = model.preprocessors["image"](member, train=False, seed=0)["pixel_values"]
    assert torch.equal(read["image"]["pixel_values"], plain)
    read = model.predictor.read(
        {"image": {"bytes": member, "path": None}, "text": {"bytes": None, "path": None}}
    )
    assert list(read) == ["image"]
    assert torch.equal(read["image"]["pixel_values"], plain)
    with pytest.raises(u2a.U2AError, match="0: no such modality"):
        model.predictor.read({0: member})  # type: ignore[dict-item]


def test_results_say_what_they_are(model: u2a.Model) -> None:
    assert "image, text; 2 classes" in repr(model)
    scenario = model.evaluate(drop="text")
    assert repr(scenario).startswith("Scenario(without text: accuracy 0.")
    prediction = model.predict({"text": "the red boat <b>"})
    assert repr(prediction).startswith(f"Prediction({prediction.labels[0]}: {prediction.labels[0]} ")
    assert "filled in image" in repr(prediction)
    explanation = model.explain({"text": "the red boat", "image": tiny.picture(40, 36, 3)}, label="red")
    assert (
        f"<td style='text-align:left'>{explanation.contributions['text']:+.1%}</td>"
        in explanation._repr_html_()
    )
    for shown in (model, scenario, prediction, explanation):
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
    with torch.no_grad():
        model.network.head.bias += torch.tensor([0.7, -0.2])
    for label in ("red", "old"):
        asked = model.explain(sample, label=label)
        wanted = model.predict(sample).probabilities[label]
        assert (asked.label, asked.probability) == (label, pytest.approx(wanted, abs=1e-5))
        bias_C = model.network.head.bias.detach().numpy()  # what the head says of every modality's mean
        nothing_C = model.predictor.calibration.probabilities(bias_C[None], "none", 2)[0]
        assert asked.nothing == pytest.approx(nothing_C[["red", "old"].index(label)], abs=1e-6)
    only = model.explain({"text": "the red boat"}, label="old")
    assert only.label == "old"
    assert list(only.contributions) == ["text"]
    with pytest.raises(u2a.U2AError, match="none of the classes"):
        model.explain(sample, label="blue")


def test_the_fused_vector_is_what_the_classifier_is_linear_in(model: u2a.Model) -> None:
    given = [{"image": np.asarray(tiny.picture(40, 36, 1)), "text": "the red boat"}, {"text": "the old boat"}]
    fused = model.embed(given)
    head: Any = model.network.head
    weight = torch.cat([head.weights[name] for name in ("image", "text")], 1).detach().numpy()
    logits = fused @ weight.T + head.bias.detach().numpy()
    found = model.predict(given)
    for row, pattern, one in zip(logits, ("image+text", "text"), found, strict=True):
        expected = model.calibration.probabilities(row[None], pattern, 2)[0]
        assert [one.probabilities[c] for c in ("red", "old")] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(model.embed(given[1]), fused[1], atol=1e-5)
    assert model.embed([]).shape == (0, fused.shape[1])


def test_a_branch_is_an_encoder_by_itself(model: u2a.Model, checkpoints: dict[str, Path]) -> None:
    branch = model.branch("text")
    assert type(branch.encoder).__name__ == "BertModel"
    assert branch.base["id"] == str(checkpoints["bert"])
    tokens = branch.tokens(["the red boat", "old"] * 20)
    assert tokens.cls_PH.shape == (40, 32)
    again = branch.tokens(["old"])
    torch.testing.assert_close(again.mask_PKH[0], tokens.mask_PKH[1], atol=1e-5, rtol=0)
    with pytest.raises(u2a.U2AError, match="audio: no such modality; this run has image, text"):
        model.branch("audio")
    with pytest.raises(u2a.U2AError, match="text: value 1 is missing"):
        branch.tokens(["old", None])


def test_adapters_that_are_put_into_a_model_count_at_once(model: u2a.Model, tmp_path: Path) -> None:
    branch, given = model.branch("text"), {"text": "the red boat"}
    folder = branch.save_peft(tmp_path / "text")
    before = model.embed(given)
    with torch.no_grad():
        for name, parameter in model.network.branches[1].learnable():
            if name.endswith("lora_B"):
                parameter.add_(0.5)
    branch.save_peft(tmp_path / "other")
    branch.load_peft(folder)
    np.testing.assert_allclose(model.embed(given), before, atol=1e-6)
    branch.load_peft(tmp_path / "other")
    assert np.abs(model.embed(given) - before).max() > 1e-3
    branch.load_peft(folder)
