"""The head start against scikit-learn, closed forms and the equations it shares with the trained model."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from u2a.method.head_start import FrozenTokens, fit_head_start, joint
from u2a.method.head_start.frozen import minimise
from u2a.method.head_start.joint import Patterns, fit_head, minimise_head
from u2a.method.head_start.probes import DECAYS, choose_read_outs, set_scale
from u2a.method.head_start.proxies import fit_proxies
from u2a.method.head_start.summary import Summary
from u2a.method.losses import exhaustive_task_losses
from u2a.method.read_out import ModalityHead, ReadOuts, ReadTokens, both
from u2a.method.selection import select_tokens

NAMES, WIDTHS, C = ("c", "b", "a"), (6, 4, 5), 3  # in no order of the alphabet


def frozen(
    n: int, seed: int, *, scale: float = 1.0, gaps: bool = False, multi_label: bool = False
) -> FrozenTokens:
    """Tokens whose means tell the class; `scale` stretches and shifts the first modality's."""
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(C, (n,), generator=g)
    centres = torch.Generator().manual_seed(99)
    tokens = []
    for m, width in enumerate(WIDTHS):
        means = torch.randn(C, 3 * width, generator=centres)
        x = means[label] + torch.randn(n, 3 * width, generator=g)
        x = x * scale + 5 * scale if m == 0 else x
        cls, mean, mask = x.split(width, 1)
        tokens.append(ReadTokens(cls, mean, mask.unsqueeze(1)))
    present = torch.ones(n, 3, dtype=torch.bool)
    if gaps:
        present = torch.rand(n, 3, generator=g) < 0.6
        present[torch.arange(n), torch.randint(3, (n,), generator=g)] = True
    target = torch.nn.functional.one_hot(label, C).float() if multi_label else label
    return FrozenTokens(tuple(tokens), present, target)


def modules(rank: int = 3) -> tuple[ReadOuts, ModalityHead]:
    torch.manual_seed(0)
    return ReadOuts(NAMES, WIDTHS, 1, rank), ModalityHead(NAMES, WIDTHS, C)


@torch.no_grad()
def read(read_outs: ReadOuts, side: FrozenTokens) -> tuple[Tensor, Tensor]:
    """What the model would hand to token selection."""
    M = len(side.tokens)
    cls = torch.stack([read_outs.read(m, side.tokens[m]) for m in range(M)], 1)
    mask = torch.stack([read_outs.stand_ins(m, side.tokens[m], [0] * M) for m in range(M)], 1)
    absent = ~side.present_NM
    return cls.masked_fill(absent[..., None], 0), mask.masked_fill(absent[..., None, None], 0)


@torch.no_grad()
def logits(read_outs: ReadOuts, head: ModalityHead, side: FrozenTokens, present: Tensor) -> Tensor:
    cls, mask = read(read_outs, side)
    return head(select_tokens(cls, mask * read_outs.gate, present))


@torch.no_grad()
def loss_of(read_outs: ReadOuts, head: ModalityHead, side: FrozenTokens, gate: float) -> float:
    return float(Patterns(read_outs, side).loss(head, gate))


def drawn(train: FrozenTokens) -> tuple[ReadOuts, ModalityHead]:
    """Statistics and proxies of the samples, and a head of no fit's."""
    read_outs, head = modules()
    for m in range(3):
        set_scale(read_outs, m, train, ("cls", "mean", "both")[m])
    fit_proxies(read_outs, train, train, Summary())
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return read_outs, head


def test_a_fit_goes_on_until_it_is_at_the_minimum() -> None:
    """Along Rosenbrock's bent valley, whose minimum is at (1, 1): 20 and 30 steps do not reach it."""
    x = torch.tensor([-1.2, 1.0], requires_grad=True)
    minimise([x], lambda: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)
    assert x.tolist() == pytest.approx([1, 1], abs=1e-3)


