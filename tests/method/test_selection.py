"""Eq. 4 and modality dropout against few-line references written from the paper."""

import hashlib
import random
from collections import Counter

import pytest
import torch
from tokens import B, random_case

from u2a.method.selection import draw_kept, drop_modalities, per_target, select_tokens, subsets


def reference(cls: torch.Tensor, mask: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """One sample and one modality at a time, straight from DESIGN section 2."""
    out = torch.empty_like(cls)
    for b in range(len(cls)):
        there = [i for i in range(cls.shape[1]) if present[b, i]]
        for j in range(cls.shape[1]):
            fill = [mask[b, i, j] if mask.dim() == 4 else mask[b, i] for i in there]
            out[b, j] = cls[b, j] if present[b, j] else sum(fill) / len(fill)
    return out


@pytest.mark.parametrize("per_target", [False, True])
@pytest.mark.parametrize("M", [1, 2, 3, 4])
def test_matches_the_reference_for_random_presence(M: int, per_target: bool) -> None:
    for seed in range(5):
        case = random_case(M, seed, per_target)
        torch.testing.assert_close(select_tokens(*case), reference(*case))


def test_two_modalities_are_the_papers_equation_4() -> None:
    cls, mask, _ = random_case(2, 0, per_target=False)
    present = torch.tensor([[True, True], [False, True], [True, False]])
    selected = select_tokens(cls[:3], mask[:3], present)
    assert torch.equal(selected[0], cls[0])
    assert torch.equal(selected[1], torch.stack([mask[1, 1], cls[1, 1]]))
    assert torch.equal(selected[2], torch.stack([cls[2, 0], mask[2, 0]]))


@pytest.mark.parametrize("per_target", [False, True])
def test_absent_places_have_no_effect_even_as_nan(per_target: bool) -> None:
    cls, mask, present = random_case(3, 1, per_target)
    dirty_cls = cls.masked_fill(~present[..., None], float("nan")).requires_grad_()
    absent = ~present[..., None] if mask.dim() == 3 else ~present[..., None, None]
    dirty_mask = mask.masked_fill(absent, float("nan")).requires_grad_()
    selected = select_tokens(dirty_cls, dirty_mask, present)
    torch.testing.assert_close(selected, reference(cls, mask, present))
    selected.square().sum().backward()
    assert dirty_cls.grad is not None
    assert dirty_mask.grad is not None
    assert torch.isfinite(dirty_cls.grad).all()
    assert torch.isfinite(dirty_mask.grad).all()


def test_a_sample_without_modalities_selects_zeros() -> None:
    cls, mask, _ = random_case(3, 2, per_target=False)
    assert not select_tokens(cls, mask, torch.zeros(B, 3, dtype=torch.bool)).any()


@pytest.mark.parametrize("M", [2, 3])
def test_dropout_keeps_all_in_a_third_of_the_steps_and_else_a_uniform_subset(M: int) -> None:
    n = 6000
    drawn = Counter(draw_kept(M, 0, step) for step in range(n))
    complete = (True,) * M
    assert set(drawn) == set(subsets(M))
    assert drawn[complete] / n == pytest.approx(1 / 3, abs=0.03)
    for kept in subsets(M)[1:]:
        assert drawn[kept] / n == pytest.approx(2 / 3 / (2**M - 2), abs=0.03)


def test_dropout_depends_on_seed_and_step_only() -> None:
    first = [draw_kept(3, 7, step) for step in range(50)]
    assert first == [draw_kept(3, 7, step) for step in range(50)]
    assert first != [draw_kept(3, 8, step) for step in range(50)]


def test_dropout_never_empties_a_sample() -> None:
    _, _, present = random_case(3, 3, per_target=False)
    kept = torch.tensor([True, False, False])
    dropped = drop_modalities(present, kept)
    assert dropped.any(1).all()
    for b in range(B):
        expected = present[b] & kept if present[b, 0] else present[b]
        assert torch.equal(dropped[b], expected)


def test_subsets_are_all_the_non_empty_ones_complete_first() -> None:
    assert subsets(2) == [(True, True), (True, False), (False, True)]
    assert len(set(subsets(4))) == 15


def test_one_token_for_all_targets_is_each_targets_token() -> None:
    _, mask, _ = random_case(3, 0, per_target=False)
    wide = per_target(mask)
    assert wide.shape == (len(mask), 3, 3, mask.shape[-1])
    assert all(torch.equal(wide[:, i, j], mask[:, i]) for i in range(3) for j in range(3))
    assert per_target(wide) is wide


@pytest.mark.parametrize("M", [2, 3])
def test_the_draw_is_the_same_on_every_machine(M: int) -> None:
    """From the SHA-256 of purpose, seed and step: another stream would change every run that is resumed."""
    for step in range(20):
        digest = hashlib.sha256(f"modality dropout\x1f7\x1f{step}".encode()).digest()
        draw = random.Random(int.from_bytes(digest[:8], "big") >> 1)
        kept = 2**M - 1 if draw.random() < 1 / 3 else draw.randrange(1, 2**M - 1)
        assert draw_kept(M, 7, step) == tuple(f"{kept:0{M}b}"[::-1][m] == "1" for m in range(M))


def test_one_modality_is_never_dropped() -> None:
    assert {draw_kept(1, 0, step) for step in range(20)} == {(True,)}
