"""Rows to numbers and categories, missing cells, unknown categories, and checkpoints."""

from __future__ import annotations

import json
import math

import pytest
import torch
from pydantic import ValidationError
from u2a_plugin_tabular.checkpoint import build, save
from u2a_plugin_tabular.preprocess import MISSING, UNKNOWN
from u2a_plugin_tabular.spec import TABULAR

from u2a.common.distributed import World
from u2a.data.preprocessors import build_preprocessors
from u2a.errors import BadSample, CheckpointError, U2AError
from u2a.evaluation.predict import Predictor
from u2a.plugins.loading import load_registry
from u2a.recipe.file import as_recipe, load_recipe
from u2a.runs.build import build_model

COLUMNS = {"age": {"mean": 40, "std": 10}, "city": {"values": ["Lima", "Oslo"]}, "size": {"mean": 0, "std": 2}}


def options(**more: object):
    return TABULAR.options.model_validate(
        {"kind": "tabular", "columns": COLUMNS, "width": 16, "layers": 2, **more}
    )


def read(row: object) -> tuple[list[float], list[int]]:
    example = TABULAR.preprocessor(options())(json.dumps(row).encode(), train=False, seed=0)
    return example["numbers"].tolist(), example["categories"].tolist()


def test_numbers_are_standardised_and_categories_numbered():
    assert read({"age": 60, "size": -1.0, "city": "Oslo"}) == ([2.0, -0.5], [3])
    assert read({"age": 60, "size": -1.0, "city": "Lima", "other": [1]}) == ([2.0, -0.5], [2])


def test_columns_keep_the_recipes_order():
    columns = {"width": {"mean": 0, "std": 1}, "age": {"mean": 0, "std": 1}}
    columns |= {"town": {"values": ["Lima"]}, "city": {"values": ["Rome", "Oslo"]}}
    row = json.dumps({"age": 1, "city": "Oslo", "town": "Lima", "width": 2}).encode()
    example = TABULAR.preprocessor(options(columns=columns))(row, train=False, seed=0)
    assert (example["numbers"].tolist(), example["categories"].tolist()) == ([2, 1], [2, 3])


@pytest.mark.parametrize("absent", [{}, {"age": None, "city": None}, {"age": math.nan, "city": math.nan}])
def test_missing_cells(absent):
    numbers, categories = read({"size": 2, **absent})
    assert math.isnan(numbers[0])
    assert numbers[1] == 1.0
    assert categories == [MISSING]


