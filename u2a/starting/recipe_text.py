"""The recipe that ``u2a init`` writes, with a comment wherever the data or the person decided something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tomli_w

from u2a.starting.content import Content

#: Training samples of which the default batch would be too large a part.
_FEW = 64


def recipe_text(
    name: str,
    *,
    kind: str,
    classes: Mapping[str, int],
    contents: Sequence[Content],
    holdout: float | None,
    splits: Mapping[str, int],
    commands: Sequence[str],
) -> str:
    """A recipe as TOML.

    Args:
        kind: of the task.
        classes: in order, each with the number of its samples.
        holdout: share of train that validates, where there is no val.
        splits: samples by split.
        commands: what comes next.
    """
    counts = ", ".join(f"{split} {count}" for split, count in splits.items())
    lines = [
        f"# Written by u2a init; {counts} samples. It is yours: change what you know better.",
        "#",
        *(f"#   {command}" for command in commands),
        "",
        _pair("name", name),
        "",
        "[data]",
        _pair("shards", f"shards/{name}"),
    ]
    if holdout:
        lines.append(_pair("holdout", holdout) + "  # there is no split val: this share of train validates")
    lines += ["", "[task]", _pair("kind", kind), *_classes(classes)]
    for content in contents:
        lines += ["", *_section(content)]
    lines += ["", "[training]", *_training(int(splits.get("train", 0) * (1 - (holdout or 0))))]
    return "\n".join(lines) + "\n"


def batch_for(samples: int) -> int | None:
    """A batch that few samples fill at least four times; None, the default, where there are more."""
    return 1 << max(samples // 4, 1).bit_length() - 1 if 0 < samples < _FEW else None


def _training(samples: int) -> Iterator[str]:
    yield "# Defaults, to change: epochs = 5 to 10, lr = 1e-3, batch_size = 16 (u2a recipe show prints all)."
    if batch := batch_for(samples):
        yield _pair("batch_size", batch) + f"  # of {samples} training samples"


def _classes(classes: Mapping[str, int]) -> Iterator[str]:
    yield "classes = ["
    values = [_pair("x", name).removeprefix("x = ") + "," for name in classes]
    width = max(map(len, values))
    for value, count in zip(values, classes.values(), strict=True):
        few = "  too few to learn or to score" if count < 3 else ""
        yield f"    {value.ljust(width)}  # {count}{few}"
    yield "]"


def _section(content: Content) -> Iterator[str]:
    yield f"[modalities.{content.name}]"
    if content.spec.name != content.name:
        yield _pair("kind", content.spec.name)
    for key, value in content.suggestion.options.items():
        why = content.suggestion.comments.get(key)
        yield _pair(key, value) + (f"  # {why}" if why else "")


def _pair(key: str, value: Any) -> str:
    return tomli_w.dumps({key: value}).strip()
