"""What picks the best checkpoint, and how long nothing was better; by hand."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from u2a.common.distributed import World
from u2a.errors import U2AError
from u2a.evaluation.calibration import Calibration
from u2a.evaluation.calibration_fit import fit_calibration
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.validation import Validation, judge
from u2a.method.model import U2A
from u2a.plugins.loading import registry
from u2a.recipe.sections import TaskSection, TrainingSection
from u2a.runs.folder import Run
from u2a.training.keeping import Facts, Keeper
from u2a.training.schedule import extended

CLASSES = ("red", "green", "blue")
#: One that writes nothing: all but the first process only count.
SECOND = World(1, 2, 1, 2, torch.device("cpu"))


class Named(nn.Module):
    """As much of a branch as token selection and the head need."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


@pytest.fixture(scope="module")
def network() -> U2A:
    torch.manual_seed(3)
    return U2A([Named("a"), Named("b"), Named("c")], 5, 3, "fp32").requires_grad_(False)  # type: ignore[list-item]


def encoded(present: list[tuple[int, ...]], target: torch.Tensor) -> Encoded:
    draw = torch.Generator().manual_seed(5)
    present_NM = torch.tensor(present).bool()
    N, M = present_NM.shape
    cls_NMD = torch.randn(N, M, 5, generator=draw) * present_NM[:, :, None]
    mask_NMMD = torch.randn(N, M, M, 5, generator=draw) * present_NM[:, :, None, None]
    keys = tuple(f"sample {n}" for n in range(N))
    return Encoded(cls_NMD, mask_NMMD, present_NM, target, torch.arange(N), keys)


def logits_by_hand(network: U2A, side: Encoded, n: int, has: list[int]) -> torch.Tensor:
    fused_D = torch.zeros(5)
    for j in range(side.present_NM.shape[1]):
        fused_D += side.cls_NMD[n, j] if j in has else sum(side.mask_NMMD[n, i, j] for i in has) / len(has)
    return network.head.weight @ fused_D + network.head.bias


