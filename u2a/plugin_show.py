"""``u2a plugins show``: one modality's options with types, defaults and help, and an example recipe section."""

from __future__ import annotations

from typing import Any

import tomli_w
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from u2a.cli_base import print_json
from u2a.modality import ModalityOptions
from u2a.plugins import Registry, registry

_TYPES = {"string": "text", "integer": "int", "number": "number", "boolean": "true or false", "null": "nothing"}
_BOUNDS = {
    "exclusiveMinimum": ">",
    "minimum": ">=",
    "exclusiveMaximum": "<",
    "maximum": "<=",
    "pattern": "matches",
}
_PLACEHOLDERS: dict[str, Any] = {"text": "...", "int": 1, "number": 1.0, "true or false": True}


def describe_modality(name: str, plugins: Registry) -> dict[str, Any]:
    """Owner, extensions, options and example of a modality, as plain values.

    Raises:
        PluginError: no such modality; says what is installed.
    """
    spec, owner = plugins.spec(name), plugins.owners[name]
    return {
        "modality": name,
        "distribution": owner.distribution,
        "version": owner.version,
        "plugin": owner.plugin,
        "api": spec.api,
        "tune": spec.tune,
        "extensions": list(spec.extensions),
        "options": option_rows(spec.options),
        "example": example(name, spec.options),
    }


def option_rows(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, type, default and help of every field of a model, but a modality's ``kind``."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "type": _type(field, schema.get("$defs", {})),
            "required": name in required,
            "default": field.get("default"),
            "help": field.get("description", ""),
        }
        for name, field in schema["properties"].items()
        if name != "kind" or not issubclass(model, ModalityOptions)
    ]


def example(name: str, model: type[ModalityOptions]) -> str:
    """A recipe section with every required option, from the option's own examples where it has some."""
    properties = model.model_json_schema()["properties"]
    rows = [row for row in option_rows(model) if row["required"]]
    values = {row["name"]: _example_value(properties[row["name"]], row["type"]) for row in rows}
    return tomli_w.dumps({"modalities": {name: values}})


def _example_value(field: dict[str, Any], kind: str) -> Any:
    return field["examples"][0] if field.get("examples") else _PLACEHOLDERS.get(kind.split(" ")[0], "...")


def _type(field: dict[str, Any], defs: dict[str, Any]) -> str:
    if "$ref" in field:
        field = {**defs[field["$ref"].rpartition("/")[2]], **field}
    if "enum" in field or "const" in field:
        return " | ".join(repr(value) for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field or "oneOf" in field:
        kinds = [_type(one, defs) for one in field.get("anyOf") or field["oneOf"]]
        return " or ".join(kind for kind in kinds if kind != "nothing")
    if field.get("type") == "array":
        return _array(field, defs)
    if field.get("type") == "object":
        return _object(field, defs)
    bounds = [f"{sign} {field[key]}" for key, sign in _BOUNDS.items() if key in field]
    return " ".join([_TYPES.get(field.get("type", ""), "any value"), ", ".join(bounds)]).strip()


def _array(field: dict[str, Any], defs: dict[str, Any]) -> str:
    if "prefixItems" in field:
        return f"[{', '.join(_type(item, defs) for item in field['prefixItems'])}]"
    return f"list of {_type(field.get('items', {}), defs)}"


def _object(field: dict[str, Any], defs: dict[str, Any]) -> str:
    if "properties" in field:
        return "{" + ", ".join(f"{key}: {_type(one, defs)}" for key, one in field["properties"].items()) + "}"
    inner = field.get("additionalProperties")
    return f"table of {_type(inner, defs)}" if isinstance(inner, dict) else "table"


def print_modality(name: str, as_json: bool) -> None:
    """Print the description for people, or as JSON."""
    found = describe_modality(name, registry())
    if as_json:
        print_json(found)
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{name}: {registry().owners[name]}, contract version {found['api']}")
    console.print(f"reads: {' '.join('.' + extension for extension in found['extensions'])}")
    console.print(f"trains: {'LoRA on a frozen encoder' if found['tune'] == 'lora' else 'the whole encoder'}\n")
    table = Table("option", "type", "default", "help", box=None, pad_edge=False)
    for row in found["options"]:
        default = "required" if row["required"] else "" if row["default"] is None else repr(row["default"])
        table.add_row(row["name"], row["type"], default, row["help"])
    Console(highlight=False, markup=False).print(table)
    console.print(f"\n{found['example']}", end="")