@pytest.mark.parametrize("kind", ["cls", "mean", "both"])
def test_one_modality_is_scikit_learns_logistic_regression(kind: str) -> None:
    train, val = frozen(200, 0), frozen(80, 1)
    one, judged = (FrozenTokens(s.tokens[:1], s.present_NM[:, :1], s.target) for s in (train, val))
    torch.manual_seed(0)
    read_outs, head = ReadOuts(("a",), (6,), 1, 3), ModalityHead(("a",), (6,), C)
    summary = fit_head_start(read_outs, head, one, judged, read_out=kind)
    assert "a missing modality counts as its mean" in summary.lines()[0]  # there are no proxies
    own = {"cls": one.tokens[0].cls_PH, "mean": one.tokens[0].mean_PH}
    x = torch.cat(list(own.values()), 1) if kind == "both" else own[kind]
    x = _standard(x, x)
    decay = summary.decays["a"]
    reference = LogisticRegression(C=1 / (2 * len(x) * decay), max_iter=10_000, tol=1e-8).fit(
        x, one.target.numpy()
    )
    mine = logits(read_outs, head, one, one.present_NM).softmax(1)
    assert np.abs(mine.detach().numpy() - reference.predict_proba(x)).max() < 0.02


@pytest.mark.parametrize("weights", [None, (0.4, 1.0, 3.0)])
def test_the_decay_is_the_one_of_least_validation_loss(weights: tuple[float, ...] | None) -> None:
    """Of the samples that have the modality; each counts as its class does."""
    w = torch.tensor(weights or (1.0, 1.0, 1.0))
    train, val = (replace(frozen(n, s, gaps=True), class_weights=w) for n, s in ((80, 0), (200, 1)))
    choose_read_outs(*modules(), train, val, "cls", summary := Summary())
    there, theirs = (side.present_NM[:, 1] for side in (train, val))
    own = train.tokens[1].cls_PH[there]
    x, y = _standard(own, own), _standard(val.tokens[1].cls_PH[theirs], own)
    label, judged = train.target[there], val.target[theirs]
    losses = {}
    for decay in DECAYS:
        fit = LogisticRegression(C=1 / (2 * len(x) * decay), max_iter=10_000)
        fit.fit(x, label.numpy(), sample_weight=w[label].numpy())
        p = fit.predict_proba(y)[np.arange(len(y)), judged.numpy()]
        losses[decay] = (-np.log(p) * w[judged].numpy()).mean()
    assert summary.probe_losses["b"]["cls"] == pytest.approx(min(losses.values()), rel=0.01)
    assert summary.decays["b"] == min(losses, key=losses.__getitem__)


def _standard(x: Tensor, by: Tensor) -> np.ndarray:
    """Standardised by the columns of `by`, then every row of length 1."""
    z = ((x - by.mean(0)) / by.std(0, unbiased=False)).double().numpy()
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _source(x: ReadTokens, by: ReadTokens) -> np.ndarray:
    """Class and mean token of what a proxy reads: mask, class and mean token standardised, of length 1."""
    columns, of = (torch.cat([t.mask_PKH[:, 0], t.cls_PH, t.mean_PH], 1).double() for t in (x, by))
    scale = 1 / of.std(0, unbiased=False)
    H = x.cls_PH.shape[1]
    scale[:H] = scale[:H].clamp(max=scale[H:].square().mean().sqrt())  # a mask token that hardly varies yet
    z = ((columns - of.mean(0)) * scale).numpy()
    return (z / np.linalg.norm(z, axis=1, keepdims=True))[:, H:]


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_what_is_minimised_is_the_models_exhaustive_loss(gaps: bool, multi_label: bool, gate: float) -> None:
    weights = torch.tensor([0.4, 1.0, 3.0])
    train = replace(frozen(40, 0, gaps=gaps, multi_label=multi_label), class_weights=weights)
    read_outs, head = drawn(train)
    read_outs.gate.fill_(gate)
    cls, mask = read(read_outs, train)

    def classify(present: Tensor) -> Tensor:
        return head(select_tokens(cls, mask * gate, present))

    with torch.no_grad():
        wanted = exhaustive_task_losses(classify, train.present_NM, train.target, weights).mean()
    assert loss_of(read_outs, head, train, gate) == pytest.approx(float(wanted), rel=1e-5)


def test_patterns_in_parts_give_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    train = frozen(40, 0)
    read_outs, head = drawn(train)
    whole = loss_of(read_outs, head, train, 1.0)
    monkeypatch.setattr(joint, "LARGEST", 1)
    assert loss_of(read_outs, head, train, 1.0) == pytest.approx(whole, rel=1e-6)
    for largest, sizes in ((1, [1] * 7), (2 * 40 * C, [2, 2, 2, 1])):
        monkeypatch.setattr(joint, "LARGEST", largest)
        parts = Patterns(read_outs, train)._parts(torch.zeros(9, 40, C))
        assert [len(part) for part, _ in parts] == sizes


