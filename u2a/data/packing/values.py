"""What the cells of a manifest hold: keys, labels, files, and the bytes of what stands in the cell itself."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from u2a.common.values import is_blank, is_missing, number_text, short
from u2a.data.packing.arrays import is_array, npy_bytes
from u2a.data.shards.labels import is_number, label_texts, listed

#: The fields of a struct that holds a file, as ``datasets`` writes pictures and sounds.
_FILE = {"bytes", "path", "sampling_rate"}


def unwrapped(value: Any) -> Any:
    """What a struct of Hugging Face ``datasets`` holds, or a list of one: the bytes, else the path."""
    if _is_of_objects(value):
        value = list(value)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict | bytes | str):
        return unwrapped(value[0])
    if isinstance(value, dict) and "bytes" in value and value.keys() & _FILE and _is_file(value):
        return value.get("path") if value["bytes"] is None else bytes(value["bytes"])
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


def _is_of_objects(value: Any) -> bool:
    """Whether it is an array of objects, as which pandas reads lists of lists, of structs or of texts."""
    return getattr(value, "ndim", 0) > 0 and getattr(getattr(value, "dtype", None), "kind", "") == "O"


def _is_file(value: Mapping[str, Any]) -> bool:
    return isinstance(value["bytes"], bytes | bytearray | memoryview | None) and isinstance(
        value.get("path"), str | None
    )


def is_object(value: Any) -> bool:
    """An object of a JSONL manifest, or the text of one (no file's name starts with a brace and a quote)."""
    return isinstance(value, dict) or (isinstance(value, str) and re.match(r"\s*\{\s*[\"}]", value) is not None)


def standing(column: str, value: Any, extensions: Collection[str]) -> tuple[str, bytes] | None:
    """What stands in a cell itself, as extension and bytes: an object or numbers, where a modality reads such.

    Raises:
        ValueError: they cannot be written as a file; names the column.
    """
    if "json" in extensions and is_object(value):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return "json", encoded(column, text)
    if "npy" in extensions and is_array(value):
        return "npy", npy_bytes(column, value)
    return None


def encoded(column: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"column {column!r}: holds half of a character (a lone surrogate)") from None


def text_of(fields: Mapping[str, Any], column: str, faults: list[str]) -> str:
    value = fields.get(column)
    value = number_text(value) or value
    if is_blank(value):
        faults.append(f"column {column!r} is missing or empty")
    elif not isinstance(value, str):
        faults.append(f"column {column!r}: must be text, not {short(value)}")
    else:
        try:
            encoded(column, value)
            return value
        except ValueError as error:
            faults.append(str(error))
    return ""


def labels_of(fields: Mapping[str, Any], faults: list[str]) -> tuple[str, ...] | None:
    """None = unlabelled; an empty list is a label: none of the classes."""
    one, many = fields.get("label"), fields.get("labels")
    try:
        first, column = label_texts(one), "label"
    except ValueError as error:
        faults.append(f"column 'label': {error}")
        return None
    if (plain := getattr(many, "tolist", None)) is not None:  # an array, as pandas reads lists
        many = plain()
    if not (is_missing(many) or isinstance(many, str | list | tuple | set | frozenset)):
        faults.append(f"column 'labels': must be a list, not {short(many)}")
        return None
    if isinstance(many, str) and listed(many) is None:
        many = many.split("|") if many.strip() else None
        if many is not None and not all(name.strip() for name in many):
            faults.append("column 'labels': a | has no name before or after it")
            return None
    try:
        second = label_texts(many)
    except ValueError as error:
        faults.append(f"column 'labels': {error}")
        return None
    if first is not None and second is not None:
        faults.append("has both 'label' and 'labels'")
    labels, column = (first, "label") if second is None else (second, "labels")
    names = [text for text in labels or () if not is_number(text)]
    if len(set(names)) != len(names) and not {"true", "false"} >= set(names):
        faults.append(f"column {column!r}: names a label twice")
    return labels
