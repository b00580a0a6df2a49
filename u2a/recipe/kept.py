"""Options of plugins on their way into a run folder and back: what is scored with is what was trained with."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from u2a.contract.blame import reason_of


def plain(model: BaseModel) -> dict[str, Any]:
    """A model's fields as plain TOML types, under the names that it reads them by."""
    return model.model_dump(mode="json", exclude_none=True, by_alias=True, round_trip=True)


def lost(options: BaseModel, context: Mapping[str, Any]) -> str:
    """What a run's recipe would not keep of a plugin's options, in one line; "" if it keeps all.

    Aliases, computed fields, excluded and secret fields, validators that change what they are given and types
    that TOML cannot hold all show here, before anything is trained.
    """
    try:
        text = tomli_w.dumps(plain(options))
        again = type(options).model_validate(tomllib.loads(text), context=dict(context))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        return f"a run keeps its options as TOML, which it then refuses to read ({key}: {first['msg']})"
    except Exception as error:  # a plugin's own serializers and validators
        return f"a run cannot keep its options as TOML: {reason_of(error)}"
    for key in _differences(options, again):
        return (
            f"a run would not keep the option {key!r} as it is: it would be read again as another value "
            "(an option cannot be secret, excluded, or change each time that it is read)"
        )
    return ""


def _differences(first: Any, second: Any, key: str = "") -> Iterator[str]:
    """The keys of nested values that differ; NaN equals NaN."""
    if isinstance(first, BaseModel) and type(first) is type(second):
        for name in type(first).model_fields:
            yield from _differences(getattr(first, name), getattr(second, name), f"{key}.{name}".strip("."))
    elif isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        for name in first:
            yield from _differences(first[name], second[name], f"{key}.{name}".strip("."))
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for i, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _differences(one, other, f"{key}.{i}")
    elif not (_equal(first, second) or (first != first and second != second)):
        yield key


def _equal(first: Any, second: Any) -> bool:
    equal = first == second
    return bool(equal if isinstance(equal, bool) else equal.all())
