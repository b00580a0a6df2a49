"""A seeded, stratified division into train, val and test that parts no groups and no twins.

Samples that belong together are one piece. Classes are gone through from the rarest to the commonest, and each
piece goes where its class is wanted most (iterative stratification: Sechidis, Tsoumakas, Vlahavas, ECML 2011).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from u2a.common.seeds import rng
from u2a.errors import U2AError

SHARES = {"train": 0.7, "test": 0.15, "val": 0.15}


def divide(
    labels: Sequence[Sequence[str]],
    ties: Sequence[Sequence[Hashable]],
    seed: int,
    shares: dict[str, float] = SHARES,
) -> list[str]:
    """The split of each sample.

    Args:
        labels: the classes of each.
        ties: what each shares with others that must be in the same split: groups, digests of files.
        seed: of the draw.
        shares: of the samples, by split; what a class of few samples has goes to the first split.

    Raises:
        U2AError: all samples belong together, so there is nothing to divide.
    """
    pieces = _pieces(ties)
    if len(pieces) < 2:
        raise U2AError("all samples are one group, so they cannot be divided; check --group")
    rng("divide", seed).shuffle(pieces)
    pieces.sort(key=len, reverse=True)
    totals = Counter(label for one in labels for label in one)
    held = [Counter(label for i in piece for label in labels[i]) for piece in pieces]
    wanted = {split: Counter({c: share * n for c, n in totals.items()}) for split, share in shares.items()}
    room = {split: share * len(labels) for split, share in shares.items()}
    found: dict[int, str] = {}
    by_class = defaultdict(list)
    for place, counts in enumerate(held):
        for label in counts:
            by_class[label].append(place)
    for rare in _rarest_first(totals):
        for place in by_class[rare] if rare is not None else range(len(pieces)):
            if place in found:
                continue
            split = max(shares, key=lambda s: (round(wanted[s][rare], 9) if rare else 0, round(room[s], 9)))
            found[place] = split
            room[split] -= len(pieces[place])
            wanted[split].subtract(held[place])
    _fill(found, held, list(shares))
    result = [""] * len(labels)
    for place, split in found.items():
        for i in pieces[place]:
            result[i] = split
    return result


def _rarest_first(totals: Counter[str]) -> list[str | None]:
    """The classes, and None for what has no class."""
    return [*sorted(totals, key=lambda c: (totals[c], c)), None]


def _fill(found: dict[int, str], held: Sequence[Counter[str]], splits: Sequence[str]) -> None:
    """No split stays empty while another can spare a piece: one whose classes stay there, too, goes first."""
    for split in splits[: len(held)]:
        if split in found.values():
            continue
        donor = Counter(found.values()).most_common(1)[0][0]
        there = [place for place, where in found.items() if where == donor]
        left = Counter(label for place in there for label in held[place])
        found[max(there, key=lambda p: (min((left[c] for c in held[p]), default=0) > 1, p))] = split


def _pieces(ties: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """Samples joined by what they share, each piece in order."""
    parent = list(range(len(ties)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Hashable, int] = {}
    for i, tied in enumerate(ties):
        for one in tied:
            a, b = sorted((root(first.setdefault(one, i)), root(i)))
            parent[b] = a
    pieces = defaultdict(list)
    for i in range(len(ties)):
        pieces[root(i)].append(i)
    return list(pieces.values())