def losses_by_hand(logits_NC: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
    """Of each sample, at the best of 20,000 temperatures, for which 1 has one sample's vote."""
    tried = ((z, logits_NC.double() / z.exp()) for z in torch.linspace(-3, 3, 20_001, dtype=torch.float64))
    each = (
        nn.functional.cross_entropy(hot, target_N, reduction="none") + z**2 / len(target_N) for z, hot in tried
    )
    return min(each, key=lambda losses_N: float(losses_N.mean()))


def score_by_hand(network: U2A, side: Encoded, metric: str, lost: int | None) -> float | None:
    """Of the samples that keep something without a modality; None if none does."""
    kept = [
        (n, has)
        for n, present in enumerate(side.present_NM.tolist())
        if (has := [m for m, there in enumerate(present) if there and m != lost])
    ]
    if not kept:
        return None
    logits_NC = torch.stack([logits_by_hand(network, side, n, has) for n, has in kept])
    target_N, p_NC = side.target[[n for n, _ in kept]], logits_NC.softmax(1)
    if metric == "loss":
        return float(losses_by_hand(logits_NC, target_N).mean())
    right_N = p_NC.argmax(1) == target_N if metric == "accuracy" else 1 - p_NC.gather(1, target_N[:, None])
    return float(right_N.float().mean())


ALL, GAPS = [(1, 1, 1)] * 7, [(1, 1, 1), (1, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, 0), (1, 1, 1), (1, 0, 0)]
ONLY_A = [(1, 0, 0)] * 7


@pytest.mark.parametrize("metric", ["accuracy", "surprise", "loss"])  # of which the last two should fall
@pytest.mark.parametrize("select_on", ["mean", "worst", "complete"])
@pytest.mark.parametrize("present", [ALL, GAPS, ONLY_A])
def test_a_checkpoint_is_judged_by_the_patterns_that_select_on_names(
    golden_plugin: Path, network: U2A, present: list[tuple[int, int, int]], select_on: str, metric: str
) -> None:
    by = {} if metric == "loss" else {"metric": metric}
    task = TaskSection.model_validate(
        {"classes": CLASSES, "select_on": select_on, **by}, context={"plugins": registry()}
    )
    side = encoded(present, torch.tensor([0, 1, 2, 0, 1, 1, 2]))
    found = judge(network, side, task)
    each = [score_by_hand(network, side, metric, lost) for lost in (None, 0, 1, 2)]
    known = [value for value in each if value is not None]
    worst = min(known) if metric == "accuracy" else max(known)
    wanted = {"mean": sum(known) / len(known), "worst": worst, "complete": each[0]}
    assert found.selected == pytest.approx(wanted[select_on], abs=1e-6)
    assert metric == "loss" or found.scores[metric] == pytest.approx(each[0], abs=1e-6)
    if present is GAPS:  # else the case would not tell one choice from another
        assert len(set(wanted.values())) == 3


def test_a_sample_adds_its_part_of_the_loss_of_each_pattern_that_leaves_it_anything(network: U2A) -> None:
    task = TaskSection.model_validate({"classes": CLASSES}, context={"plugins": registry()})
    side = encoded(GAPS, torch.tensor([0, 1, 2, 0, 1, 1, 2]))
    wanted_N = torch.zeros(7, dtype=torch.float64)
    for lost in (None, 0, 1, 2):
        has = {n: [m for m in range(3) if GAPS[n][m] and m != lost] for n in range(7)}
        able = [n for n in range(7) if has[n]]
        logits_NC = torch.stack([logits_by_hand(network, side, n, has[n]) for n in able])
        wanted_N[able] += losses_by_hand(logits_NC, side.target[able]) / len(able) / 4
    found = judge(network, side, task)
    assert found.losses_N is not None
    torch.testing.assert_close(found.losses_N, wanted_N, atol=1e-5, rtol=1e-4)


def test_of_two_modalities_each_is_missed_once() -> None:
    torch.manual_seed(4)
    pair = U2A([Named("a"), Named("b")], 5, 3, "fp32").requires_grad_(False)  # type: ignore[list-item]
    task = TaskSection.model_validate(
        {"classes": CLASSES, "select_on": "mean", "metric": "accuracy"}, context={"plugins": registry()}
    )
    side = encoded([(1, 1)] * 7, torch.tensor([0, 1, 2, 0, 1, 1, 2]))
    each = [score_by_hand(pair, side, "accuracy", lost) for lost in (None, 0, 1)]
    assert len({*each}) == 3
    assert judge(pair, side, task).selected == pytest.approx(sum(each) / 3)  # type: ignore[arg-type]


def test_what_is_defined_nowhere_is_no_number(network: U2A) -> None:
    task = TaskSection.model_validate(
        {"kind": "multi_label", "classes": CLASSES, "metric": "map", "select_on": "mean"},
        context={"plugins": registry()},
    )
    assert math.isnan(judge(network, encoded([(1, 1, 1)] * 3, torch.zeros(3, 3)), task).selected)


def test_a_pattern_without_any_label_does_not_spoil_the_mean(network: U2A) -> None:
    """Macro F1 is undefined where no class occurs."""
    task = TaskSection.model_validate(
        {"kind": "multi_label", "classes": CLASSES, "metric": "f1_macro", "select_on": "mean"},
        context={"plugins": registry()},
    )
    target = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    side = encoded([(1, 0, 0), (0, 1, 1)], target)  # without a, only the sample without labels remains
    values = []
    for lost in (None, 1, 2):
        p_C = logits_by_hand(network, side, 0, [0]).sigmoid()
        q_C = [logits_by_hand(network, side, 1, [m for m in (1, 2) if m != lost]).sigmoid() >= 0.5]
        guess_NC = torch.stack([p_C >= 0.5, *q_C])
        hits_C = (guess_NC & target.bool()).sum(0)
        f1_C = 2 * hits_C / (guess_NC.sum(0) + target.sum(0))
        values.append(float(f1_C[[0, 2]].mean()))
    assert judge(network, side, task).selected == pytest.approx(sum(values) / 3)


def test_each_pattern_is_calibrated_on_the_samples_that_can_have_it(network: U2A) -> None:
    task = TaskSection.model_validate({"classes": CLASSES}, context={"plugins": registry()})
    side = encoded(GAPS, torch.tensor([0, 1, 2, 0, 1, 1, 2]))
    data = {}
    for has in (list(part) for n in (1, 2, 3) for part in itertools.combinations(range(3), n)):
        able = [n for n, present in enumerate(GAPS) if all(present[m] for m in has)]
        logits_NC = np.stack([logits_by_hand(network, side, n, has).numpy() for n in able])
        data[tuple(m in has for m in range(3))] = logits_NC, side.target[able].numpy()
    found, wanted = judge(network, side, task).calibration, fit_calibration("abc", data, "single_label")
    assert set(found.patterns) == set(wanted.patterns)
    for name, one in wanted.patterns.items():
        assert found.patterns[name].n == one.n, name
        assert found.patterns[name].temperature == pytest.approx(one.temperature, rel=1e-3), name
        assert found.patterns[name].scores == pytest.approx(one.scores, abs=1e-4), name


def test_labels_are_picked_by_average_precision_unless_a_metric_is_named() -> None:
    def task(**more: object) -> TaskSection:
        return TaskSection.model_validate({"classes": CLASSES, **more}, context={"plugins": registry()})

    assert (task(kind="multi_label").headline, task(kind="multi_label").selection_metric) == ("f1_macro", "map")
    assert task(kind="multi_label", metric="f1_micro").selection_metric == "f1_micro"
    assert task().selection_metric == "accuracy"


@pytest.mark.parametrize(
    ("more", "by", "highest"),
    [
        ({}, "loss", False),
        ({"metric": "accuracy"}, "accuracy", True),
        ({"select_by": "metric"}, "accuracy", True),
        ({"metric": "f1_macro", "select_by": "loss"}, "loss", False),
        ({"kind": "multi_label"}, "map", True),
        ({"kind": "multi_label", "select_by": "loss"}, "loss", False),
    ],
)
def test_the_loss_picks_unless_a_metric_is_named_or_selects(
    more: dict[str, str], by: str, highest: bool
) -> None:
    task = TaskSection.model_validate({"classes": CLASSES, **more}, context={"plugins": registry()})
    assert (task.selected_by, task.selects_highest) == (by, highest)


def keeper(network: U2A, folder: Path, metric: str | None, total: int = 9) -> Keeper:
    task = TaskSection.model_validate({"classes": CLASSES, "metric": metric}, context={"plugins": registry()})
    optimizer = torch.optim.SGD(network.head.parameters(), lr=1.0)
    return Keeper(Run(folder), network, optimizer, task, SECOND, Facts(3, total, "data", "validation"))


META = {"steps_per_epoch": 3, "total_steps": 9, "data_fingerprint": "data", "validation_fingerprint": "val"}


@pytest.mark.parametrize(
    ("facts", "meta", "said"),
    [
        (Facts(3, 9, "data", "val"), {}, None),
        (Facts(3, 9, "new", "val"), {}, "the training data has changed since (data is now new)"),
        (Facts(3, 9, "new", "val", ("old", "data")), {}, None),  # what older versions called it
        (Facts(3, 9, "new", "val", ("old",)), {}, "the training data has changed since (data is now new)"),
        (Facts(3, 9, "data", "new", ("val",)), {}, "the validation data has changed since (val is now new)"),
        (Facts(3, 9, "data", None), {}, "the validation data has changed since (val is now None)"),
        (Facts(3, 9, "data", "val"), {"validation_fingerprint": None}, "(None is now val)"),
        (Facts(3, 12, "data", "val"), {}, None),  # more epochs
        (Facts(3, 12, "new", "val"), {}, "the training data has changed since"),
        (Facts(3, 6, "data", "val"), {}, "the schedule's length has changed since (9 is now 6)"),
        (Facts(4, 12, "data", "val"), {}, "the schedule's length has changed since (9 is now 12)"),
    ],
)
def test_a_training_goes_on_where_its_data_and_schedule_are_the_same(
    facts: Facts, meta: dict[str, object], said: str | None, tmp_path: Path
) -> None:
    if said is None:
        facts.check(Run(tmp_path), {**META, **meta})
        return
    with pytest.raises(U2AError, match=re.escape(said)):
        facts.check(Run(tmp_path), {**META, **meta})


def test_a_checkpoint_says_what_it_was_made_for() -> None:
    assert Facts(3, 9, "data", "val", ("old",)).recorded() == META


NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "values", "best", "stale"),
    [
        ("accuracy", [0.5, 0.4, 0.5, 0.4, 0.3, 0.6, 0.1], [*[0.5] * 5, 0.6, 0.6], [0, 1, 0, 1, 2, 0, 1]),
        ("surprise", [0.5, 0.6, 0.5, 0.6, 0.7, 0.4, 0.9], [*[0.5] * 5, 0.4, 0.4], [0, 1, 0, 1, 2, 0, 1]),
        (None, [1.5, 1.6, 1.5, 1.6, 1.7, 1.4, 1.9], [*[1.5] * 5, 1.4, 1.4], [0, 1, 0, 1, 2, 0, 1]),
        ("accuracy", [NAN, 0.2, NAN, 0.2], [NAN, 0.2, 0.2, 0.2], [0, 0, 1, 0]),
    ],
)
def test_the_best_and_how_long_nothing_was_better(
    golden_plugin: Path,
    network: U2A,
    tmp_path: Path,
    metric: str | None,
    values: list[float],
    best: list[float],
    stale: list[int],
) -> None:
    kept, found = keeper(network, tmp_path, metric), []
    assert (kept.best, kept.stale, kept.saved) == (None, 0, -1)
    for step, value in enumerate(values):
        kept.keep(step, Validation({}, value, Calibration("single_label")), {})
        found.append((kept.best, kept.stale, kept.saved))
    wanted = list(zip(best, stale, range(len(values)), strict=True))
    assert [f[1:] for f in found] == [w[1:] for w in wanted]
    assert [f[0] for f in found] == pytest.approx(best, nan_ok=True)


