"""What one visitor has given, read and encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from u2a.common.files import sha256_file
from u2a.errors import U2AError
from u2a.evaluation.explain import Subsets, subsets_of
from u2a_demo.markup import markup
from u2a_demo.view import view_of

if TYPE_CHECKING:
    from u2a.evaluation.trained import Model


@dataclass
class Sample:
    """What one visitor has given, read and encoded.

    Attributes:
        subsets: of what can be used; None if that is nothing.
        problems: modality, and what is wrong with what was given.
        truth: the classes of an example, as long as its inputs are as they were.
        marks: of each modality, the text or the file's checksum: by them, what was read already is known again.
    """

    subsets: Subsets | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)
    truth: tuple[str, ...] = ()
    marks: dict[str, str] = field(default_factory=dict)


def read(
    model: Model, given: Mapping[str, str | None], truth: Sequence[str] = (), before: Sample | None = None
) -> Sample:
    """One encoding of everything that can be read; of the rest, why not.

    Args:
        given: modality to a file's path, or to the text itself; None and "" = nothing.
        truth: the sample's classes, where they are known.
        before: what was read last; given back where the same is given again.
    """
    values = {name: value for name, value in given.items() if value is not None and value.strip()}
    marks = {name: _mark(value, is_text(model, name)) for name, value in values.items()}
    if before is not None and before.marks == marks:
        return before
    predictor, examples, problems = model.predictor, {}, []
    for name, value in values.items():
        try:
            if is_text(model, name):
                examples |= predictor.read({name: value.encode()})  # never a file, whatever it says
            else:
                examples |= predictor.read({f"{name}_path": value})
        except (U2AError, UnicodeEncodeError) as error:
            problems.append((name, _reason(str(error), name, value)))
    try:
        subsets = subsets_of(predictor, examples) if examples else None
    except U2AError as error:
        return Sample(None, [*problems, ("the sample", str(error))], tuple(truth), marks)
    return Sample(subsets, problems, tuple(truth), marks)


def _mark(value: str, text: bool) -> str:
    try:
        return value if text else sha256_file(Path(value))
    except OSError:
        return value


def _reason(message: str, name: str, value: str) -> str:
    """Without the name, which stands before it, and the path, which the visitor never saw."""
    return message.removeprefix(name).replace(f" ({value})", "").replace(value, "it").removeprefix(": ")


def is_text(model: Model, name: str) -> bool:
    """Whether a modality's values are texts."""
    return "txt" in model.recipe.plugins.spec(model.recipe.modalities[name].kind).extensions


def show(model: Model, sample: Sample, switches: Sequence[bool]) -> str:
    """The page's right side, as the switches stand."""
    on = [name for name, switch in zip(model.network.names, switches, strict=True) if switch]
    view = view_of(model, sample.subsets, on, sample.truth) if sample.subsets else None
    return markup(view, sample.problems)
