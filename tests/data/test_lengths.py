"""Samples of similar length share batches: the same samples, in the same windows, with less padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from u2a.contract.blame import Owner
from u2a.data.feeding import lengths
from u2a.data.feeding import plan as plan_module
from u2a.data.feeding.lengths import longest_first
from u2a.data.feeding.plan import TrainingPlan
from u2a.data.preprocessors import OwnedPreprocessor
from u2a.errors import PluginError
from u2a_text.preprocess import TextPreprocessor

SIZES = [60, 80, 70, 50, 90, 50]
N = sum(SIZES)
LENGTH_N = np.random.default_rng(3).integers(3, 128, N).astype(float)


def made(length_N: np.ndarray | None, *, held: int = 0) -> TrainingPlan:
    used_N = np.arange(N) >= held
    return TrainingPlan(
        np.ones((N, 2), bool), SIZES, use_N=used_N, batch_size=8, seed=5, dropout=False, length_N=length_N
    )


def padded(plan: TrainingPlan, epoch: int = 0) -> float:
    """Tokens that the steps of an epoch compute, by those that are real."""
    steps = [plan.step(epoch * plan.steps_per_epoch + t).index_B for t in range(plan.steps_per_epoch)]
    return sum(LENGTH_N[b].max() * len(b) for b in steps) / sum(LENGTH_N[b].sum() for b in steps)


def test_batches_of_similar_length_pad_little() -> None:
    assert padded(made(None)) > 1.6
    assert padded(made(LENGTH_N)) < 1.12


@pytest.mark.parametrize("window", [1, 2, 32])
def test_no_sample_leaves_its_window_and_the_left_over_ones_stay(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "WINDOW", window)
    plain, sorted_ = made(None, held=11), made(LENGTH_N, held=11)
    for epoch in range(3):
        before, after = plain.order(epoch), sorted_.order(epoch)
        at = 0
        for shards in plain.windows(epoch):
            end = at + int(plain.used_per_shard[shards].sum())
            assert sorted(before[at:end]) == sorted(after[at:end])
            at = end
        rest = plain.steps_per_epoch * 8
        assert before[rest:].tolist() == after[rest:].tolist()


def test_a_step_is_the_same_whichever_came_before_it() -> None:
    first, other = made(LENGTH_N), made(LENGTH_N)
    [first.step(t) for t in range(60)]
    assert first.step(60).index_B.tolist() == other.step(60).index_B.tolist()


def test_batches_come_in_no_order_of_length() -> None:
    """Neither within an epoch nor from one to the next: a batch is as likely to be first as last."""
    plan = made(LENGTH_N)
    means = np.array([[LENGTH_N[plan.step(50 * e + t).index_B].mean() for t in range(16)] for e in range(40)])
    rising = (np.diff(means, axis=1) > 0).mean()
    assert 0.42 < rising < 0.58
    assert means.mean(0).std() < means.std() / 3


def test_equal_lengths_stay_shuffled() -> None:
    same = made(np.ones(N))
    assert sorted(same.order(0)) == list(range(N))
    assert (np.abs(np.diff(same.order(0))) == 1).mean() < 0.05


def test_a_pass_whose_order_does_not_count_is_sorted_within_some_batches() -> None:
    places = np.arange(N)[::2]
    order = longest_first(places, LENGTH_N, 4)
    assert sorted(order) == places.tolist()
    chunk = 4 * lengths.BATCHES
    for start in range(0, len(places), chunk):
        part = order[start : start + chunk]
        assert sorted(part) == places[start : start + chunk].tolist()
        assert (np.diff(LENGTH_N[part]) <= 0).all()
    assert longest_first(places, None, 4) is places
    assert len(longest_first(places[:0], LENGTH_N, 4)) == 0


def test_texts_are_as_long_as_their_bytes_until_they_are_cut(tmp_path) -> None:
    text = TextPreprocessor(tmp_path, 64)
    assert text.lengths(np.array([0, 45, 90, 10**6])).tolist() == [0, 10, 20, 64]
    whole = TextPreprocessor(tmp_path, 64, longest=48)  # padding is part of the text there
    assert set(whole.lengths(np.array([1, 10**6])).tolist()) == {48}


@dataclass(frozen=True)
class _Odd:
    answer: object

    def __call__(self, member, *, train, seed):
        return {}

    def collate(self, examples):
        return {}

    def lengths(self, bytes_N):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [np.ones(2), np.full(3, np.nan), ZeroDivisionError("x"), 7.0])
def test_lengths_that_are_none_are_the_plugins_fault(answer: object) -> None:
    owner = Owner("odd", "u2a-plugin-odd", "1.0")
    with pytest.raises(PluginError, match=r"'speech'.*u2a-plugin-odd.*lengths"):
        OwnedPreprocessor("speech", owner, _Odd(answer)).lengths(np.array([1, 2, 3]))
