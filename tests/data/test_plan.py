"""The plan: order, hold-out, steps at random access, and each process's part."""

from __future__ import annotations

import numpy as np
import pytest

from u2a.common.seeds import stable_seed
from u2a.data.feeding import plan as plan_module
from u2a.data.feeding.plan import EvaluationBatches, TrainingBatches, TrainingPlan, holdout
from u2a.data.feeding.prefetch import upcoming
from u2a.errors import RecipeError

SIZES = [7, 5, 9, 4, 8, 6]
N = sum(SIZES)


def made(seed: int = 0, *, batch_size: int = 8, use_N: np.ndarray | None = None, dropout: bool = True):
    present_NM = np.ones((N, 3), bool)
    present_NM[::5, 1] = False
    used = np.ones(N, bool) if use_N is None else use_N
    return TrainingPlan(present_NM, SIZES, use_N=used, batch_size=batch_size, seed=seed, dropout=dropout)


def runs(order: np.ndarray) -> list[int]:
    """The shards in the order in which samples of them follow one another."""
    shards = np.searchsorted(np.cumsum(SIZES), order, side="right").tolist()
    return [s for s, before in zip(shards, [None, *shards], strict=False) if s != before]


def test_every_epoch_and_every_seed_has_an_order_of_its_own() -> None:
    orders = [made(seed).order(epoch).tolist() for seed in range(2) for epoch in range(3)]
    assert all(sorted(order) == list(range(N)) for order in orders)
    assert len(set(map(tuple, orders))) == 6
    assert made(0).order(2).tolist() == orders[2]


def test_shards_and_the_samples_in_a_window_are_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "WINDOW", 1)
    orders = [made(seed).order(0) for seed in range(4)]
    for order in orders:  # one shard after another, as reading likes it
        assert len(runs(order)) == len(SIZES)
    assert len({tuple(runs(order)) for order in orders}) == 4
    assert all((np.diff(order) < 0).sum() > len(SIZES) for order in orders)
    monkeypatch.setattr(plan_module, "WINDOW", 6)
    assert len(runs(made().order(0))) > 2 * len(SIZES)


def test_the_samples_left_over_at_an_epochs_end_rest() -> None:
    plan = made()
    assert plan.steps_per_epoch == N // 8 == 4
    for epoch in range(2):
        seen = [i for t in range(4) for i in plan.step(4 * epoch + t).index_B.tolist()]
        assert len(seen) == len(set(seen)) == 32


def test_any_step_is_computed_without_the_ones_before_it() -> None:
    one, other = made(), made()
    for t in (9, 2, 5, 2):
        assert one.requests(t) == made().requests(t)
    for t in range(10):
        other.requests(t)
    assert one.requests(9) == other.requests(9)


def test_counts_are_those_of_the_presence_after_dropout() -> None:
    plan = made()
    patterns = set()
    for t in range(40):
        step = plan.step(t)
        present = step.present_BM.numpy()
        assert present.any(1).all()
        assert not (present & ~plan.present_NM[step.index_B]).any()
        assert step.counts.samples == 8
        both = [[(present[:, i] & present[:, j]).sum() for j in range(3)] for i in range(3)]
        assert step.counts.pairs_MM.tolist() == both
        patterns.add(tuple(present.any(0).tolist()))
    assert len(patterns) > 3


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (2, 1), (1, 4), (2, 2), (4, 2)])
def test_processes_and_micro_batches_share_a_step_between_them(world: int, accumulation: int) -> None:
    plan = made()
    parts = [list(TrainingBatches(plan, 3, 9, rank, world, accumulation)) for rank in range(world)]
    for t in range(6):
        mine = [part for rank in parts for part in rank[t * accumulation : (t + 1) * accumulation]]
        assert {len(part) for part in mine} == {8 // world // accumulation}
        asked = sorted((r.index, r.present, r.seed) for part in mine for r in part)
        assert asked == sorted((r.index, r.present, r.seed) for r in plan.requests(3 + t))
    assert all(len(rank) == len(TrainingBatches(plan, 3, 9, 0, world, accumulation)) for rank in parts)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [0, 1, 4, 7, 13])
def test_evaluation_reads_every_sample_once_over_all_processes(n: int, world: int) -> None:
    present_NM = np.arange(3 * N).reshape(N, 3) % 4 > 0
    places = np.flatnonzero(np.arange(N) % 3 != 1)[:n]
    seen = []
    for rank in range(world):
        batches = EvaluationBatches(places, present_NM, 3, rank, world)
        parts = list(batches)
        assert len(parts) == len(batches)
        assert all(0 < len(part) <= 3 for part in parts)
        assert all(len(part) == 3 for part in parts[:-1])
        seen += [request for part in parts for request in part]
    assert sorted(request.index for request in seen) == places.tolist()
    assert all(request.present == tuple(present_NM[request.index].tolist()) for request in seen)


