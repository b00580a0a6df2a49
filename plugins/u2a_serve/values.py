"""What was sent for a modality, as what `Predictor.read` takes: never a path of this machine."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from u2a.contract.blame import blame
from u2a.errors import BadSample, U2AError, one_line
from u2a.evaluation.reading import SampleReader
from u2a_serve.bodies import Given
from u2a_serve.limits import Limits, check_member
from u2a_serve.refusals import Fault

if TYPE_CHECKING:
    from u2a.contract.modality import Example, ModalitySpec, Preprocessor
    from u2a.recipe.sections import Recipe

_DATA = re.compile(r"data:[^,]{0,200};base64,")


class Reader:
    """Samples as they were sent, read and preprocessed.

    Args:
        recipe: the run's.
        preprocessors: its modalities'.
        limits: of members.
    """

    def __init__(self, recipe: Recipe, preprocessors: Mapping[str, Preprocessor], limits: Limits) -> None:
        self.recipe, self.limits = recipe, limits
        self._reader = SampleReader(recipe, preprocessors)
        self.specs = {name: recipe.plugins.spec(options.kind) for name, options in recipe.modalities.items()}

    def read(self, i: int, given: Mapping[str, Given]) -> tuple[dict[str, Example], list[Fault]]:
        """One sample's examples, and what is wrong with it: of each modality one fault at most."""
        examples: dict[str, Example] = {}
        faults: list[Fault] = []
        for name, one in given.items():
            try:
                examples[name] = self._example(name, one)
            except U2AError as error:
                faults.append(Fault(_without_name(str(error), name), i, name[:100]))
            except MemoryError:
                faults.append(Fault("needs more memory than there is", i, name))
        if not given:
            faults.append(Fault(f"give at least one of {', '.join(self.specs)}", i))
        return examples, faults

    def _example(self, name: str, given: Given) -> Example:
        if name not in self.specs:
            raise U2AError(f"no such modality; this run has {', '.join(self.specs)}")
        spec = self.specs[name]
        value = given.value if given.is_file else self._member(name, spec, given.value)
        if isinstance(value, bytes):
            if not value and "txt" not in spec.extensions:
                raise BadSample("is empty")
            check_member(value, spec.extensions, self.limits)
        return self._reader.read({name: value})[name]

    def _member(self, name: str, spec: ModalitySpec, value: Any) -> bytes:
        """Bytes of what came as JSON, or as a field of a form."""
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return _utf8(value) if "txt" in spec.extensions else from_base64(value)
        if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
            return from_base64(value["base64"])
        if not isinstance(value, dict) or value.keys() != {"value"}:
            raise BadSample('must be text, base64, {"base64": TEXT}, or {"value": WHAT_THE_PLUGIN_TAKES}')
        if spec.to_member is None:
            raise BadSample("its plugin takes no values; send the file, as base64")
        options = self.recipe.modalities[name]
        with blame(name, self.recipe.plugins.owners[options.kind], "to_member"):
            try:
                return spec.to_member(value["value"])
            except (TypeError, ValueError, OverflowError) as error:
                raise BadSample(one_line(error, 200)) from error


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadSample("holds half of a surrogate pair, which is no text") from None


def from_base64(text: str) -> bytes:
    """The bytes; line breaks, a ``data:`` address, the letters of URLs and left out padding are understood.

    Raises:
        BadSample: it is none.
    """
    start = _DATA.match(text)
    plain = "".join((text[start.end() :] if start else text).split()).translate(str.maketrans("-_", "+/"))
    plain = plain.rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadSample("is no base64; of a file, send its bytes in base64, not its path") from None


def _without_name(message: str, name: str) -> str:
    return message.removeprefix(f"{name}: ")
