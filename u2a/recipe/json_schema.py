"""``u2a recipe schema``: a JSON Schema of recipes with the modalities that are installed, for editors.

Draft-07 with ``definitions``, which the TOML language servers understand; a recipe names it in its first line:
``#:schema ./recipe.schema.json``.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from u2a.contract.extensions import NAME
from u2a.contract.modality import ModalityOptions
from u2a.plugins.option_schema import AnyType, has_schema
from u2a.plugins.registry import Registry
from u2a.recipe.sections import Recipe, TrainingSection
from u2a.recipe.task import TaskSection

DRAFT = "http://json-schema.org/draft-07/schema#"
_ANY_KIND = "any_kind"


def recipe_schema(plugins: Registry) -> dict[str, Any]:
    """The schema of a whole recipe; a section's ``kind`` may be left out where its name is a modality's."""
    specs = sorted(plugins.specs.items())
    options = {name: spec.options if has_schema(spec.options) else ModalityOptions for name, spec in specs}
    wanted = (Recipe, TaskSection, TrainingSection, *dict.fromkeys(options.values()))
    models: list[Any] = [(model, "validation") for model in wanted]
    found, document = models_json_schema(models, ref_template="#/definitions/{model}", schema_generator=AnyType)
    definitions = document["$defs"]
    recipe = definitions.pop(_name(found[Recipe, "validation"]))
    for name, model in options.items():
        definition = definitions[_name(found[model, "validation"])]
        if model is ModalityOptions:  # options without a schema: an editor can say nothing of them
            definition = {**definition, "additionalProperties": True}
        definitions[f"modality_{name}"] = _section(name, definition, str(plugins.owners[name]))
    for model in set(options.values()):
        definitions.pop(_name(found[model, "validation"]), None)  # equal models share one
    refs = [{"$ref": f"#/definitions/modality_{name}"} for name in options]
    task, training = (_name(found[model, "validation"]) for model in (TaskSection, TrainingSection))
    definitions[task]["properties"]["metric"]["anyOf"][0]["enum"] = list(plugins.metrics.specs)
    definitions[training]["properties"]["loggers"]["items"]["enum"] = list(plugins.loggers.specs)
    definitions[_ANY_KIND] = {"required": ["kind"], "anyOf": refs}
    recipe["properties"]["modalities"] = _modalities(list(options))
    return _draft_07({"$schema": DRAFT, **recipe, "definitions": definitions})


def _name(reference: dict[str, Any]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _section(name: str, definition: dict[str, Any], owner: str) -> dict[str, Any]:
    """A plugin's options where ``kind`` may be left out and can only be its own."""
    kind = {**definition["properties"]["kind"], "const": name}
    required = [option for option in definition.get("required", []) if option != "kind"]
    section = {
        **definition,
        "title": f"{name} ({owner})",
        "properties": {**definition["properties"], "kind": kind},
    }
    section.pop("required", None)
    return {**section, "required": required} if required else section


def _modalities(names: list[str]) -> dict[str, Any]:
    other = {"$ref": f"#/definitions/{_ANY_KIND}"}
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{NAME}$"},
        "properties": {
            name: {"anyOf": [{"$ref": f"#/definitions/modality_{name}"}, other]}
            for name in names
            if ":" not in name  # of those that several bring, a section has to say whose
        },
        "additionalProperties": other,
    }


def _draft_07(value: Any) -> Any:
    """Fixed-length arrays as draft-07 writes them."""
    if isinstance(value, list):
        return [_draft_07(item) for item in value]
    if isinstance(value, dict):
        return {"items" if key == "prefixItems" else key: _draft_07(item) for key, item in value.items()}
    return value
