"""Files of a column that plugins look at to say what they are."""

from __future__ import annotations

from collections.abc import Iterator

from u2a.common.seeds import rng
from u2a.contract.modality import ModalitySpec
from u2a.starting.columns import Column
from u2a.starting.files import Files

#: Members of a column that plugins look at, and how large they may be together; one may be of any size.
LOOKED_AT, MOST_BYTES = 48, 1 << 30


def members_of(column: Column, files: Files) -> Iterator[tuple[tuple[int, str], bytes]]:
    """Bytes of some cells from all over the column, each with a number and the extension."""
    together = 0
    for number in _some(len(column.examples)):
        value = column.examples[number]
        path = files.find(value) if isinstance(value, str) else None
        if path is None and not (isinstance(value, bytes) and value):
            continue
        size = len(value) if path is None else (files.root / path).stat().st_size
        if together and together + size > MOST_BYTES:
            continue
        together += size
        if path is None:
            yield (number, ""), value
        else:
            extension = path.rpartition("/")[2].partition(".")[2].rpartition(".")[2].lower()
            yield (number, extension), files.read(path)


def reads(spec: ModalitySpec, size: str, member: bytes) -> bool:
    """Whether a plugin takes a member for one of its modality."""
    return spec.suggest is None or spec.suggest(size, [member], {}) is not None


def _some(count: int) -> list[int]:
    """Places to look at, drawn: every second one could be of one class."""
    return rng("members").sample(range(count), min(LOOKED_AT, count))
