"""What a request cannot have, with its HTTP status, and where in it the fault lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request.

    Attributes:
        message: one line for a person.
        sample: which sample of the request, from 0; None = the request itself.
        modality: the modality that it is in; None = the sample itself.
    """

    message: str
    sample: int | None = None
    modality: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"sample": self.sample, "modality": self.modality, "message": self.message}


@dataclass
class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        faults: at least one.
        headers: that go with it.
    """

    status: int
    faults: Sequence[Fault]
    headers: Mapping[str, str] = field(default_factory=dict)


def refused(status: int, message: str, **headers: str) -> Refused:
    """A refusal of the whole request; ``Retry_After="1"`` is the header ``Retry-After``."""
    return Refused(status, [Fault(message)], {name.replace("_", "-"): text for name, text in headers.items()})
