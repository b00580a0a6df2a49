"""Missing tables: which samples lose which modalities, drawn once from (data, split, seed) and kept.

A table is drawn as the paper's protocol does (after Lee et al. 2023): ``int(rate * N)`` of a split's N samples,
exact in decimals, without stratification. Samples are ranked by the SHA-256 of seed, split and key, so the
table is the same on every machine and for every shard size, and the samples drawn at a rate contain those
drawn at any smaller one. Shape suffixes: N samples, M modalities in recipe order.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from u2a.data.reading.split import Split
from u2a.errors import RecipeError


class TableInfo(BaseModel):
    """One split's table: how it was drawn, for which data, and what it leaves.

    Attributes:
        rate, missing, seed: how the samples were drawn (see `draw_kept`).
        fingerprint: of the split's content.
        samples, drawn: N and ``int(rate * N)``.
        spared: drawn samples that keep what they have, because nothing would remain of them.
        presence: ``image + text`` and so on to the number of samples that have just these afterwards.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float
    missing: str
    seed: int
    fingerprint: str
    samples: int
    drawn: int
    spared: int
    presence: dict[str, int]

    def lines(self, split: str) -> list[str]:
        """For a person: one line for the draw and one for each presence."""
        spared = f"; {self.spared} keep what they have, or nothing would remain" if self.spared else ""
        head = (
            f"{split}: missing {self.missing} at rate {self.rate:g}, seed {self.seed}: "
            f"{self.drawn} of {self.samples} samples{spared}"
        )
        counts = sorted(self.presence.items(), key=lambda item: (-item[1], item[0]))
        return [head, *(f"  {count:>8}  {names}" for names, count in counts)]


@dataclass(frozen=True)
class Table:
    """One split's table. ``kept_NM``: bool, False where the table takes a modality away."""

    info: TableInfo
    kept_NM: NDArray[np.bool_]


def count_missing(rate: Decimal, n: int) -> int:
    """How many of n samples a rate takes: rounded down as in the paper's protocol; exact: 0.7 of 90 is 63."""
    return int(rate * n)


def draw_kept(
    keys: Sequence[str], modalities: Sequence[str], *, split: str, rate: Decimal, missing: str, seed: int
) -> NDArray[np.bool_]:
    """What each sample may keep: bool [N, M].

    Args:
        keys: the samples' keys.
        modalities: M names, in recipe order.
        rate: of N samples, `count_missing` are drawn.
        missing: a modality, which every drawn sample loses; or ``each`` (``both`` for two modalities): the
            drawn samples are divided evenly, and each part loses one; or ``any``: each drawn sample keeps a
            uniform proper non-empty subset.
        seed: another seed draws other samples.
    """
    N, M = len(keys), len(modalities)
    digests = [hashlib.sha256(f"missing\x1f{seed}\x1f{split}\x1f{key}".encode()).digest() for key in keys]
    rank_N2 = np.frombuffer(b"".join(digests), ">u8").reshape(N, 4)[:, :2]
    drawn = np.argsort(rank_N2[:, 0], kind="stable")[: count_missing(rate, N)]
    kept_NM = np.ones((N, M), bool)
    if missing in modalities:
        kept_NM[drawn, list(modalities).index(missing)] = False
    elif missing == "any" and M > 1:
        subset = rank_N2[drawn, 1] % np.uint64(2**M - 2) + np.uint64(1)  # neither none nor all
        kept_NM[drawn] = (subset[:, None] >> np.arange(M, dtype=np.uint64)) & np.uint64(1)
    else:
        kept_NM[drawn, np.arange(len(drawn)) % M] = False
    return kept_NM


def draw_table(split: Split, *, rate: float, missing: str, seed: int) -> Table:
    """Draw the table of an opened split; see `draw_kept`.

    Raises:
        RecipeError: `missing` is no modality of the split, nor a pattern that fits it.
    """
    missing = one_name(missing, split.modalities)
    if missing not in (*split.modalities, "each", "any"):
        known = ", ".join((*split.modalities, "each", "any"))
        raise RecipeError(f"data.missing.missing: {missing!r} is none of {known}")
    if not 0 <= rate <= 1:
        raise RecipeError(f"data.missing.rate: {rate} is not from 0 to 1")
    exact = Decimal(repr(rate))  # the number as it was written: 0.7 and not 0.69999...
    kept_NM = draw_kept(
        split.keys(), split.modalities, split=split.name, rate=exact, missing=missing, seed=seed
    )
    after_NM = overlay(split.present_NM, kept_NM)
    info = TableInfo(
        rate=rate,
        missing=missing,
        seed=seed,
        fingerprint=split.fingerprint,
        samples=len(split),
        drawn=count_missing(exact, len(split)),
        spared=int((~(split.present_NM & kept_NM).any(1)).sum()),
        presence=count_presence(after_NM, split.modalities),
    )
    return Table(info, kept_NM)


def one_name(missing: str, modalities: Sequence[str]) -> str:
    """Of two modalities ``both`` is another name for ``each``, so that either draws the same table."""
    return "each" if missing == "both" and len(modalities) == 2 and "both" not in modalities else missing


def overlay(present_NM: NDArray[np.bool_], kept_NM: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Presence under a table; a sample that would lose everything keeps what it has."""
    left_NM = present_NM & kept_NM
    return np.where(left_NM.any(1, keepdims=True), left_NM, present_NM)


def count_presence(present_NM: NDArray[np.bool_], modalities: Sequence[str]) -> dict[str, int]:
    """``image + text`` and so on to the number of samples that have just these."""
    patterns, counts = np.unique(present_NM, axis=0, return_counts=True)
    named = (" + ".join(np.array(modalities)[pattern]) for pattern in patterns)
    return dict(Counter(dict(zip(named, counts.tolist(), strict=True))).most_common())