def test_unknown_categories_are_not_missing_ones():
    assert read({"age": 40, "city": "Rome"})[1] == [UNKNOWN]
    assert read({"age": 40, "city": ""})[1] == [UNKNOWN]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "must be a JSON object of columns, not list"),
        (b"{}", "no value in any of the columns age, city, size"),
        (b'{"age": null, "city": null, "size": NaN}', "leave the whole modality out"),
        (b'{"age": "old"}', "column 'age' must be a number or null, not 'old'"),
        (b'{"age": true}', "column 'age' must be a number"),
        (b'{"age": Infinity}', "column 'age': inf is too large"),
        (b'{"age": 1' + b"0" * 400 + b"}", "is too large"),
        (b'{"city": 1.5}', "column 'city' must be a text"),
        (b'{"city": ["Oslo"]}', "column 'city' must be a text"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_rows_that_are_refused(member, reason):
    with pytest.raises(BadSample, match=reason):
        TABULAR.preprocessor(options())(member, train=False, seed=0)


def tokens(module: torch.nn.Module, row: dict[str, object], **more: object) -> torch.Tensor:
    preprocessor = TABULAR.preprocessor(options(**more))
    inputs = preprocessor.collate([preprocessor(json.dumps(row).encode(), train=False, seed=0)])
    return TABULAR.embedding(module, inputs).hidden_NLD[0]


def test_each_cell_has_its_own_vector():
    module = build(options())
    age, size, city = tokens(module, {"age": 60, "size": 2, "city": "Lima"})[1:]
    torch.testing.assert_close(age, 2 * module.slope_FD[0] + module.bias_FD[0])
    torch.testing.assert_close(size, module.slope_FD[1] + module.bias_FD[1])
    torch.testing.assert_close(city, module.categories.weight[2])
    absent = tokens(module, {"size": 2, "city": "Rome"})
    torch.testing.assert_close(absent[1], module.missing_FD[0])
    torch.testing.assert_close(absent[3], module.categories.weight[UNKNOWN])
    two = {**COLUMNS, "colour": {"values": ["red", "blue", "green"]}}
    module = build(options(columns=two))
    city, colour = tokens(module, {"city": "Lima", "colour": "blue"}, columns=two)[3:]
    torch.testing.assert_close(city, module.categories.weight[2])
    torch.testing.assert_close(colour, module.categories.weight[4 + 3])  # behind the four of the city


def test_missing_cells_learn_and_nothing_is_nan():
    module = build(options())
    out = TABULAR.encoder(
        module,
        TABULAR.embedding(
            module,
            {
                "numbers": torch.tensor([[math.nan, 1.0], [1.0, math.nan]]),
                "categories": torch.tensor([[0], [3]]),
            },
        ),
    )
    (out * torch.randn(out.shape)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert (module.missing_FD.grad.abs().sum(1) > 0).all()


def test_the_recipes_seed_alone_decides_how_it_starts(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        """
name = "rows"
data = { shards = "shards" }
task = { classes = ["a", "b"] }
training = { batch_size = 2, epochs = 1, warmup_epochs = 0, lr = 1e-3 }
[modalities.tabular]
width = 16
layers = 2
columns = { age = { mean = 40, std = 10 } }
"""
    )

    def start(seed: int, ambient: int) -> torch.Tensor:
        torch.manual_seed(ambient)
        recipe = load_recipe(tmp_path / "recipe.toml", [f"seed={seed}"])
        return next(build_model(recipe).each_branch()).backbone.cls_D

    assert torch.equal(start(0, 1), start(0, 2))
    assert not torch.equal(start(0, 1), start(1, 1))


def test_an_encoder_comes_back_from_its_folder(tmp_path):
    module = build(options())
    save(tmp_path / "encoder", module, options())
    chosen = options(encoder=str(tmp_path / "encoder"))
    again = TABULAR.backbone(chosen, weights=True)
    for name, tensor in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    scratch = TABULAR.backbone(chosen, weights=False)
    assert not torch.equal(scratch.cls_D, module.cls_D)


def test_encoders_that_do_not_fit_are_refused(tmp_path):
    folder = tmp_path / "encoder"
    save(folder, build(options()), options())
    turned = dict(reversed(COLUMNS.items()))
    with pytest.raises(U2AError, match="other columns than this recipe's"):
        TABULAR.backbone(options(encoder=str(folder), columns=turned), weights=True)
    with pytest.raises(U2AError, match="other width"):
        TABULAR.backbone(options(encoder=str(folder), width=32), weights=True)
    with pytest.raises(U2AError, match="cannot be read"):
        TABULAR.backbone(options(encoder=str(tmp_path / "none")), weights=True)
    (folder / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be used"):
        TABULAR.backbone(options(encoder=str(folder)), weights=True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"columns": {}}, "at least 1 item"),
        ({"columns": {"age": {"mean": 1, "std": 0}}}, "greater than 0"),
        ({"columns": {"age": {"mean": math.nan, "std": 1}}}, "finite number"),
        ({"columns": {"city": {"values": ["a", "a"]}}}, "'a' is named twice"),
        ({"columns": {"city": {"values": ["a"], "mean": 1}}}, "Extra inputs"),
        ({"width": 30}, "not divisible by heads"),
        ({"encoder": "https://example.org/x"}, "folder on this machine"),
    ],
)
def test_options_that_are_refused(changes, reason):
    with pytest.raises(ValidationError, match=reason):
        options(**changes)


def test_rows_from_python():
    assert json.loads(TABULAR.to_member({"age": 3, "city": None})) == {"age": 3, "city": None}
    with pytest.raises(BadSample, match="mapping of columns"):
        TABULAR.to_member([3])
    with pytest.raises(BadSample, match="numbers, texts and None"):
        TABULAR.to_member({"age": object()})


def test_prediction_takes_a_row_as_a_manifest_does(tmp_path):
    recipe = as_recipe(
        {
            "name": "rows",
            "data": {"shards": "none"},
            "task": {"classes": ["a", "b"]},
            "modalities": {"tabular": {"columns": COLUMNS, "width": 16, "layers": 1}},
        }
    )
    place = World(0, 1, 0, 1, torch.device("cpu"))
    predictor = Predictor(build_model(recipe).eval(), recipe, build_preprocessors(recipe), place)
    row = {"age": 31, "city": "Oslo"}
    (tmp_path / "row.json").write_text(json.dumps(row))
    for given in (row, json.dumps(row), f" {json.dumps(row)}", str(tmp_path / "row.json")):
        found = predictor.read({"tabular": given})["tabular"]
        assert (found["numbers"][0], found["categories"].tolist()) == (torch.tensor(-0.9), [3])
    for given, said in (('{"age": }', "is not JSON"), ("row.json", "row.json: no such file")):
        with pytest.raises(U2AError, match=said):
            predictor.read({"tabular": given})


def test_the_installed_distribution_registers_tabular():
    assert load_registry().owners["tabular"].distribution == "u2a-plugin-tabular"