def test_without_validation_the_last_is_the_best_and_nothing_is_stale(network: U2A, tmp_path: Path) -> None:
    kept = keeper(network, tmp_path, "accuracy")
    for step in range(3):
        kept.keep(step, None, {})
    assert (kept.best, kept.stale, kept.saved) == (None, 0, 2)


def test_a_resumed_training_stands_where_the_checkpoint_was_saved(network: U2A, tmp_path: Path) -> None:
    meta = {"step": 6, "best": 0.7, "stale": 2, "steps_per_epoch": 3, "total_steps": 9}
    same, longer = (keeper(network, tmp_path, "accuracy", total) for total in (9, 12))
    same.follow(meta)
    longer.follow(meta)
    assert (same.saved, same.best, same.stale) == (6, 0.7, 2)
    assert (longer.saved, longer.best, longer.stale) == (6, 0.7, 0)  # who asks for more does not want it to end
    same.follow({"step": 6, "best": 0.7, "steps_per_epoch": 3, "total_steps": 9})  # of an older version
    assert same.stale == 0
    by_loss = keeper(network, tmp_path, None)
    by_loss.follow(meta)  # 0.7 was an accuracy
    assert by_loss.best is None
    by_loss.follow({**meta, "selected_by": "loss"})
    assert by_loss.best == 0.7


def test_a_longer_training_says_how_fast_it_goes_on() -> None:
    training = TrainingSection(epochs=5, lr=0.3, power=2.0)
    assert extended(6, 9, 3, training) == (
        "extended from 2 to 5 epochs: from step 9 on, the learning rate is that of a training of 5 epochs "
        "(0.048 now)"  # 0.3 x (1 - 9/15)^2
    )