def test_an_encoder_whose_tokens_are_a_thousand_times_as_long_changes_nothing() -> None:
    found = []
    for scale in (1.0, 1000.0):
        read_outs, head = modules()
        train, val, test = (frozen(n, s, scale=scale) for n, s in ((120, 0), (60, 1), (60, 2)))
        fit_head_start(read_outs, head, train, val, read_out="both")
        found.append(logits(read_outs, head, test, test.present_NM).softmax(1).detach())
        cls, _ = read(read_outs, train)
        assert cls.square().mean((0, 2)).tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    assert (found[0] - found[1]).abs().max() < 0.02


def test_a_proxy_of_full_rank_is_ridge_regression() -> None:
    train, val = frozen(300, 0), frozen(100, 1)
    read_outs, head = modules(rank=8)
    summary = fit_head_start(read_outs, head, train, val, read_out="both")
    for i, j in itertools.permutations(range(3), 2):
        pair = f"{NAMES[i]}_to_{NAMES[j]}"
        pairs = [both(t.tokens[m]) for m in (i, j) for t in (train, val)]
        length = np.sqrt(3 * WIDTHS[i])
        x, x_val = (_source(t.tokens[i], train.tokens[i]) * length for t in (train, val))
        y, y_val = (_standard(pairs[k], pairs[2]) for k in (2, 3))
        ridge = Ridge(alpha=summary.ridges[pair] * len(x), fit_intercept=False).fit(x, y)
        error = ((ridge.predict(x_val) - y_val) ** 2).mean() / (y_val**2).mean()
        slack = 0.05 if 2 * WIDTHS[j] > 8 else 2e-3  # a wider target loses what a rank of 8 cannot hold
        assert summary.proxy_errors[pair] == pytest.approx(error, abs=slack)
        assert summary.proxy_errors[pair] < 1


@pytest.fixture(scope="module")
def of_a_fifth() -> ModalityHead:
    """The head where a fifth of 200 samples made the choices."""
    held = modules()
    fit_head_start(*held, frozen(200, 0), None, read_out="cls")
    return held[1]


def test_without_validation_data_a_part_of_the_training_samples_makes_the_choices(
    of_a_fifth: ModalityHead,
) -> None:
    train, test = frozen(200, 0), frozen(200, 2)
    read_outs, head = modules()
    assert fit_head_start(read_outs, head, train, None, read_out="cls").held_out
    guess = logits(read_outs, head, test, test.present_NM).argmax(1)
    assert (guess == test.target).float().mean() > 0.9
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), of_a_fifth.parameters(), strict=True))


@pytest.mark.parametrize(("n", "chooses"), [(29, False), (30, True)])
def test_a_handful_of_validation_samples_makes_no_choices(
    n: int, chooses: bool, of_a_fifth: ModalityHead
) -> None:
    """A fifth of 200 training samples is more than 29; from 30 on validation is believed."""
    mine = modules()
    assert fit_head_start(*mine, frozen(200, 0), frozen(n, 1), read_out="cls").held_out is not chooses
    pairs = zip(mine[1].parameters(), of_a_fifth.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) is not chooses


def test_few_validation_samples_are_believed_where_a_fifth_would_be_fewer() -> None:
    assert not fit_head_start(*modules(), frozen(60, 0), frozen(12, 1), read_out="cls").held_out
    assert fit_head_start(*modules(), frozen(5, 0), None, read_out="cls").held_out


def test_a_dimension_that_never_varies_is_left_out() -> None:
    train, val = frozen(60, 0), frozen(30, 1)
    for side in (train, val):
        side.tokens[1].cls_PH[:, 0] = 7.0
    read_outs, head = modules()
    fit_head_start(read_outs, head, train, val, read_out="cls")
    assert read_outs.scales["b"].scale[0] == 0
    assert logits(read_outs, head, val, val.present_NM).isfinite().all()


