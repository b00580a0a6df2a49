"""Who is let in: how many samples and bytes the service holds at once, and by which token."""

from __future__ import annotations

import hmac
import math
from collections.abc import Iterator
from contextlib import contextmanager

from u2a_serve.refusals import Refused, refused

#: A client is never told to wait longer.
MOST_SECONDS = 60


class Gate:
    """Counts what is inside; all in the event loop's thread.

    Args:
        samples: how many may be inside at once, read or waiting. A request counts as one until it is read.
        body: how many bytes of bodies may be inside at once.

    Attributes:
        inside: samples.
        draining: nothing new is let in any more.
        seconds: how long a sample takes lately.
    """

    def __init__(self, samples: int, body: int) -> None:
        self.most, self.most_bytes = samples, body
        self.inside, self.bytes_inside = 0, 0
        self.draining = False
        self.seconds = 0.05

    def full(self) -> Refused:
        """503, and when to come again: when what is inside will be done."""
        wait = min(max(math.ceil(self.inside * self.seconds), 1), MOST_SECONDS)
        return refused(503, "too many requests at once; try again later", Retry_After=str(wait))

    @contextmanager
    def enter(self) -> Iterator[Place]:
        """A place for one request, given back at the end.

        Raises:
            Refused: all are taken, or the service is about to end.
        """
        if self.draining:
            raise refused(503, "the service is about to end", Retry_After="1", Connection="close")
        place = Place(self)
        place.samples(1)
        try:
            yield place
        finally:
            place.leave()

    def took(self, seconds: float, samples: int) -> None:
        """So many samples were answered in so many seconds."""
        self.seconds += 0.1 * (seconds / samples - self.seconds)


class Place:
    """What one request holds of a gate."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self._samples, self._bytes = gate, 0, 0

    def samples(self, n: int) -> None:
        """The request holds n samples in all.

        Raises:
            Refused: there is no room for them.
        """
        gate, more = self.gate, n - self._samples
        if gate.inside + more > gate.most:
            raise gate.full()
        self._samples, gate.inside = n, gate.inside + more

    def body(self, n: int) -> None:
        """The request's body is n bytes, so far.

        Raises:
            Refused: there is no room for them.
        """
        gate, more = self.gate, n - self._bytes
        if gate.bytes_inside + more > gate.most_bytes:
            raise gate.full()
        self._bytes, gate.bytes_inside = n, gate.bytes_inside + more

    def leave(self) -> None:
        """The request is answered."""
        self.gate.inside -= self._samples
        self.gate.bytes_inside -= self._bytes
        self._samples = self._bytes = 0


def check_token(token: str | None, authorization: str | None) -> None:
    """Hold ``Authorization: Bearer TOKEN`` against the service's token, in a time that tells nothing of it.

    Raises:
        Refused: 401.
    """
    if token is None:
        return
    scheme, _, given = (authorization or "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    if scheme.lower() != "bearer" or not right:
        raise refused(401, "give the token: Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")
