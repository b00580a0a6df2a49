"""``u2a plugins show`` and ``u2a recipe schema``: what the installed plugins want."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field, ValidationError

import u2a
from u2a.cli.main import main
from u2a.contract.blame import Owner
from u2a.plugins.describe import describe_modality
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.recipe.json_schema import recipe_schema

jsonschema = pytest.importorskip("jsonschema")
RECIPES = Path(__file__).parents[2] / "recipes"


class Column(BaseModel):
    mean: float = 0.0


class Odd(u2a.ModalityOptions):
    columns: dict[str, Column] = Field(description="the columns", examples=[{"age": {"mean": 30.0}}])
    mode: Literal["a", "b"] = Field("a", description="how")
    sizes: tuple[int, ...] = Field((1, 2), description="sizes")
    limit: int | None = Field(None, ge=2, le=9, description="limit")


class Window(Enum):
    hann = "hann"
    none = "none"


class Demanding(u2a.ModalityOptions):
    """Required options of every kind, none with an example."""

    flip: bool = Field(description="a switch")
    above: int = Field(description="bound below", gt=5)
    below: int = Field(description="bound above", lt=-2)
    part: float = Field(description="both", gt=0, lt=1)
    most: float = Field(description="bound above", le=-0.5)
    patch: int = Field(description="a multiple", ge=10, multiple_of=8)
    mode: Literal["slow", "fast"] = Field(description="a choice")
    only: Literal["one"] = Field(description="no choice")
    window: Window = Field(description="a choice of a class")
    limit: int | None = Field(description="a number or nothing", ge=2)
    sizes: list[int] = Field(description="some numbers", min_length=2)
    scale: tuple[float, float] = Field(description="a pair")
    column: Column = Field(description="a section")
    word: str = Field(description="a text", min_length=5)
    letter: str = Field(description="a short text", max_length=1)


@pytest.fixture
def plugins() -> Registry:
    """The image modality, one with odd options and one that leaves none open."""
    found = Registry()
    image = registry().specs["image"]
    odd, demanding = (replace(image, name=o.__name__.lower(), options=o) for o in (Odd, Demanding))
    for spec in (image, odd, demanding):
        found.modalities.add(Owner(spec.name, f"u2a-plugin-{spec.name}", "2"), spec)
    return found


def test_options_with_types_defaults_and_help(plugins):
    found = describe_modality("odd", plugins)
    rows = {
        row["name"]: (row["type"], row["required"], row["default"], row["help"]) for row in found["options"]
    }
    assert rows == {
        "columns": ("table of {mean: number}", True, None, "the columns"),
        "mode": ("'a' | 'b'", False, "a", "how"),
        "sizes": ("list of int", False, [1, 2], "sizes"),
        "limit": ("int >= 2, <= 9", False, None, "limit"),
        "tune": ("'lora' | 'frozen' | 'full'", False, "lora", rows["tune"][3]),
    }
    assert (found["distribution"], found["version"], found["api"]) == ("u2a-plugin-odd", "2", 2)


def test_an_option_without_an_example_is_named_in_a_comment(plugins):
    lines = describe_modality("demanding", plugins)["example"].splitlines()
    required = {name for name, field in Demanding.model_fields.items() if field.is_required()} - {"kind"}
    assert lines[0] == "[modalities.demanding]"
    assert {line.removeprefix("# ").partition(" = ")[0] for line in lines[1:]} == required
    assert "# patch = int >= 10: a multiple" in lines


@pytest.mark.parametrize("name", ["odd", "image"])
def test_the_example_lacks_nothing_but_what_its_comments_name(plugins, name):
    example = describe_modality(name, plugins)["example"]
    section = tomllib.loads(example)["modalities"][name]
    faults = []
    try:
        plugins.specs[name].options.model_validate({"kind": name, **section})
    except ValidationError as error:
        faults = error.errors()
    assert {fault["type"] for fault in faults} <= {"missing"}
    commented = {
        line.removeprefix("# ").partition(" = ")[0] for line in example.splitlines() if line[:2] == "# "
    }
    assert {fault["loc"][0] for fault in faults} == commented


def test_show_prints_everything():
    result = CliRunner().invoke(main, ["plugins", "show", "image"])
    assert result.exit_code == 0, result.output
    for text in ("of u2a ", ".webp", "crop_scale", "[0.08, 1.0]", "required", "[modalities.image]"):
        assert text in result.output


def test_show_of_an_unknown_modality_says_what_there_is():
    result = CliRunner().invoke(main, ["plugins", "show", "smell"])
    assert result.exit_code == 2
    assert "pip install u2a-plugin-smell" in result.output


def test_the_schema_lists_installed_modalities_only(plugins):
    schema = recipe_schema(plugins)
    jsonschema.Draft7Validator.check_schema(schema)
    assert "prefixItems" not in json.dumps(schema)
    assert list(schema["properties"]["modalities"]["properties"]) == ["demanding", "image", "odd"]
    assert "audio" not in json.dumps(schema["properties"]["modalities"])
    assert schema["definitions"]["modality_odd"]["title"] == "odd (plugin 'odd' of u2a-plugin-odd 2)"


@pytest.mark.parametrize("name", ["quickstart", "movies", "clips", "kinetics_sound"])
def test_shipped_recipes_fit_the_schema(name):
    result = CliRunner().invoke(main, ["recipe", "schema"])
    recipe = tomllib.loads((RECIPES / f"{name}.toml").read_text())
    jsonschema.Draft7Validator(json.loads(result.output)).validate(recipe)


def recipe(**modalities: object) -> dict[str, object]:
    training = {"batch_size": 2, "epochs": 9, "lr": 0.1}
    task = {"classes": ["a", "b"]}
    return {"name": "x", "data": {"shards": "x"}, "task": task, "modalities": modalities, "training": training}


@pytest.mark.parametrize(
    ("sections", "fits"),
    [
        ({"image": {"encoder": "x"}}, True),
        ({"image": {"encoder": "x", "kind": "image"}}, True),
        ({"left": {"encoder": "x", "kind": "image"}}, True),
        ({"image": {"kind": "odd", "columns": {}}}, True),
        ({"left": {"encoder": "x"}}, False),
        ({"left": {"encoder": "x", "kind": "smell"}}, False),
        ({"image": {}}, False),
        ({"image": {"encoder": "x", "columns": {}}}, False),
        ({"image": {"encoder": "x", "crop_scale": [0.1, 0.2, 0.3]}}, False),
        ({"Left": {"encoder": "x", "kind": "image"}}, False),
        ({"odd": {"columns": {"age": {"mean": "high"}}}}, False),
        ({}, False),
    ],
)
def test_what_fits_the_schema(plugins, sections, fits):
    assert jsonschema.Draft7Validator(recipe_schema(plugins)).is_valid(recipe(**sections)) is fits
