"""A whole run against `reference.py`: where it starts, what it validates, keeps, scores and predicts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import (
    ALONE,
    CLASSES,
    MODEL,
    THREE,
    TRAINING,
    A,
    B,
    C,
    Case,
    Trained,
    assert_same_steps,
    expect,
    method_of,
    settings,
    train,
    validation_samples,
    with_validation,
    write_recipe,
)
from reference import Learned, Sample, predict
from torch import Tensor

import u2a
from u2a.evaluation.calibration import Calibration, PatternCalibration
from u2a.recipe.file import load_recipe
from u2a.runs.build import build_model
from u2a.runs.checkpoint import learnable
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer

#: What evaluation must treat otherwise than training: dropout of every kind, augmentation.
NOISY: Case = {
    "data": "gaps",
    "modalities": {
        "a": {**A, "class_tokens": 2, "dropout": 0.3, "augment": True},
        "b": {**B, "frames": True},
        "c": {**C, "dropout": 0.2},
    },
    "model": {**MODEL, "mask_tokens": "per_target", "lora_dropout": 0.4},
    "training": {**TRAINING, "modality_dropout": "random"},
}


@pytest.fixture(scope="module")
def noisy(golden_data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _trained(NOISY, golden_data, tmp_path_factory.mktemp("noisy"), "surprise")


def _trained(case: Case, data: dict[str, Path], folder: Path, metric: str | None) -> Trained:
    case = settings(case)
    recipe = write_recipe(folder, case, with_validation(data[case["data"]]), metric)
    return train(recipe, folder / "run")


def folder_of(trained: Trained) -> Path:
    assert trained.trainer is not None
    return trained.trainer.run.folder


def probabilities(case: Case, samples: list[Sample], weights: Learned) -> Tensor:
    return torch.stack([logits.softmax(0) for logits in predict(method_of(settings(case)), samples, weights)])


def surprise(case: Case, samples: list[Sample], weights: Learned) -> float:
    p_NC = probabilities(case, samples, weights)
    return float(1 - torch.stack([p[s.labels[0]] for p, s in zip(p_NC, samples, strict=True)]).mean())


def logged(run: Path, kind: str = "validation") -> list[dict[str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["type"] == kind]


def test_the_run_tells_the_losses_of_its_steps(noisy: Trained) -> None:
    for line, step in zip(logged(noisy.trainer.run.folder, "train"), noisy.steps, strict=True):
        assert {name: line[name] for name in step.losses} == pytest.approx(step.losses)


def without(samples: list[Sample], dropped: tuple[str, ...]) -> list[Sample]:
    return [
        replace(sample, inputs={name: x for name, x in sample.inputs.items() if name not in dropped})
        for sample in samples
    ]


def as_bytes(given: Sequence[Mapping[str, str]]) -> list[dict[str, bytes]]:
    return [{name: text.encode() for name, text in one.items()} for one in given]


def test_validation_draws_nothing_and_takes_what_the_data_has(noisy: Trained) -> None:
    samples = validation_samples(settings(NOISY))
    found = [line["surprise"] for line in logged(folder_of(noisy))]
    wanted = [surprise(NOISY, samples, step.weights) for step in noisy.steps]
    assert found == pytest.approx(wanted, abs=1e-6)
    assert len(set(found)) == 3


def test_training_goes_on_as_before_after_each_validation(noisy: Trained) -> None:
    assert_same_steps(noisy.steps, expect(settings(NOISY), noisy))


def test_the_run_holds_the_weights_of_its_steps(noisy: Trained) -> None:
    values = [line["surprise"] for line in logged(folder_of(noisy))]
    for checkpoint, t in (("last", 2), ("best", values.index(min(values)))):
        network = u2a.load(folder_of(noisy), checkpoint=checkpoint).network
        assert not network.training
        for name, parameter in learnable(network):
            torch.testing.assert_close(parameter.double(), noisy.steps[t].weights[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dropped", [d for n in range(3) for d in itertools.combinations("abc", n)])
def test_a_scenario_is_scored_on_what_it_leaves_beside_the_complete(
    noisy: Trained, dropped: tuple[str, ...]
) -> None:
    everything, weights = validation_samples(settings(NOISY)), noisy.steps[-1].weights
    left = without(everything, dropped)
    usable = [i for i, sample in enumerate(left) if sample.inputs]
    model = u2a.load(folder_of(noisy), checkpoint="last")
    scenario = model.evaluate(dropped, "val")
    assert (scenario.n, scenario.n_empty) == (len(usable), len(left) - len(usable))
    assert scenario.scores["surprise"] == pytest.approx(
        surprise(NOISY, [left[i] for i in usable], weights), abs=1e-5
    )
    assert scenario.complete["surprise"] == pytest.approx(
        surprise(NOISY, [everything[i] for i in usable], weights), abs=1e-5
    )


def test_without_mask_tokens_zeros_stand_in(noisy: Trained) -> None:
    model = u2a.load(folder_of(noisy), checkpoint="last")
    with_tokens, without_tokens = (
        model.evaluate(("b",), "val", mask_tokens=on).scores["surprise"] for on in (True, False)
    )
    assert with_tokens != pytest.approx(without_tokens, abs=1e-4)


def test_predictions_name_the_classes_for_every_presence(noisy: Trained) -> None:
    texts = {"a": "one", "b": "two|three", "c": "four"}
    given = [
        {name: texts[name] for name in part} for n in (1, 2, 3) for part in itertools.combinations("abc", n)
    ]
    samples = [Sample(inputs, ()) for inputs in given]
    logits_NC = predict(method_of(settings(NOISY)), samples, noisy.steps[-1].weights)
    own = {"+".join(inputs): PatternCalibration(9, 0.4 + 0.3 * n) for n, inputs in enumerate(given)}
    model = u2a.load(folder_of(noisy), checkpoint="last")
    for patterns in ({}, own):  # each sample by the temperature of what it has
        model.predictor.calibration = Calibration("single_label", patterns)
        for inputs, found, logits_C in zip(given, model.predict(as_bytes(given)), logits_NC, strict=True):
            T = patterns["+".join(inputs)].temperature if patterns else 1.0
            wanted = dict(zip(CLASSES, (logits_C / T).softmax(0).tolist(), strict=True))
            assert found.probabilities == pytest.approx(wanted, abs=1e-5)
            assert found.labels == (max(wanted, key=lambda name: wanted[name]),)
            assert found.used == tuple(inputs)
            assert found.filled == tuple(name for name in "abc" if name not in inputs)
    one, sharp = as_bytes(given[:1]), PatternCalibration(9, 0.05)
    model.predictor.calibration = Calibration("single_label", {"any": sharp})
    likely = next(iter(model.predict(one)[0].probabilities.values()))
    assert likely > 0.5  # so that 1 - (1 - p) is p, to the last bit
    cut = {"any": replace(sharp, scores=(1 - likely,) * 9)}
    model.predictor.calibration = Calibration("single_label", cut)
    (found,) = model.predict(one, coverage=0.5)
    assert found.set == found.labels  # a class exactly at the cut is in the set
    assert list(found.as_dict(2)["probabilities"]) == list(found.probabilities)[:2]


def test_every_label_at_a_half_or_more_is_predicted(golden_data: dict[str, Path], tmp_path: Path) -> None:
    case: Case = {"data": "several", "training": {**TRAINING, "epochs": 6, "lr": 0.02}}
    trained = _trained(case, golden_data, tmp_path, None)
    samples = validation_samples(settings(case))
    logits_NC = torch.stack(predict(method_of(settings(case)), samples, trained.steps[-1].weights))
    p_NC = logits_NC.sigmoid()
    between = (p_NC > 0.5) & (p_NC < 0.8)
    assert between.any(), "the case would not tell one threshold from another"
    model = u2a.load(tmp_path / "run", checkpoint="last")
    model.predictor.calibration = Calibration("multi_label")  # the equations know none
    for found, p_C in zip(model.predict(as_bytes([s.inputs for s in samples])), p_NC, strict=True):
        assert found.probabilities == pytest.approx(dict(zip(CLASSES, p_C.tolist(), strict=True)), abs=1e-5)
        assert set(found.labels) == {name for name, p in zip(CLASSES, p_C.tolist(), strict=True) if p >= 0.5}
    cuts = (0.3, 0.55, 0.75)
    assert ((p_NC >= torch.tensor(cuts)) != (p_NC >= 0.5)).any()
    own = PatternCalibration(9, thresholds=cuts)
    model.predictor.calibration = Calibration("multi_label", {"any": own})
    for found, p_C in zip(model.predict(as_bytes([s.inputs for s in samples])), p_NC.tolist(), strict=True):
        assert set(found.labels) == {n for n, p, cut in zip(CLASSES, p_C, cuts, strict=True) if p >= cut}
    one = as_bytes([samples[0].inputs])
    at_them = tuple(model.predict(one)[0].probabilities[name] for name in CLASSES)
    model.predictor.calibration = Calibration("multi_label", {"any": replace(own, thresholds=at_them)})
    assert set(model.predict(one)[0].labels) == set(CLASSES)  # exactly at its threshold a label counts
    truth_NC = torch.tensor([[c in sample.labels for c in range(3)] for sample in samples])
    hits, guessed, true = ((p_NC > 0.5) & truth_NC).sum(), (p_NC > 0.5).sum(), truth_NC.sum()
    micro = float(2 * hits / (guessed + true))
    scores = model.evaluate((), "val").scores
    assert scores["f1_micro"] == pytest.approx(micro)
    assert scores["surprise"] == pytest.approx(float(1 - p_NC.where(truth_NC, 1 - p_NC).mean()), abs=1e-5)
    assert logged(tmp_path / "run")[-1]["f1_micro"] == pytest.approx(micro)


@pytest.mark.parametrize(("metric", "better"), [("surprise", min), ("accuracy", max)])
def test_best_is_the_best_and_of_equals_the_last(
    metric: str, better: type, golden_data: dict[str, Path], tmp_path: Path
) -> None:
    case: Case = {"training": {**TRAINING, "epochs": 5, "lr": 0.6, "warmup_epochs": 2}}
    trained = _trained(case, golden_data, tmp_path, metric)
    values = [line[metric] for line in logged(folder_of(trained))]
    best = max(step for step, value in enumerate(values) if value == better(values))
    assert 0 < best < len(values) - 1, f"{values}: the case tells too little"
    assert (tmp_path / "run/checkpoints/BEST").read_text().strip() == f"step-{best + 1:08d}"
    assert (tmp_path / "run/checkpoints/LAST").read_text().strip() == "step-00000005"
    scores = u2a.load(tmp_path / "run").evaluate((), "val").scores  # the best is what is loaded
    assert scores[metric] == pytest.approx(values[best], abs=1e-5)


def test_a_resumed_run_knows_what_was_best(golden_data: dict[str, Path], tmp_path: Path) -> None:
    case = settings({"training": {**TRAINING, "epochs": 5, "lr": 0.6, "warmup_epochs": 2}})
    recipe = load_recipe(write_recipe(tmp_path, case, with_validation(golden_data["complete"]), "surprise"))
    values = {}
    for name, stop_after in (("whole", 5), ("parts", 4)):
        run = Run(tmp_path / name)
        run.create(recipe)
        trainer = Trainer(recipe, run, ALONE)
        if stop_after < 5:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(trainer, "train_step", partial(_stop, trainer, trainer.train_step, stop_after))
                with pytest.raises(KeyboardInterrupt):
                    trainer.fit()
            trainer = Trainer(recipe, run, ALONE)
            trainer.resume()
            assert trainer.done == stop_after
        trainer.fit()
        values[name] = [line["surprise"] for line in logged(run.folder)]
        assert (run.checkpoints / "BEST").read_text() != (run.checkpoints / "LAST").read_text()
    assert values["parts"] == values["whole"]
    best, best_of_parts = ((tmp_path / name / "checkpoints/BEST").read_text() for name in values)
    assert best == best_of_parts


def _stop(
    trainer: Trainer, step: Callable[[Any], dict[str, float]], after: int, batches: Any
) -> dict[str, float]:
    if trainer.done == after:
        raise KeyboardInterrupt
    return step(batches)


def _initial(tmp_path: Path, seed: int) -> dict[str, Tensor]:
    model = {**MODEL, "mask_tokens": "per_target", "lora_rank": 4}
    case = settings({"seed": seed, "modalities": THREE, "model": model})
    recipe = load_recipe(write_recipe(tmp_path, case, "shards"))
    return {name: p.detach() for name, p in learnable(build_model(recipe))}


def test_where_training_starts(golden_plugin: Path, tmp_path: Path) -> None:
    starts = [_initial(tmp_path, seed) for seed in range(12)]
    drawn: dict[str, list[Tensor]] = {}
    for start in starts:
        for name, tensor in start.items():
            drawn.setdefault(name.split(".")[-1], []).append(tensor.flatten())
    mask_tokens = torch.cat(drawn["mask_tokens"])
    assert float(mask_tokens.std()) == pytest.approx(0.02, rel=0.1)
    assert abs(float(mask_tokens.mean())) < 0.004
    assert not torch.cat(drawn["lora_B"]).any()  # LoRA begins as nothing
    assert all(tensor.std() > 0.05 for tensor in drawn["lora_A"])
    again, other = starts[3], starts[4]
    same = _initial(tmp_path, 3)
    for name, tensor in again.items():
        assert torch.equal(tensor, same[name]), name
        assert name.endswith("lora_B") or not torch.equal(tensor, other[name]), name
    assert not torch.equal(again["b.mask_tokens"], again["c.mask_tokens"])
