"""JSON Schemas of plugins' options, whatever types they use."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema


class AnyType(GenerateJsonSchema):
    """Where pydantic has no schema for a type or a default, any value is allowed."""

    ignored_warning_kinds = frozenset({"skipped-choice", "non-serializable-default"})  # type: ignore[assignment]

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        """No constraint."""
        return {}


def option_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model; of names alone, where the plugin's own schema functions fail."""
    try:
        return model.model_json_schema(schema_generator=AnyType)
    except Exception:  # a plugin's own code
        fields = model.model_fields.items()
        return {
            "properties": {f.alias or name: {"description": f.description or ""} for name, f in fields},
            "required": [f.alias or name for name, f in fields if f.is_required()],
        }


def has_schema(model: type[BaseModel]) -> bool:
    """Whether `AnyType` can make a schema of a model: not where the plugin's own schema functions fail."""
    try:
        model.model_json_schema(schema_generator=AnyType)
    except Exception:  # a plugin's own code
        return False
    return True
