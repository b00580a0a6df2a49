"""Eqs. 6 and 7 against references written from the paper; sums do not depend on how a batch is divided."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tokens import B, D, random_case
from torch.nn import functional

from u2a.method.losses import (
    Counts,
    alignment_loss,
    balanced_weights,
    compute_losses,
    exhaustive_task_losses,
    task_losses,
)
from u2a.method.selection import select_tokens, subsets


def reference(cls: torch.Tensor, mask: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    M, total = cls.shape[1], torch.zeros(())
    for i, j in itertools.permutations(range(M), 2):
        both = [b for b in range(len(cls)) if present[b, i] and present[b, j]]
        token = [mask[b, i, j] if mask.dim() == 4 else mask[b, i] for b in both]
        errors = [((t - cls[b, j]) ** 2).mean() for t, b in zip(token, both, strict=True)]
        total = total + (sum(errors) / len(errors) if errors else 0)
    return total * (2 / (M * (M - 1)) if M > 1 else 0)


@pytest.mark.parametrize("per_target", [False, True])
@pytest.mark.parametrize("M", [1, 2, 3, 4])
def test_alignment_matches_the_reference(M: int, per_target: bool) -> None:
    for seed in range(5):
        case = random_case(M, seed, per_target)
        torch.testing.assert_close(alignment_loss(*case), reference(*case))


def test_two_modalities_are_the_papers_equation_6() -> None:
    cls, mask, _ = random_case(2, 0, per_target=False)
    everything = torch.ones(B, 2, dtype=torch.bool)
    paper = functional.mse_loss(mask[:, 0], cls[:, 1]) + functional.mse_loss(mask[:, 1], cls[:, 0])
    torch.testing.assert_close(alignment_loss(cls, mask, everything), paper)


def test_no_complete_pair_gives_zero() -> None:
    cls, mask, _ = random_case(2, 0, per_target=False)
    present = torch.tensor([[True, False], [False, True]])
    assert alignment_loss(cls[:2], mask[:2], present) == 0


def test_a_pair_that_one_sample_alone_completes_counts_in_full() -> None:
    cls, mask, _ = random_case(2, 1, per_target=False)
    present = torch.tensor([[True, True], [True, False], [False, True]])
    wanted = functional.mse_loss(mask[0, 0], cls[0, 1]) + functional.mse_loss(mask[0, 1], cls[0, 0])
    for pairs in (None, Counts.of(present).pairs_MM):
        torch.testing.assert_close(alignment_loss(cls[:3], mask[:3], present, pairs_MM=pairs), wanted)


def test_one_modality_has_no_alignment_loss_in_any_precision() -> None:
    cls, mask, present = random_case(1, 0, per_target=False)
    for dtype, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        loss = alignment_loss(cls.to(dtype), mask.to(dtype), present)
        assert (loss.item(), loss.dtype) == (0, wanted)


def test_absent_places_have_no_effect_even_as_nan() -> None:
    cls, mask, present = random_case(3, 4, per_target=True)
    dirty_cls = cls.masked_fill(~present[..., None], float("nan")).requires_grad_()
    dirty_mask = mask.masked_fill(~present[..., None, None], float("nan")).requires_grad_()
    loss = alignment_loss(dirty_cls, dirty_mask, present)
    torch.testing.assert_close(loss, reference(cls, mask, present))
    loss.backward()
    assert dirty_cls.grad is not None
    assert torch.isfinite(dirty_cls.grad).all()


def test_gradient_flows_through_both_sides_unless_detached() -> None:
    cls, mask, present = random_case(2, 5, per_target=False)
    present[:] = True
    for detach, expected in ((False, True), (True, False)):
        leaf = cls.clone().requires_grad_()
        loss = alignment_loss(leaf, mask.clone().requires_grad_(), present, detach_target=detach)
        loss.backward()
        assert (leaf.grad is not None and bool(leaf.grad.any())) is expected


def test_half_precision_tokens_are_compared_in_float32() -> None:
    cls, mask, present = random_case(2, 6, per_target=False)
    loss = alignment_loss(cls.bfloat16(), mask.bfloat16(), present)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, reference(cls.bfloat16().float(), mask.bfloat16().float(), present))


@pytest.mark.parametrize("target", [torch.tensor([1, 0]), torch.tensor([[0.0, 1, 1], [1, 0, 0]])])
def test_half_precision_scores_are_judged_in_float32(target: torch.Tensor) -> None:
    logits = torch.tensor([[0.31, -2.7, 5.1], [1.9, 0.4, -0.6]])
    found = task_losses(logits.bfloat16(), target)
    assert found.dtype == torch.float32
    assert torch.equal(found, task_losses(logits.bfloat16().float(), target))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("parts", [(17,), (9, 8), (1, 6, 10)])
def test_sums_over_parts_are_the_mean_over_the_whole(parts: tuple[int, ...], multi_label: bool) -> None:
    cls, mask, present = random_case(3, 7, per_target=False)
    logits = torch.randn(B, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(B) % 4
    target = functional.one_hot(labels, 4).float() if multi_label else labels
    counts, total = Counts.of(present), torch.zeros(())
    for rows in torch.arange(B).split(parts):
        alignment = alignment_loss(cls[rows], mask[rows], present[rows], pairs_MM=counts.pairs_MM)
        losses = compute_losses(task_losses(logits[rows], target[rows]), alignment, counts, 0.2)
        total = total + losses["loss"]
    entropy = functional.binary_cross_entropy_with_logits if multi_label else functional.cross_entropy
    torch.testing.assert_close(total, entropy(logits, target) + 0.2 * reference(cls, mask, present))


def test_exhaustive_dropout_averages_over_the_subsets_of_each_samples_own_presence() -> None:
    cls, mask, present = random_case(3, 8, per_target=False)
    present[:3] = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
    head = torch.randn(D, 4, generator=torch.Generator().manual_seed(1))
    target = torch.arange(B) % 4

    def classify(kept: torch.Tensor) -> torch.Tensor:
        return select_tokens(cls, mask, kept).sum(1) @ head

    losses = exhaustive_task_losses(classify, present, target)
    for b in range(B):
        own = [
            torch.tensor(s) for s in subsets(3) if all(p or not k for p, k in zip(present[b], s, strict=True))
        ]
        logits = [select_tokens(cls[b : b + 1], mask[b : b + 1], s[None]).sum(1) @ head for s in own]
        expected = torch.stack([functional.cross_entropy(x, target[b : b + 1]) for x in logits]).mean()
        torch.testing.assert_close(losses[b], expected)


def test_wide_logits_give_wide_losses_whatever_the_labels_width() -> None:
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=g, dtype=torch.float64)
    target = (torch.rand(5, 3, generator=g) < 0.5).float()
    p = logits.sigmoid()
    wanted = -(target.double() * p.log() + (1 - target.double()) * (1 - p).log()).mean(1)
    torch.testing.assert_close(task_losses(logits, target), wanted, atol=1e-12, rtol=1e-12)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.array([0] * 5 + [2] * 2 + [3])
    found = balanced_weights(torch.tensor(np.bincount(labels, minlength=5)), len(labels), multi_label=False)
    wanted = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    assert found.tolist() == [pytest.approx(w) for w in (wanted[0], 0, wanted[1], wanted[2], 0)]
    assert found[torch.from_numpy(labels)].mean() == pytest.approx(1)
    target = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [1, 0, 1], [1, 0, 1]])
    both = balanced_weights(torch.tensor(target.sum(0)), len(target), multi_label=True)
    wanted = compute_class_weight("balanced", classes=np.array([0, 1]), y=target[:, 0])
    assert both[:, 0].numpy() == pytest.approx(wanted)
    assert both[:, 1:].tolist() == [[1, 1], [1, 1]]  # all samples agree: nothing to balance


@pytest.mark.parametrize("multi_label", [False, True])
def test_weighted_losses_are_torchs_own(multi_label: bool) -> None:
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(12, 4, generator=draw, dtype=torch.double)
    if multi_label:
        target = (torch.rand(12, 4, generator=draw) < 0.4).double()
        weights = torch.rand(2, 4, generator=draw, dtype=torch.double)
        pairs = weights[1] * target + weights[0] * (1 - target)
        wanted = torch.nn.BCEWithLogitsLoss(weight=pairs, reduction="none")(logits, target).mean(1)
    else:
        target = torch.randint(4, (12,), generator=draw)
        weights = torch.rand(4, generator=draw, dtype=torch.double)
        wanted = torch.nn.CrossEntropyLoss(weight=weights, reduction="none")(logits, target)
    torch.testing.assert_close(task_losses(logits, target, weights), wanted, atol=1e-12, rtol=1e-12)

    def classify(kept: torch.Tensor) -> torch.Tensor:
        return logits

    present = torch.ones(12, 2, dtype=torch.bool)
    found = exhaustive_task_losses(classify, present, target, weights)
    torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=1e-6)
