"""Which availability patterns a sweep scores, and ways to change what an encoding offers to token selection.

Shape suffixes: N samples, M modalities in recipe order.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal

import torch
from torch import Tensor

from u2a.common.seeds import rng
from u2a.data.reading.missing import count_missing
from u2a.errors import U2AError
from u2a.evaluation.calibrated import calibration_of
from u2a.evaluation.calibration import Calibration
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scoring import Scenario, Scorer, check_dropped
from u2a.evaluation.stand_ins import with_stand_ins
from u2a.method.model import U2A
from u2a.method.selection import subsets
from u2a.recipe.task import TaskSection

#: Up to this many modalities every pattern is scored; beyond, a sample of as many patterns.
EXACT = 6
Pattern = tuple[bool, ...]


def patterns(n_modalities: int, seed: int = 0) -> list[Pattern]:
    """The availability patterns of a sweep, the complete one first, then by falling size, in recipe order.

    All ``2^M - 1`` up to `EXACT` modalities; beyond, ``2^EXACT - 1`` of them drawn from the seed, always
    with the complete one, each with one modality missing, and each modality alone.
    """
    if n_modalities <= EXACT:
        return subsets(n_modalities)
    M, everything = n_modalities, 2**n_modalities - 1
    chosen = {everything} | {everything ^ 1 << m for m in range(M)} | {1 << m for m in range(M)}
    draw = rng("patterns", seed, M)
    while len(chosen) < 2**EXACT - 1:  # of 32 and more modalities, more are there already
        chosen.add(draw.randrange(1, everything))
    found = [tuple(bool(s >> m & 1) for m in range(M)) for s in chosen]
    return sorted(found, key=lambda p: (-sum(p), [not kept for kept in p]))


def missing(names: Sequence[str], pattern: Pattern) -> list[str]:
    """The modalities that a pattern lacks."""
    return [name for name, kept in zip(names, pattern, strict=True) if not kept]


def sweep(
    model: U2A,
    encoded: Encoded,
    task: TaskSection,
    seed: int = 0,
    calibration: Calibration | None = None,
    *,
    stands_in: bool = True,
) -> list[Scenario]:
    """Score every availability pattern (see `patterns`) from one encoding.

    A pattern acts on top of the presence that the data has, as `Scorer.drop` does: samples that
    it empties are left out and counted. Patterns that would leave out every sample are not in the result.

    Args:
        stands_in: False where nothing stands in for what is missing (see `without_mask_tokens`).
    """
    scorer, names, found = Scorer(model, encoded, task), model.names, []
    for pattern in patterns(len(names), seed):
        if (encoded.present_NM & torch.tensor(pattern)).any():
            scenario = scorer.drop(missing(names, pattern))
            scenario = with_stand_ins(scenario, scorer) if stands_in else scenario
            found.append(with_calibration(scenario, scorer, calibration))
    return found


def with_calibration(scenario: Scenario, scorer: Scorer, calibration: Calibration | None) -> Scenario:
    """The scenario beside what calibration makes of its pattern; as it is without any."""
    if calibration is None or scenario.kept:
        return scenario
    pattern = tuple(name not in scenario.dropped for name in scorer.model.names)
    found = calibration_of(scorer.model, scorer.encoded, scorer.task, calibration, pattern)
    return dataclasses.replace(scenario, calibrated=found)


def without_mask_tokens(encoded: Encoded) -> Encoded:
    """The encoding whose mask tokens are zeros, so that selection fills a missing modality with zeros."""
    zeros_NMMD = encoded.mask_NMMD.new_zeros(()).expand_as(encoded.mask_NMMD)
    return dataclasses.replace(encoded, mask_NMMD=zeros_NMMD)


def names_in(value: str | Sequence[str]) -> tuple[str, ...]:
    """``"audio"``, ``"audio,text"`` or names in a sequence, as a tuple of names."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return tuple(value)


def check_conditions(names: Sequence[str], drop: Sequence[str], keep: Sequence[str]) -> dict[str, Decimal]:
    """Refuse what ``--drop`` and ``--keep`` cannot mean together or alone; the shares that are kept.

    Raises:
        U2AError: an unknown modality, one both dropped and kept, all dropped, or see `parse_shares`.
    """
    check_dropped(names, drop)
    shares = parse_shares("--keep", keep, names, "share")
    if twice := [name for name in drop if name in shares]:
        raise U2AError(f"{twice[0]} is both dropped and kept in a share of the samples: give one of the two")
    return shares


def parse_shares(option: str, values: Sequence[str], names: Sequence[str], what: str) -> dict[str, Decimal]:
    """``["text=0.3"]`` as ``{"text": Decimal("0.3")}``.

    Args:
        option, what: what is typed and what it gives, for errors: ``--keep`` and ``share``.

    Raises:
        U2AError: not of that form, no such modality, one given twice, or a number outside 0..1.
    """
    shares: dict[str, Decimal] = {}
    for value in values:
        typed = f"{option} {value}"
        name, equals, text = (part.strip() for part in value.partition("="))
        if not equals or not name:
            raise U2AError(f"{typed}: expected MODALITY={what.upper()}, e.g. {option} {names[0]}=0.3")
        if name not in names:
            raise U2AError(f"{typed}: no such modality; this run has {', '.join(names)}")
        if name in shares:
            raise U2AError(f"{typed}: {name} has the {what} {shares[name]} already; give one")
        try:
            share = Decimal(text)
        except ArithmeticError:
            share = Decimal(-1)
        if not (share.is_finite() and 0 <= share <= 1):
            raise U2AError(f"{typed}: the {what} must be a number from 0 to 1")
        shares[name] = share
    return shares


def ranks(keys: Sequence[str], modality: str, present_N: Tensor, seed: int = 0) -> Tensor:
    """In which order samples lose a modality: ``[N]`` long, 0 = keeps it longest; absent ones come last.

    The order depends on seed, modality and sample keys alone (equal keys: on their order), so the samples
    that keep it at a share contain those that keep it at any smaller share.
    """

    def digest(i: int) -> bytes:
        return hashlib.sha256(f"keep\x1f{seed}\x1f{modality}\x1f{keys[i]}".encode()).digest()

    have = sorted(torch.nonzero(present_N).flatten().tolist(), key=lambda i: (digest(i), i))
    rank_N = torch.full((len(keys),), len(keys), dtype=torch.long)
    rank_N[torch.tensor(have, dtype=torch.long)] = torch.arange(len(have))
    return rank_N


def count_kept(share: Decimal, n: int) -> int:
    """How many of n samples keep a modality: all that `data.missing` leaves at the rate ``1 - share``."""
    return n - count_missing(1 - share, n)


def keep_mask(
    keys: Sequence[str],
    names: Sequence[str],
    present_NM: Tensor,
    shares: Mapping[str, Decimal],
    seed: int = 0,
) -> Tensor:
    """What each sample keeps when modalities are kept in a share of the samples that have them.

    Args:
        keys: the samples' keys; names: the modalities, in recipe order.
        present_NM: bool, presence in the data.
        shares: modality to share (see `parse_shares`); the other modalities are kept everywhere.

    Returns:
        kept_NM: bool; of the n samples with a modality, exactly ``count_kept(share, n)`` keep it.
    """
    kept_NM = torch.ones_like(present_NM)
    for name, share in shares.items():
        m = names.index(name)
        n_kept = count_kept(share, int(present_NM[:, m].sum()))
        kept_NM[:, m] = ranks(keys, name, present_NM[:, m], seed) < n_kept
    return kept_NM
