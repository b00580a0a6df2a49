"""What a sample is inside a shard: member names, and the ``json`` member that declares it.

A sample is the adjacent members ``<name>.json`` and ``<name>.<modality>.<ext>``. The json member holds
``present`` (the modalities that the sample has), ``label`` or ``labels`` or neither, ``key`` (the original
key, where the name had to be encoded) and ``members`` (modality to ``<modality>.<ext>``, for modalities that
share a member: audio and video of one MP4), and ``group`` (samples that no division may part). Other entries
are ignored.
"""

from __future__ import annotations

import re
from unicodedata import category
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

#: ``<name>`` and ``<suffix>``, cut where webdataset cuts them: at the first dot of the base name.
_MEMBER = re.compile(r"((?:.*/|)[^./][^./]*)[.]([^/]+)", re.DOTALL)
_LAST = re.compile(r"((?:.*/|)[^./][^/]*)[.]([^./]+)", re.DOTALL)
_SUFFIX = re.compile(r"([a-z][a-z0-9_]*)[.]([a-z0-9][a-z0-9._+-]*)")


class Sample(BaseModel):
    """The ``json`` member of a sample."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    key: str | None = Field(None, min_length=1)
    present: tuple[str, ...] = Field(min_length=1)
    label: str | None = None
    labels: tuple[str, ...] | None = None
    members: dict[str, str] = Field(default_factory=dict)
    group: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Sample:
        if self.label is not None and self.labels is not None:
            raise ValueError("has both label and labels")
        for field in ("present", "labels"):
            names = getattr(self, field) or ()
            if len(set(names)) != len(names):
                raise ValueError(f"{field} names something twice")
        if strangers := sorted(self.members.keys() - set(self.present)):
            raise ValueError(f"members names {strangers[0]!r}, which present does not")
        return self

    def classes(self) -> tuple[str, ...] | None:
        """The class names, in order; None for an unlabelled sample."""
        return self.labels if self.label is None else (self.label,)

    def to_bytes(self) -> bytes:
        """The json member; equal samples give equal bytes."""
        return self.model_dump_json(exclude_defaults=True).encode()


def parse_sample(data: bytes) -> Sample:
    """Read a ``json`` member.

    Raises:
        ValueError: one line that says what is wrong with it.
    """
    try:
        return Sample.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        reason = fault["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place}: {reason}" if place else reason) from None


def encode_key(key: str) -> str:
    """A member name for a key: what webdataset would cut or a file system would read is percent-encoded."""
    return quote(key, safe="").replace(".", "%2E")


def split_member(name: str, *, last_dot: bool = False) -> tuple[str, str]:
    """``<name>, <suffix>`` of a tar member, the suffix in lower case, as webdataset reads them.

    Args:
        name: the member's path in the tar.
        last_dot: cut at the last dot of the base name, not at the first as webdataset does.

    Raises:
        ValueError: webdataset would drop or misread the member, or the name is unsafe; says which.
    """
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or not _is_text(name):
        raise ValueError("unsafe name")
    if re.match(r"__[^/]*__($|/)", name):
        raise ValueError("reserved name: readers of WebDataset skip it")
    match = (_LAST if last_dot else _MEMBER).fullmatch(name)
    if not match:
        raise ValueError("has no <key>.<extension>: readers of WebDataset drop it")
    if match[2].startswith("__"):
        raise ValueError("reserved extension: readers of WebDataset drop the sample or the member")
    return match[1], match[2].lower()


def _is_text(name: str) -> bool:
    """No control character, no half of a character, no end of a line: what a line of text can hold."""
    return name.isprintable() or not any(category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)


def split_suffix(suffix: str) -> tuple[str, str]:
    """``modality, ext`` of a suffix such as ``image.jpg``.

    Raises:
        ValueError: it is not of that form.
    """
    match = _SUFFIX.fullmatch(suffix)
    if not match:
        raise ValueError("is not named <key>.<modality>.<ext>")
    return match[1], match[2]
