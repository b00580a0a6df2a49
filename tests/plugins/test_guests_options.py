"""Options survive the way into a run folder and back, or the recipe is refused before anything is trained."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    computed_field,
    field_validator,
    model_validator,
)

import u2a
from u2a.contract.blame import Owner
from u2a.errors import PluginError, RecipeError
from u2a.plugins.describe import describe_modality
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.recipe.file import dump_recipe, parse_recipe
from u2a.recipe.json_schema import recipe_schema

jsonschema = pytest.importorskip("jsonschema")


class Alias(u2a.ModalityOptions):
    lambda_: float = Field(0.1, alias="lambda", description="a word of Python")


class TaskSection(BaseModel):
    """Named as one of u2a's own."""

    from_: int = Field(1, alias="from")

    @computed_field
    def twice(self) -> int:
        return 2 * self.from_


class Nested(u2a.ModalityOptions):
    part: TaskSection = TaskSection()
    parts: dict[str, TaskSection] = Field({})

    @computed_field
    def size(self) -> int:
        return self.part.from_


class Colour(Enum):
    red = 1


class Kinds(u2a.ModalityOptions):
    day: date = date(2020, 1, 2)
    file: Path = Path("a/b")
    colours: frozenset[Colour] = frozenset({Colour.red})
    by_number: dict[int, str] = Field({3: "three"})
    limit: float = float("nan")
    most: float = float("inf")
    pair: tuple[int, str] = (1, "x")
    maybe: int | None = None
    big: complex | None = None


class Camel(u2a.ModalityOptions):
    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))
    patch_size: int = 4


class Drawn(u2a.ModalityOptions):
    seed: int = Field(default_factory=lambda: random.randrange(10**9))


class Memory(u2a.ModalityOptions):
    size: int = 3
    _cache: object = PrivateAttr(default_factory=object)


class Secret(u2a.ModalityOptions):
    token: SecretStr = SecretStr("none")


class Excluded(u2a.ModalityOptions):
    scale: float = Field(1.0, exclude=True)


class DeepExcluded(u2a.ModalityOptions):
    class Inner(BaseModel):
        scale: float = Field(1.0, exclude=True)

    inner: Inner = Inner()


class Growing(u2a.ModalityOptions):
    size: Annotated[int, BeforeValidator(lambda value: value + 1)] = 3


class ToNone(u2a.ModalityOptions):
    limit: Annotated[int | None, BeforeValidator(lambda value: None if value == "no" else value)] = 7


class OtherAlias(u2a.ModalityOptions):
    size: int = Field(3, validation_alias=AliasChoices("size_in", "size"), serialization_alias="size_out")


class Rounded(u2a.ModalityOptions):
    scale: Annotated[float, PlainSerializer(lambda value: round(value))] = 1.0


class Stranger:
    pass


class Arbitrary(u2a.ModalityOptions):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    value: Stranger | None = None
    size: int = 3


class Breaking(u2a.ModalityOptions):
    size: int = Field(3, alias="taille")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        raise RuntimeError("no schema")


class Holding(Arbitrary):
    @model_validator(mode="before")
    @classmethod
    def _made(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "value": Stranger()}


def failing(error: BaseException) -> type[u2a.ModalityOptions]:
    class Failing(u2a.ModalityOptions):
        preset: str = "wide"
        size: int = 3

        @field_validator("preset")
        @classmethod
        def _known(cls, value: str) -> str:
            if value != "wide":
                raise error
            return value

    return Failing


def plugins(options: type[u2a.ModalityOptions]) -> Registry:
    """The installed metrics and one modality with these options."""
    found = Registry(metrics=registry().metrics)
    found.modalities.add(
        Owner("odd", "u2a-plugin-odd", "3"), replace(registry().specs["image"], name="odd", options=options)
    )
    return found


def parsed(options: type[u2a.ModalityOptions], **section: Any) -> tuple[Any, Registry]:
    known = plugins(options)
    document = {
        "name": "x",
        "data": {"shards": "s"},
        "task": {"classes": ["a", "b"]},
        "modalities": {"left": {"kind": "odd", **section}},
        "training": {"batch_size": 2, "epochs": 9, "lr": 0.1},
    }
    return parse_recipe(document, source="r.toml", folder=Path("/f"), plugins=known), known