def test_a_window_mixes_many_shards_and_no_more() -> None:
    sizes = [2] * 80
    everything = np.ones((160, 2), bool)
    plan = TrainingPlan(everything, sizes, use_N=everything.all(1), batch_size=4, seed=0, dropout=False)
    shards = plan.order(0) // 2
    window, second, rest = (set(part.tolist()) for part in np.split(shards, [64, 128]))
    assert (len(window), len(second), len(rest)) == (32, 32, 16)
    assert not window & second
    assert not np.array_equal(shards[:64:2], shards[1:64:2])  # no shard after another


def test_augmentation_differs_by_sample_epoch_and_seed() -> None:
    seeds = {r.seed for seed in range(2) for t in range(12) for r in made(seed).requests(t)}
    assert len(seeds) == 2 * 12 * 8


def test_a_hold_out_is_of_its_share_by_its_seed_and_never_trained_on() -> None:
    held_N = holdout(N, 0.25, 0)
    assert held_N.sum() == round(N * 0.25)
    assert (held_N == holdout(N, 0.25, 0)).all()
    assert (held_N != holdout(N, 0.25, 1)).any()
    assert holdout(3, 0.1, 0).sum() == 1
    assert not holdout(N, None, 0).any()
    plan = made(use_N=~held_N)
    trained = {int(i) for t in range(5 * plan.steps_per_epoch) for i in plan.step(t).index_B}
    assert not trained & set(np.flatnonzero(held_N).tolist())


@pytest.mark.parametrize("batch_size", [8, 1])  # 1: steps that begin where a window does
def test_what_is_fetched_ahead_is_what_the_steps_read(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "WINDOW", 2)
    plan = made(batch_size=batch_size)
    ends = np.cumsum(SIZES)
    for epoch in range(3):
        order, start = plan.order(epoch), 0
        for shards in plan.windows(epoch):
            own = {i for s in shards for i in range(ends[s] - SIZES[s], ends[s])}
            assert set(order[start : start + len(own)].tolist()) == own
            start += len(own)
    for t in range(3 * plan.steps_per_epoch):
        read = np.searchsorted(ends, plan.step(t).index_B, side="right")
        assert set(read.tolist()) <= set(upcoming(plan, t))
        epoch = t // plan.steps_per_epoch
        windows = [window.tolist() for window in (*plan.windows(epoch), plan.windows(epoch + 1)[0])]
        now = next(k for k, window in enumerate(windows) if read[0] in window)
        assert upcoming(plan, t) == list(dict.fromkeys([*windows[now], *windows[now + 1]]))  # the first first


def test_where_every_group_is_too_large_the_smallest_is_held_out() -> None:
    groups_N = np.array([0] * 5 + [5] * 2 + [7] * 3)
    for seed in range(6):
        assert np.flatnonzero(holdout(10, 0.1, seed, groups_N)).tolist() == [5, 6]


def test_a_run_of_an_older_version_goes_on_with_the_same_draws() -> None:
    """As versions before drew them: what changes here parts a resumed training from the one that it was."""
    plan = made()
    assert [plan.step(t).index_B.tolist() for t in (0, 5)] == [
        [27, 36, 3, 21, 37, 13, 35, 6],
        [20, 21, 14, 22, 32, 11, 13, 30],
    ]
    assert np.flatnonzero(holdout(20, 0.2, 3)).tolist() == [2, 7, 8, 9]
    for t in (0, 3, 5):
        requests, epoch = plan.requests(t), t // 4
        assert [one.index for one in requests] == plan.step(t).index_B.tolist()
        assert all(one.seed == stable_seed("augment", 0, epoch, one.index) for one in requests)


def test_a_batch_may_be_all_samples_and_no_more() -> None:
    use_N = np.arange(N) % 3 != 1
    counts = [int(use_N[end - n : end].sum()) for n, end in zip(SIZES, np.cumsum(SIZES), strict=True)]
    plan = made(batch_size=int(use_N.sum()), use_N=use_N)
    assert plan.used_per_shard.tolist() == counts
    assert plan.steps_per_epoch == 1
    assert sorted(plan.step(3).index_B.tolist()) == np.flatnonzero(use_N).tolist()
    with pytest.raises(RecipeError, match="batch_size: 27 is more than the 26 training samples"):
        made(batch_size=27, use_N=use_N)


def test_groups_are_held_out_whole_while_they_fit() -> None:
    """In the order of a hold-out without groups, each with all of its group, if that is not too much."""
    for seed in range(12):
        groups_N = np.random.default_rng(seed).integers(0, 14, 40)
        order = np.random.default_rng(stable_seed("holdout", seed)).permutation(40)
        held: set[int] = set()
        for i in order.tolist():
            group = set(np.flatnonzero(groups_N == groups_N[i]).tolist())
            if not group & held and len(held) + len(group) <= 12:
                held |= group
        assert 6 < len(held) <= 12
        assert set(np.flatnonzero(holdout(40, 0.3, seed, groups_N)).tolist()) == held
