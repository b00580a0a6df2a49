"""The head start where validation lacks a modality or a pair: a fifth of the training samples chooses."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tokens import drawn_frozen
from torch import Tensor

from u2a.method.head_start import FrozenTokens, Summary, fit_head_start
from u2a.method.head_start.frozen import hardly_judged
from u2a.method.head_start.joint import Patterns, fit_head
from u2a.method.head_start.probes import choose_read_outs, set_scale
from u2a.method.head_start.proxies import fit_proxies
from u2a.method.read_out import ModalityHead, ReadOuts

NAMES, WIDTHS, C, N = ("a", "b"), (12, 12), 3, 200
SEED = 3
HELD = torch.randperm(N, generator=torch.Generator().manual_seed(SEED))[:40]


def drawn(n: int, seed: int, noise: float = 3.0) -> FrozenTokens:
    return drawn_frozen(n, seed, WIDTHS, noise)


def with_first(side: FrozenTokens, few: int) -> FrozenTokens:
    """Only so many of the samples have the first modality."""
    side.present_NM[few:, 0] = False
    return side


def apart(side: FrozenTokens) -> FrozenTokens:
    """Each sample has one of the two, in turn."""
    side.present_NM.copy_(torch.eye(2, dtype=torch.bool)[torch.arange(len(side.target)) % 2])
    return side


def modules() -> tuple[ReadOuts, ModalityHead]:
    torch.manual_seed(0)
    return ReadOuts(NAMES, WIDTHS, 1, 4), ModalityHead(NAMES, WIDTHS, C)


def state(parts: tuple[ReadOuts, ModalityHead]) -> dict[str, Tensor]:
    return dict(parts[0].state_dict()) | dict(parts[1].state_dict())


@pytest.mark.parametrize(
    ("validation", "lacking"),
    [
        (with_first(drawn(100, 1), 0), ["a"]),
        (with_first(drawn(100, 1), 5), ["a"]),
        (apart(drawn(100, 1)), ["a + b"]),
    ],
)
def test_a_fifth_chooses_what_all_share_and_all_are_fitted(
    validation: FrozenTokens, lacking: list[str]
) -> None:
    train = drawn(N, 0)
    mine = modules()
    summary = fit_head_start(*mine, train, validation, read_out="both", seed=SEED)
    held_N = torch.isin(torch.arange(N), HELD)
    fit_on, judged = train.rows(~held_N), train.rows(held_N)
    parts, by_hand = modules(), Summary(held_out=True, lacking=lacking)
    choose_read_outs(*parts, train, validation, "both", by_hand, SEED)  # each modality's own, by what has it
    for m in range(2):
        set_scale(parts[0], m, fit_on, "both")
    fit_proxies(parts[0], fit_on, judged, by_hand)
    fit_head(*parts, fit_on, judged, by_hand)
    assert summary == by_hand
    assert float(mine[0].gate) == summary.gate
    first, few, errors = summary.lines()
    assert "; loss on a fifth of the training samples " in first
    assert few.startswith(f"too few validation samples have {lacking[0]}: a fifth of the training samples")
    assert "a to b" in errors
    for m in range(2):
        set_scale(parts[0], m, train, "both")
    fit_proxies(parts[0], train, train, Summary(ridges=by_hand.ridges))
    for key, tensor in parts[0].state_dict().items():
        torch.testing.assert_close(mine[0].state_dict()[key], tensor, msg=key)
    patterns = Patterns(parts[0], train)
    losses = [patterns.loss(head, by_hand.gate) + head.penalty() for head in (mine[1], parts[1])]
    assert losses[0] < losses[1]  # fitted on all, the other on four fifths


def test_what_validation_says_enough_of_is_chosen_by_it() -> None:
    """Thirty of a hundred have the first modality: bit for bit the fits one after the other."""
    train, validation = drawn(N, 0), with_first(drawn(100, 1), 30)
    mine, parts = modules(), modules()
    summary = fit_head_start(*mine, train, validation, seed=SEED)
    by_hand = Summary()
    choose_read_outs(*parts, train, validation, "auto", by_hand, SEED)
    fit_proxies(parts[0], train, validation, by_hand)
    fit_head(*parts, train, validation, by_hand)
    assert summary == by_hand
    assert all(torch.equal(tensor, state(parts)[key]) for key, tensor in state(mine).items())


def test_with_all_modalities_it_is_no_worse_than_scikit_learn() -> None:
    """The first modality, of which validation has nothing, says all; the second hardly anything."""
    train, validation, test = (drawn(n, seed) for n, seed in ((N, 0), (100, 1), (600, 2)))
    for side in (train, validation, test):
        order = torch.randperm(len(side.target), generator=torch.Generator().manual_seed(1))
        tokens = side.tokens[1]
        side.tokens[1].cls_PH.copy_(tokens.cls_PH[order])
        side.tokens[1].mean_PH.copy_(tokens.mean_PH[order])
    parts = modules()
    fit_head_start(*parts, train, with_first(validation, 0), read_out="both", seed=SEED)

    def columns(side: FrozenTokens) -> Tensor:
        return torch.cat([parts[0].own(m, side.tokens[m]) for m in range(2)], 1)

    with torch.no_grad():
        x, z = columns(train), columns(test)
        mine = z @ torch.cat(list(parts[1].each_weight()), 1).T / parts[0].width ** 0.5 + parts[1].bias
    folds = [LogisticRegression(C=c, max_iter=2000).fit(x, train.target) for c in (0.003, 0.01, 0.03, 0.1)]
    reference = max(fold.score(z, test.target) for fold in folds)
    assert (mine.argmax(1) == test.target).float().mean() > reference - 0.03


@pytest.mark.parametrize(
    ("taught", "judged", "found"),
    [
        ((200, 200, 200), (100, 100, 100), []),
        ((200, 200, 200), (100, 29, 29), [(1,)]),  # the pair says nothing more
        ((200, 200, 200), (100, 60, 29), [(0, 1)]),
        ((200, 145, 145), (100, 29, 29), []),  # a fifth of those in training
        ((200, 10, 10), (100, 0, 0), []),  # a twentieth of the training samples
        ((200, 11, 11), (100, 0, 0), [(1,)]),
        ((200, 100, 0), (100, 60, 0), []),
    ],
)
def test_which_modalities_and_pairs_are_hardly_judged(
    taught: tuple[int, int, int], judged: tuple[int, int, int], found: list[tuple[int, ...]]
) -> None:
    """How many of the samples have the first modality (all but those without a pair), the second, and both."""

    def side(first: int, second: int, pair: int) -> FrozenTokens:
        made = drawn(first + second - pair, 0)
        made.present_NM[first:, 0] = False
        made.present_NM[: first - pair, 1] = False
        return made

    assert hardly_judged(side(*taught), side(*judged)) == found
