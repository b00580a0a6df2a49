"""Random numbers that are the same on every machine, process and number of workers."""

from __future__ import annotations

import hashlib
import random


def stable_seed(*parts: object) -> int:
    """A 63-bit seed from the parts' text (`hash()` of a string differs from process to process)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rng(*parts: object) -> random.Random:
    """A generator of its own for the given purpose, e.g. ``rng("shuffle", seed, epoch)``."""
    return random.Random(stable_seed(*parts))
