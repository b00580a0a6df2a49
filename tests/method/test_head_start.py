"""The head start against scikit-learn, closed forms and the equations it shares with the trained model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from u2a.method.head_start import FrozenTokens, fit_head_start, joint
from u2a.method.head_start.joint import Patterns, minimise_head
from u2a.method.head_start.probes import DECAYS
from u2a.method.losses import exhaustive_task_losses
from u2a.method.read_out import ModalityHead, ReadOuts, ReadTokens
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


@pytest.mark.parametrize("kind", ["cls", "mean", "both"])
def test_one_modality_is_scikit_learns_logistic_regression(kind: str) -> None:
    train, val = frozen(200, 0), frozen(80, 1)
    one, judged = (FrozenTokens(s.tokens[:1], s.present_NM[:, :1], s.target) for s in (train, val))
    torch.manual_seed(0)
    read_outs, head = ReadOuts(("a",), (6,), 1, 3), ModalityHead(("a",), (6,), C)
    summary = fit_head_start(read_outs, head, one, judged, read_out=kind)
    own = {"cls": one.tokens[0].cls_PH, "mean": one.tokens[0].mean_PH}
    x = torch.cat(list(own.values()), 1) if kind == "both" else own[kind]
    x = _standard(x, x)
    decay = summary.decays["a"]
    reference = LogisticRegression(C=1 / (2 * len(x) * decay), max_iter=10_000, tol=1e-8).fit(
        x, one.target.numpy()
    )
    mine = logits(read_outs, head, one, one.present_NM).softmax(1)
    assert np.abs(mine.detach().numpy() - reference.predict_proba(x)).max() < 0.02


def test_the_decay_is_the_one_of_least_validation_loss() -> None:
    train, val = frozen(60, 0), frozen(200, 1)
    read_outs, head = modules()
    summary = fit_head_start(read_outs, head, train, val, read_out="cls")
    x, y = (_standard(s.tokens[1].cls_PH, train.tokens[1].cls_PH) for s in (train, val))
    losses = {}
    for decay in DECAYS:
        fit = LogisticRegression(C=1 / (2 * len(x) * decay), max_iter=10_000).fit(x, train.target.numpy())
        p = fit.predict_proba(y)[np.arange(len(y)), val.target.numpy()]
        losses[decay] = -np.log(p).mean()
    assert summary.probe_losses["b"]["cls"] == pytest.approx(min(losses.values()), rel=0.01)


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
    train, val = (frozen(40, s, gaps=gaps, multi_label=multi_label) for s in (0, 1))
    read_outs, head = modules()
    fit_head_start(read_outs, head, train, val)
    read_outs.gate.fill_(gate)
    cls, mask = read(read_outs, train)

    def classify(present: Tensor) -> Tensor:
        return head(select_tokens(cls, mask * gate, present))

    with torch.no_grad():
        wanted = exhaustive_task_losses(classify, train.present_NM, train.target).mean()
    assert loss_of(read_outs, head, train, gate) == pytest.approx(float(wanted), rel=1e-5)


def test_patterns_in_parts_give_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = frozen(40, 0), frozen(40, 1)
    read_outs, head = modules()
    fit_head_start(read_outs, head, train, val)
    whole = loss_of(read_outs, head, train, 1.0)
    monkeypatch.setattr(joint, "LARGEST", 1)
    assert loss_of(read_outs, head, train, 1.0) == pytest.approx(whole, rel=1e-6)


def test_an_encoder_whose_tokens_are_a_thousand_times_as_long_changes_nothing() -> None:
    found = []
    for scale in (1.0, 1000.0):
        read_outs, head = modules()
        train, val, test = (frozen(n, s, scale=scale) for n, s in ((120, 0), (60, 1), (60, 2)))
        fit_head_start(read_outs, head, train, val)
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
        both = [torch.cat([t.tokens[m].cls_PH, t.tokens[m].mean_PH], 1) for m in (i, j) for t in (train, val)]
        length = np.sqrt(3 * WIDTHS[i])
        x, x_val = (_source(t.tokens[i], train.tokens[i]) * length for t in (train, val))
        y, y_val = (_standard(both[k], both[2]) for k in (2, 3))
        ridge = Ridge(alpha=summary.ridges[pair] * len(x), fit_intercept=False).fit(x, y)
        error = ((ridge.predict(x_val) - y_val) ** 2).mean() / (y_val**2).mean()
        slack = 0.05 if 2 * WIDTHS[j] > 8 else 2e-3  # a wider target loses what a rank of 8 cannot hold
        assert summary.proxy_errors[pair] == pytest.approx(error, abs=slack)
        assert summary.proxy_errors[pair] < 1


def test_proxies_stand_in_only_where_they_lower_the_validation_loss() -> None:
    train, val = frozen(300, 0), frozen(100, 1)
    by_hand = {}
    for gate in (0.0, 1.0):
        read_outs, head = modules()
        summary = fit_head_start(read_outs, head, train, val)
        decays = [summary.decays[name] for name in NAMES]
        joint._reset(head)
        joint._set_decay(head, decays)
        minimise_head(head, Patterns(read_outs, train), gate)
        by_hand[gate] = loss_of(read_outs, head, val, gate)
    assert summary.gate == min(by_hand, key=by_hand.__getitem__)


def test_without_validation_data_a_part_of_the_training_samples_makes_the_choices() -> None:
    train, test = frozen(200, 0), frozen(200, 2)
    read_outs, head = modules()
    summary = fit_head_start(read_outs, head, train, None)
    assert summary.held_out
    guess = logits(read_outs, head, test, test.present_NM).argmax(1)
    assert (guess == test.target).float().mean() > 0.9
    again = modules()
    fit_head_start(*again, train, None)
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), again[1].parameters(), strict=True))


@pytest.mark.parametrize(("n", "chooses"), [(5, False), (29, False), (30, True), (60, True)])
def test_a_handful_of_validation_samples_makes_no_choices(n: int, chooses: bool) -> None:
    """A fifth of 200 training samples is more than 5 or 29; from 30 on validation is believed."""
    train, few = frozen(200, 0), frozen(n, 1)
    mine, held = modules(), modules()
    assert fit_head_start(*mine, train, few).held_out is not chooses
    fit_head_start(*held, train, None)
    same = [torch.equal(a, b) for a, b in zip(mine[1].parameters(), held[1].parameters(), strict=True)]
    assert all(same) is not chooses


def test_a_dimension_that_never_varies_is_left_out() -> None:
    train, val = frozen(60, 0), frozen(30, 1)
    for side in (train, val):
        side.tokens[1].cls_PH[:, 0] = 7.0
    read_outs, head = modules()
    fit_head_start(read_outs, head, train, val, read_out="cls")
    assert read_outs.scales["b"].scale[0] == 0
    assert logits(read_outs, head, val, val.present_NM).isfinite().all()
