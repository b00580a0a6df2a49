"""Samples that cannot be read: what ``data.on_error = "skip"`` leaves out, and how that is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from u2a.errors import BadSample, PluginError, U2AError

#: Samples that are named; of more, the number is said.
NAMED = 5
_REMEDY = "to leave such samples out and count them: --set data.on_error=skip"


@dataclass(frozen=True, order=True)
class Unreadable:
    """A sample with a member that cannot be read.

    Attributes:
        place: in the split; -1 in a stream.
        where: shard and key, as people are told.
        key: the sample's key.
        modality: whose member it is.
        reason: why it cannot be read.
    """

    place: int
    where: str
    key: str
    modality: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.modality}: {self.reason}"

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"key": self.key, "modality": self.modality, "error": str(self)}


@dataclass(frozen=True)
class Failed:
    """An error on its way from a worker to the main process, without the worker's traceback.

    Attributes:
        sample: the sample whose own error it is; None where it is not one sample's.
    """

    error: U2AError
    sample: Unreadable | None = None


#: Is told the samples of a split that could not be read, in order: split, samples.
Told = Callable[[str, Sequence[Unreadable]], None]


def failure(error: Exception, place: int, where: str, key: str, modality: str) -> Failed:
    """What a preprocessor raised for one sample, as that sample's error."""
    reason = "needs more memory than there is to decode" if isinstance(error, MemoryError) else str(error)
    kind = PluginError if isinstance(error, PluginError) else BadSample
    sample = Unreadable(place, where, key, modality, reason)
    return Failed(kind(f"{sample}; {_REMEDY}"), sample)


def lines_of(split: str, found: Sequence[Unreadable], n: int) -> list[str]:
    """What a person is told of the samples that were left out of n."""
    if not found:
        return []
    more = [f"  and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return [
        f"{split}: {len(found)} of {n} samples cannot be read: left out",
        *(f"  {one}" for one in found[:NAMED]),
        *more,
    ]