@torch.enable_grad()
def slope(read_outs: ReadOuts, head: ModalityHead, side: FrozenTokens, summary: Summary) -> float:
    """Length of the gradient of what the joint fit minimises, on `side`; 1 where all weights are 0."""
    with torch.no_grad():
        cls, mask = read(read_outs, side)

    def gradient(network: ModalityHead) -> Tensor:
        loss = exhaustive_task_losses(
            lambda present: network(select_tokens(cls, mask * summary.gate, present)),
            side.present_NM,
            side.target,
        ).mean()
        for name, weight in zip(NAMES, network.each_weight(), strict=True):
            loss = loss + summary.decays[name] * weight.square().sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])

    zero = copy.deepcopy(head)
    joint._reset(zero)
    return float(gradient(head).norm() / gradient(zero).norm())


def test_the_head_is_fitted_on_the_training_samples_with_the_decays_it_tells() -> None:
    train, val = frozen(60, 0, gaps=True), frozen(60, 1, gaps=True)
    read_outs, head = modules()
    summary = fit_head_start(read_outs, head, train, val, read_out="cls")
    assert slope(read_outs, head, train, summary) < 0.01
    assert slope(read_outs, head, val, summary) > 0.05


def test_after_choices_on_a_fifth_all_samples_are_fitted() -> None:
    """The fifth is drawn from the seed; what was chosen on it stays."""
    train = frozen(60, 0, gaps=True)
    held = torch.zeros(60, dtype=torch.bool)
    held[torch.randperm(60, generator=torch.Generator().manual_seed(5))[:12]] = True
    fit_on, judged_on = train.rows(~held), train.rows(held)
    read_outs, head = modules()
    found = fit_head_start(read_outs, head, train, None, read_out="mean", seed=5)
    chosen, by_hand = modules(), Summary(held_out=True)
    choose_read_outs(*chosen, fit_on, judged_on, "mean", by_hand)
    fit_proxies(chosen[0], fit_on, judged_on, by_hand)
    fit_head(*chosen, fit_on, judged_on, by_hand)
    assert found == by_hand
    assert slope(read_outs, head, train, found) < 0.01
    assert slope(*chosen, train, found) > 0.02
    again = modules()[0]
    for m in range(3):
        set_scale(again, m, train, "mean")
    fit_proxies(again, train, train, Summary(ridges=found.ridges))
    for name, tensor in again.proxies.state_dict().items():
        torch.testing.assert_close(read_outs.proxies.state_dict()[name], tensor)
    mean = both(train.tokens[1])[train.present_NM[:, 1]].mean(0)
    torch.testing.assert_close(read_outs.scales["b"].mean, mean)


@pytest.mark.parametrize(("lawful", "gate"), [(True, 1.0), (False, 0.0)])
def test_factor_and_gate_are_those_of_least_validation_loss(lawful: bool, gate: float) -> None:
    """Where tokens say nothing of the labels, the strongest decay and no stand-ins are least wrong."""
    train, val = frozen(40, 1), frozen(100, 4)
    for side in (train, val) if not lawful else ():
        order = torch.randperm(len(side.target), generator=torch.Generator().manual_seed(1))
        side.target.copy_(side.target[order])
    read_outs, head = modules()
    before = Summary()
    choose_read_outs(read_outs, head, train, val, "cls", before)
    summary = fit_head_start(read_outs, head, train, val, read_out="cls")
    losses = {}
    for one in itertools.product((0.0, 1.0), (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)):
        joint._reset(head)
        joint._set_decay(head, [before.decays[name] * one[1] for name in NAMES])
        minimise_head(head, Patterns(read_outs, train), one[0])
        losses[one] = loss_of(read_outs, head, val, one[0])
    least = min(losses.values())
    assert min(losses, key=losses.__getitem__)[0] == gate
    assert (summary.gate, float(read_outs.gate)) == (gate, gate)
    assert summary.loss == pytest.approx(least, rel=1e-3)
    found = [summary.decays[name] / before.decays[name] for name in NAMES]
    (factor,) = {round(one, 4) for one in found}  # the same for all
    assert losses[gate, factor] == pytest.approx(least, rel=1e-3)


def test_what_is_said_names_what_choices_were_made_on() -> None:
    """Where no sample has a modality beside the other there is no error to tell."""
    train, alone = frozen(60, 0), frozen(40, 1)
    for side in (train, alone):
        side.present_NM[:, 1:] = False
    said = fit_head_start(*modules(), train, alone).lines()
    assert ["; validation loss " in said[0], len(said)] == [True, 1]
    (first, errors) = fit_head_start(*modules(), frozen(60, 0), None).lines()
    assert "; loss on a fifth of the training samples " in first
    assert "a to b" in errors
