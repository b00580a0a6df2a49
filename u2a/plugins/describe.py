"""``u2a plugins show``: one modality's options with types, defaults and help, and an example recipe section."""

from __future__ import annotations

from typing import Any

import tomli_w
from pydantic import BaseModel

from u2a.contract.modality import ModalityOptions, ModalitySpec, redefines
from u2a.plugins.option_schema import option_schema
from u2a.plugins.registry import Registry

_TYPES = {"string": "text", "integer": "int", "number": "number", "boolean": "true or false", "null": "nothing"}
_BOUNDS = {
    "exclusiveMinimum": ">",
    "minimum": ">=",
    "exclusiveMaximum": "<",
    "maximum": "<=",
    "pattern": "matches",
}


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
        "tune": list(spec.tunes),
        "extensions": list(spec.extensions),
        "options": modality_rows(spec),
        "example": example(name, spec.options),
    }


def modality_rows(spec: ModalitySpec) -> list[dict[str, Any]]:
    """`option_rows` of a modality: its own first, and ``tune`` where a recipe has a choice."""
    rows = option_rows(spec.options)
    own = [row for row in rows if row["name"] != "tune" or redefines(spec.options, "tune")]
    choice = " | ".join(map(repr, spec.tunes))
    tune = [{**row, "type": choice, "default": spec.tunes[0]} for row in rows if row not in own]
    return own + (tune if len(spec.tunes) > 1 else [])


def option_rows(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, type, default and help of every field of a model, but a modality's ``kind``."""
    schema = option_schema(model)
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
    """A recipe section with every required option: the option's own example, or what is to be put there."""
    properties = option_schema(model)["properties"]
    lines = [f"[modalities.{name}]"]
    tables: dict[str, Any] = {}
    for row in option_rows(model):
        examples = properties[row["name"]].get("examples")
        if row["required"] and examples and isinstance(examples[0], dict):
            tables[row["name"]] = examples[0]
        elif row["required"] and examples:
            lines.append(tomli_w.dumps({row["name"]: examples[0]}).rstrip())
        elif row["required"]:
            lines.append(f"# {row['name']} = {row['type']}: {row['help']}")
    below = "\n" + tomli_w.dumps({"modalities": {name: tables}}) if tables else ""
    return "\n".join(lines) + "\n" + below


def _followed(field: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """What the field refers to, if it does, with what it says itself."""
    return {**defs[field["$ref"].rpartition("/")[2]], **field} if "$ref" in field else field


def _type(field: dict[str, Any], defs: dict[str, Any]) -> str:
    field = _followed(field, defs)
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
