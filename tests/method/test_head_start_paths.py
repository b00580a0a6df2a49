"""The head start walks down its paths of decays until validation grows worse, wherever the weights stood."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tokens import drawn_frozen
from torch import nn

from u2a.method.head_start import FrozenTokens, fit_head_start, joint, probes
from u2a.method.head_start.joint import Patterns, fit_head, minimise_head
from u2a.method.head_start.probes import DECAYS, choose_read_outs, set_scale
from u2a.method.head_start.proxies import fit_proxies
from u2a.method.head_start.summary import Summary
from u2a.method.read_out import ModalityHead, ReadOuts

NAMES, WIDTHS, C = ("a", "b"), (4, 6), 3

#: Hardly weaker, much weaker (the best but for the last), far too weak: the last is never tried.
PATH = (1.0, 0.99, 2e-2, 1e-6, 1e-2)


def drawn(n: int, seed: int, noise: float = 1.0) -> FrozenTokens:
    return drawn_frozen(n, seed, WIDTHS, noise)


def prepared(train: FrozenTokens) -> tuple[ReadOuts, ModalityHead, Summary]:
    """Without proxies; every decay is 1."""
    read_outs, head = ReadOuts(NAMES, WIDTHS, 1, 0), ModalityHead(NAMES, WIDTHS, C)
    for m in range(2):
        set_scale(read_outs, m, train, "both")
    return read_outs, head, Summary(decays=dict.fromkeys(NAMES, 1.0))


def assert_telling(losses: list[float]) -> None:
    """Each of the path's stations is of another kind."""
    hardly, best, worse, never = (loss / losses[0] for loss in losses[1:])
    told = 1 / 1.02 < hardly < 1, never < best < hardly, worse > 1.02 * best
    assert all(told), f"the case tells nothing: {losses}"


def test_the_joint_path_goes_on_while_validation_grows_no_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = drawn(40, 0, noise=2.0), drawn(60, 1, noise=2.0)
    losses = []
    for factor in PATH:
        read_outs, head, summary = prepared(train)
        joint._set_decay(head, [factor, factor])
        minimise_head(head, Patterns(read_outs, train), 0.0)
        with torch.no_grad():
            losses.append(float(Patterns(read_outs, val).loss(head, 0.0)))
    assert_telling(losses)
    monkeypatch.setattr(joint, "FACTORS", PATH)
    read_outs, head, summary = prepared(train)
    fit_head(read_outs, head, train, val, summary)
    assert (summary.decays, summary.gate) == (dict.fromkeys(NAMES, PATH[2]), 0)
    assert summary.loss == pytest.approx(losses[2], rel=1e-3)


def test_a_probes_path_goes_on_while_validation_grows_no_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = drawn(40, 0, noise=2.0), drawn(60, 1, noise=2.0)
    losses = []
    for decay in PATH:
        monkeypatch.setattr(probes, "DECAYS", (decay,))
        read_outs, head, summary = prepared(train)
        choose_read_outs(read_outs, head, train, val, "both", summary)
        losses.append(summary.probe_losses["a"]["both"])
    assert_telling(losses)
    monkeypatch.setattr(probes, "DECAYS", PATH)
    read_outs, head, summary = prepared(train)
    choose_read_outs(read_outs, head, train, val, "both", summary)
    assert summary.decays["a"] == PATH[2]


def test_what_a_head_held_before_changes_nothing() -> None:
    train, val = drawn(40, 0), drawn(40, 1)
    found = []
    for held in (0.0, 3.0):
        read_outs, head, summary = prepared(train)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.fill_(held)
        fit_head(read_outs, head, train, val, summary)
        found.append(head.state_dict())
        assert all(parameter.grad is None for parameter in head.parameters()), "the first step would add to it"
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name]), name