@pytest.mark.parametrize(
    ("options", "section", "value"),
    [
        (Alias, {"lambda": 0.5}, lambda o: o.lambda_ == 0.5),
        (
            Nested,
            {"part": {"from": 5}, "parts": {"a": {"from": 6}}},
            lambda o: (o.part.twice, o.size) == (10, 5),
        ),
        (Kinds, {}, lambda o: o.by_number == {3: "three"} and o.most == float("inf")),
        (Kinds, {"day": date(2021, 2, 3), "limit": 3.0}, lambda o: o.day == date(2021, 2, 3)),
        (Camel, {"patch-size": 8}, lambda o: o.patch_size == 8),
        (Drawn, {}, lambda o: o.seed >= 0),
        (Memory, {"size": 4}, lambda o: o.size == 4),
        (Arbitrary, {"size": 4}, lambda o: o.size == 4),
        (failing(KeyError("x")), {"preset": "wide"}, lambda o: o.preset == "wide"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_run_keeps_is_what_was_trained_with(
    options: type[u2a.ModalityOptions], section: dict[str, Any], value: Callable[[Any], bool]
) -> None:
    recipe, known = parsed(options, **section)
    kept = tomllib.loads(dump_recipe(recipe))
    again = parse_recipe(kept, source="run.toml", folder=Path("/elsewhere"), plugins=known)
    assert value(recipe.modalities["left"])
    for field in options.model_fields:
        first, second = (getattr(one.modalities["left"], field) for one in (recipe, again))
        assert first == second or (first != first and second != second)
    assert dump_recipe(again) == dump_recipe(recipe)


@pytest.mark.parametrize(
    ("options", "section", "reason"),
    [
        (Secret, {"token": "abc"}, "would not keep the option 'token' as it is"),
        (Excluded, {"scale": 5.0}, "would not keep the option 'scale' as it is"),
        (DeepExcluded, {"inner": {"scale": 5.0}}, "would not keep the option 'inner.scale' as it is"),
        (Growing, {"size": 5}, "would not keep the option 'size' as it is"),
        (ToNone, {"limit": "no"}, "would not keep the option 'limit' as it is"),
        (OtherAlias, {"size_in": 5}, "which it then refuses to read (size_out: Extra inputs"),
        (Rounded, {"scale": 0.4}, "would not keep the option 'scale' as it is"),
        (Holding, {}, "a run cannot keep its options as TOML: PydanticSerializationError"),
        (
            failing(KeyError("medium")),
            {"preset": "medium"},
            "the option 'preset' is refused by plugin 'odd' of",
        ),
        (failing(KeyError("medium")), {"preset": "medium"}, "KeyError: 'medium'"),
        (failing(SystemExit(3)), {"preset": "x", "size": 4}, "the option 'preset' is refused by"),
        (failing(RecursionError("deep")), {"preset": "x"}, "RecursionError: deep"),
        (failing(ValueError("is not known")), {"preset": "x"}, "left.preset: is not known (got 'x')"),
        (failing(PluginError("is gone")), {"preset": "x"}, "is gone"),
    ],
)
def test_what_a_run_would_not_keep_is_refused_in_one_line(
    options: type[u2a.ModalityOptions], section: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        parsed(options, **section)
    text = str(caught.value)
    assert text.startswith("r.toml: modalities.left")
    assert reason in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "options", [Alias, Nested, Kinds, Camel, Arbitrary, Breaking, Secret], ids=lambda o: o.__name__
)
def test_the_schema_and_show_work_with_any_options(options: type[u2a.ModalityOptions]) -> None:
    schema = recipe_schema(plugins(options))
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["definitions"]["TrainingSection"]["properties"]["loggers"]["items"]["enum"] == []
    assert describe_modality("odd", plugins(options))["options"]


RESERVED = [
    "label",
    "labels",
    "key",
    "split",
    "json",
    "members",
    "present",
    "manifest",
    "top",
    "checkpoint",
    "set",
    "debug",
    "help",
    "run",
    "plugin",
    "no_plugin",
    "each",
    "any",
    "all",
    "both",
    "none",
    "complete",
    "empty",
    "head",
    "lambda",
    "class",
    "import",
    "image_path",
]


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_mean_something_else_are_refused_everywhere(name: str, tmp_path: Path) -> None:
    from u2a.errors import U2AError
    from u2a.plugins.new import new_plugin

    spec = replace(registry().specs["image"], name=name)
    with pytest.raises(PluginError, match=f"modality '{name}': "):
        Registry().modalities.add(Owner("x", "x-dist", "1"), spec)
    document = {"modalities": {name: {"kind": "image", "encoder": "a/b"}}}
    with pytest.raises(RecipeError, match=f"modalities.{name}: modality '{name}': "):
        parse_recipe(document, source="r.toml", folder=Path("/f"))
    with pytest.raises(U2AError, match=f"modality '{name}': "):
        new_plugin(name, registry(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["step", "type", "epoch", "loss", "lr", "n", "n_empty", "change"])
def test_a_metric_cannot_be_called_as_what_stands_beside_it(name: str) -> None:
    spec = u2a.MetricSpec(name, ("single_label",), lambda p_NC, target, n_classes: 1.0)
    with pytest.raises(PluginError, match=f"metric '{name}': this name is "):
        Registry().metrics.add(Owner("x", "x-dist", "1"), spec)


def test_a_new_plugin_gets_a_name_that_pip_takes(tmp_path: Path) -> None:
    from u2a.errors import U2AError
    from u2a.plugins.new import new_plugin

    with pytest.raises(U2AError, match="last no _"):
        new_plugin("class_", registry(), tmp_path / "new")


def test_without_the_default_metric_a_recipe_is_refused() -> None:
    known = Registry(modalities=registry().modalities)
    document = {"task": {"classes": ["a", "b"]}, "modalities": {"image": {"encoder": "a/b"}}}
    with pytest.raises(RecipeError, match=r"task\.metric: no installed plugin brings one that heads"):
        parse_recipe(document, source="r.toml", folder=Path("/f"), plugins=known)