def test_a_modality_that_no_training_sample_has_has_no_probe() -> None:
    train, val = drawn(20, 0), drawn(20, 1)
    train.present_NM[:, 0] = False
    read_outs, head, summary = prepared(train)
    choose_read_outs(read_outs, head, train, val, "auto", summary)
    assert set(summary.probe_losses["a"].values()) == {math.inf}
    assert summary.decays["a"] == DECAYS[-1]
    assert math.isfinite(min(summary.probe_losses["b"].values()))


@pytest.mark.parametrize("few", [0, 5])
def test_training_samples_choose_for_a_modality_that_few_validation_samples_have(few: int) -> None:
    """A fifth of those that have it, drawn by the seed; five samples, or none, would choose at random."""
    train, val = drawn(60, 0), drawn(60, 1)
    train.present_NM[50:, 0] = False
    val.present_NM[few:, 0] = False
    choose_read_outs(*prepared(train)[:2], train, val, "auto", summary := Summary(), 3)
    place = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    read_outs, head, by_hand = prepared(train)
    decay, losses = {}, {}
    for kind in probes.READ_OUTS:
        set_scale(read_outs, 0, train, kind)
        sides = train.rows(place[10:].sort()[0]), train.rows(place[:10])
        losses[kind], decay[kind] = probes._probe(read_outs, head, 0, *sides)
    best = min(losses, key=losses.__getitem__)
    assert summary.probe_losses["a"] == pytest.approx(losses)
    assert (summary.read_outs["a"], summary.decays["a"]) == (best, decay[best])
    choose_read_outs(read_outs, head, train, val, "auto", by_hand, 4)
    assert by_hand.decays["b"] == summary.decays["b"], "sixty validation samples have it: nothing is drawn"
    assert by_hand.probe_losses["a"] != summary.probe_losses["a"]


def test_a_modality_counts_by_the_share_of_samples_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decay too, as scikit-learn has it with columns that are longer by the root: a tenth have the first.

    No sample has both, so that the loss over all patterns is the plain one.
    """
    train = drawn(200, 0)
    train.present_NM.copy_(torch.eye(2, dtype=torch.bool)[(torch.arange(200) % 10 > 0).long()])
    monkeypatch.setattr(joint, "FACTORS", (1.0,))
    read_outs, head, summary = prepared(train)
    summary.decays = dict.fromkeys(NAMES, decay := 3e-3)
    fit_head(read_outs, head, train, train, summary)
    assert summary.decays == pytest.approx({"a": 0.1 * decay, "b": 0.9 * decay})
    own = [read_outs.own(m, train.tokens[m]) * train.present_NM[:, m, None] for m in range(2)]
    x = torch.cat([own[0] / 0.1**0.5, own[1] / 0.9**0.5], 1) / read_outs.width**0.5
    reference = LogisticRegression(C=1 / (2 * 200 * decay), tol=1e-8, max_iter=1000).fit(x, train.target)
    with torch.no_grad():
        mine = sum(o @ w.T for o, w in zip(own, head.each_weight(), strict=True)) / read_outs.width**0.5
    assert (mine + head.bias).softmax(1).detach().numpy() == pytest.approx(reference.predict_proba(x), abs=5e-3)


def fitted(
    train: FrozenTokens, val: FrozenTokens | None, C: int = 4
) -> tuple[Summary, dict[str, torch.Tensor]]:
    """What the head start chooses and makes, proxies and all."""
    torch.manual_seed(0)
    read_outs, head = ReadOuts(NAMES, WIDTHS, 1, 2), ModalityHead(NAMES, WIDTHS, C)
    return fit_head_start(read_outs, head, train, val, seed=3), head.state_dict()


def assert_same(one: FrozenTokens | None, other: FrozenTokens | None, train: FrozenTokens) -> None:
    (mine, head), (wanted, wanted_head) = fitted(train, one), fitted(train, other)
    assert mine == wanted
    assert all(torch.equal(head[key], wanted_head[key]) for key in head)


def test_validation_samples_of_a_class_that_training_lacks_choose_nothing() -> None:
    train, val = drawn(60, 0), drawn(90, 1)
    judged = replace(val, target=torch.where(torch.arange(90) % 3 == 0, 3, val.target))
    assert_same(judged, judged.rows(judged.target < 3), train)
    alone = replace(val, target=torch.full_like(val.target, 3))
    assert_same(alone, None, train)  # then training samples choose


def test_nor_where_training_lacks_the_class_among_those_that_have_the_modality() -> None:
    """All of the first class lack the second modality in training: its read-out and decay are the others'."""
    train, val = drawn(60, 0), drawn(90, 1)
    train.present_NM[:, 1] = train.target > 0
    chosen = []
    for judged in (val, val.rows(val.target > 0)):
        choose_read_outs(*prepared(train)[:2], train, judged, "auto", summary := Summary())
        chosen.append((summary.decays["b"], summary.probe_losses["b"]))
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("always", [0.0, 1.0])
def test_a_label_that_is_the_same_in_all_training_samples_chooses_nothing(always: float) -> None:
    train, val = (
        replace(side, target=nn.functional.one_hot(side.target, 4).float())
        for side in (drawn(60, 0), drawn(90, 1))
    )
    train.target[:, 3] = always
    val.target[:, 3] = always
    other = replace(val, target=val.target.clone())
    other.target[::3, 3] = 1 - always
    assert_same(other, val, train)
    assert fitted(train, val)[0].loss < 0.5


def test_the_one_sample_of_a_class_chooses_nothing_where_training_samples_choose() -> None:
    """It is held out by the seed, and then no other sample is of its class."""
    train = drawn(60, 0)
    held = int(torch.randperm(60, generator=torch.Generator().manual_seed(3))[0])
    train.target[held] = 3
    found = fitted(train, None)[0]
    train.tokens[0].cls_PH[held] += 9
    train.tokens[1].mean_PH[held] -= 9
    again = fitted(train, None)[0]
    assert again.held_out
    assert (again.probe_losses, again.loss) == (found.probe_losses, found.loss)


def test_of_five_classes_with_a_sample_each_the_one_held_out_chooses_after_all() -> None:
    train = replace(drawn(5, 0), target=torch.arange(5))
    assert math.isfinite(fitted(train, None, 5)[0].loss)


def test_where_no_proxy_could_be_fitted_none_stands_in() -> None:
    """No sample has both modalities: with and without is the same to the last digit, and told as without."""
    train, val = drawn(20, 0), drawn(20, 1)
    for side in (train, val):
        side.present_NM.copy_(torch.eye(2, dtype=torch.bool)[torch.arange(20) % 2])
    _, head, summary = prepared(train)
    read_outs = ReadOuts(NAMES, WIDTHS, 1, 2)
    fit_proxies(read_outs, train, val, summary)
    fit_head(read_outs, head, train, val, summary)
    assert (summary.gate, float(read_outs.gate)) == (0, 0)


def test_of_five_samples_one_makes_the_choices() -> None:
    train = drawn(5, 0)
    chosen = torch.randperm(5, generator=torch.Generator().manual_seed(3))
    read_outs, head, _ = prepared(train)
    by_hand = Summary(held_out=True)
    fit_on, judged_on = train.rows(chosen[1:].sort()[0]), train.rows(chosen[:1])
    choose_read_outs(read_outs, head, fit_on, judged_on, "cls", by_hand)
    fit_head(read_outs, head, fit_on, judged_on, by_hand)
    assert fit_head_start(*prepared(train)[:2], train, None, read_out="cls", seed=3) == by_hand


def test_one_sample_alone_is_fitted() -> None:
    """Nothing can be held out of it."""
    read_outs, head = ReadOuts(NAMES, WIDTHS, 1, 0), ModalityHead(NAMES, WIDTHS, C)
    fit_head_start(read_outs, head, drawn(1, 0), None)
    state = [*read_outs.state_dict().values(), *head.state_dict().values()]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state)
