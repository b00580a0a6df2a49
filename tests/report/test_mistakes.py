"""Confusions, surest mistakes, constant answers, training curves, names of patterns: by plain counting."""

from __future__ import annotations

import base64
import io
import json
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score
from tasks import make_task

from u2a.plugins.loading import registry
from u2a.recipe.task import TaskSection
from u2a.report import samples
from u2a.report.drawing.figures import merged
from u2a.report.tables import pattern_label
from u2a.report.values.learning import training_curve
from u2a.report.values.mistakes import confusion, constant_answer, surest_mistakes
from u2a.report.values.predictions import Predictions
from u2a.runs.folder import Run

CLASSES = ("a", "b", "c", "never")
TASK = make_task(classes=CLASSES, metric="f1_macro")


def drawn(seed: int, task: TaskSection = TASK, n: int = 80) -> Predictions:
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 4, generator=draw)
    logits[:, 3] -= 20  # never guessed
    target = torch.randint(3, (n,), generator=torch.Generator().manual_seed(9))
    if task.kind == "multi_label":
        target = torch.nn.functional.one_hot(target, 4).float()
        target[:40, 0] = 1
    return Predictions.of(logits, target, task)


def test_confusions_are_scikit_learns_meaned_over_seeds() -> None:
    runs = [drawn(0), drawn(1)]
    found = confusion(runs, CLASSES)
    assert found is not None
    wanted = np.mean(
        [confusion_matrix(one.truth_NC.int().argmax(1), one.guess_NC.int().argmax(1)) for one in runs], 0
    )
    assert found["classes"] == ["a", "b", "c"]
    assert np.array(found["counts"]) == pytest.approx(wanted)
    wrong = wanted - np.diag(np.diag(wanted))
    assert [pair["count"] for pair in found["pairs"]] == sorted(wrong[wrong > 0], reverse=True)
    first = found["pairs"][0]
    t, g = CLASSES.index(first["truth"]), CLASSES.index(first["guess"])
    assert first["share"] == pytest.approx(wanted[t, g] / wanted[t].sum())
    assert confusion([drawn(0, make_task(kind="multi_label", classes=CLASSES))], CLASSES) is None


def test_the_surest_mistakes_are_wrong_and_come_by_confidence() -> None:
    predictions = drawn(0)
    keys = [f"k{i}" for i in range(80)]
    found = surest_mistakes(predictions, keys, CLASSES)
    p, truth = predictions.probability_NC.numpy(), predictions.truth_NC.numpy().argmax(1)
    wrong = [i for i in range(80) if p[i].argmax() != truth[i]]
    assert found["n_wrong"] == len(wrong)
    order = sorted(wrong, key=lambda i: -p[i].max())[:12]
    assert [row["key"] for row in found["samples"]] == [keys[i] for i in order]
    for row, i in zip(found["samples"], order, strict=True):
        assert row["label"] == CLASSES[p[i].argmax()]
        assert row["truth"] == [CLASSES[truth[i]]]
        assert row["confidence"] == row["probability"] == pytest.approx(p[i].max())


def test_a_label_that_is_there_can_be_the_surest_mistake_too() -> None:
    p = torch.tensor([[0.9, 0.05, 0.4, 0.1], [0.2, 0.8, 0.1, 0.1], [0.9, 0.2, 0.2, 0.2]])
    truth = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    task = make_task(kind="multi_label", classes=CLASSES, metric="map")
    found = surest_mistakes(Predictions(p, p >= 0.5, truth, task, "map"), ["x", "y", "z"], CLASSES)
    assert found["n_wrong"] == 2
    first, second = found["samples"]
    assert (first["key"], first["label"], first["truth"]) == ("x", "b", ["a", "b"])
    assert first["confidence"] == pytest.approx(0.95)
    assert (second["key"], second["label"], second["truth"]) == ("y", "b", [])


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro"])
def test_the_constant_answer_scores_what_a_dummy_does(metric: str) -> None:
    predictions = drawn(0, make_task(classes=CLASSES, metric=metric))
    truth = predictions.truth_NC.numpy().argmax(1)
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((80, 1)), truth).predict(np.zeros((80, 1)))
    wanted = (dummy == truth).mean() if metric != "f1_macro" else f1_score(truth, dummy, average="macro")
    found = constant_answer(predictions)
    assert found == {"score": pytest.approx(wanted), "answer": "always the most frequent class"}


def test_where_ranks_are_judged_the_constant_answer_has_none() -> None:
    predictions = drawn(0, make_task(kind="multi_label", classes=CLASSES, metric="map"))
    truth = predictions.truth_NC.numpy()
    found = constant_answer(predictions)
    each = [average_precision_score(truth[:, c], np.zeros(80)) for c in range(3)]
    assert found == {"score": pytest.approx(np.mean(each)), "answer": "no ranking at all"}
    assert constant_answer(drawn(0, make_task(kind="multi_label", classes=CLASSES))) is None


def test_bins_are_merged_until_each_holds_a_twentieth_and_keep_their_mean() -> None:
    counts = [1, 2, 40, 3, 1, 60, 2]
    bins = [{"confidence": (i + 1) / 15, "outcome": 0.1 * i, "count": n} for i, n in enumerate(counts)]
    found = merged(bins)
    assert all(b["count"] >= sum(counts) / 20 for b in found)
    assert sum(b["count"] for b in found) == sum(counts)
    for part in ("confidence", "outcome"):
        total, again = (sum(b[part] * b["count"] for b in some) for some in (bins, found))
        assert again == pytest.approx(total)
    few = [{"confidence": (i + 1) / 15, "outcome": i % 2, "count": 1 + i % 3} for i in range(8)]  # 15 cases
    assert [b["count"] for b in merged(few)] == [6, 9]
    assert merged(bins[2:3]) == bins[2:3]
    assert merged([]) == []


def test_a_training_curve_is_the_mean_of_each_epochs_steps_and_the_validations(tmp_path: Path) -> None:
    lines: list[Any] = [{"type": "validation", "step": 0, "epoch": 0, "accuracy": 0.4, "loss": 9.0}]
    for step in range(1, 7):
        lines.append({"type": "train", "step": step, "epoch": (step + 1) // 2, "loss": float(step)})
        if step % 2 == 0:
            lines.append({"type": "validation", "step": step, "epoch": step // 2, "accuracy": 0.5 + step / 100})
    text = "\n".join(map(json.dumps, lines)) + '\n{"type": "train", "step": 7, "epo'  # a crash
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    found = training_curve(Run(tmp_path), "accuracy", best_step=4)
    assert found["epochs"] == [1, 2, 3]
    assert found["losses"] == [1.5, 3.5, 5.5]
    assert found["validated"] == [0, 1, 2, 3]
    assert found["scores"] == pytest.approx([0.4, 0.52, 0.54, 0.56])
    assert found["best"] == 2
    assert training_curve(Run(tmp_path / "none"), "accuracy", 0)["epochs"] == []


@pytest.mark.parametrize(
    ("missing", "label"),
    [
        ([], "complete"),
        (["text"], "without text"),
        (["image", "text"], "without image, text"),
        (["image", "text", "video"], "audio alone"),
    ],
)
def test_a_pattern_is_called_by_what_is_short(missing: list[str], label: str) -> None:
    assert pattern_label(missing, ("image", "audio", "text", "video")) == label
    assert pattern_label(["image"], ("image", "text")) == "without image"
    assert pattern_label(["a", "b", "c"], tuple("abcde")) == "d, e only"
    assert pattern_label(["image", "text"], ("image", "audio", "text")) == "audio alone"


def test_samples_are_shown_small_and_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    picture, sound = io.BytesIO(), io.BytesIO()
    Image.fromarray(noise).save(picture, "PNG")
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000 * 6) / 16_000)
    soundfile.write(sound, tone, 16_000, format="WAV")
    files = {"image": picture.getvalue(), "audio": sound.getvalue(), "text": ("word " * 400).encode()}
    split: Any = SimpleNamespace(
        modalities=("image", "audio", "text"),
        present_NM={7: np.array([True, True, True]), 9: np.array([True, False, False])},
        members=lambda i, names: {name: files[name] for name in names},
    )
    kinds = {name: SimpleNamespace(kind=name) for name in files}
    recipe: Any = SimpleNamespace(modalities=kinds, plugins=registry())
    first, second = samples.show_samples([{"place": 0}, {"place": 1}], [7, 9], split, recipe)
    assert [tile["name"] for tile in first["tiles"]] == ["image", "audio", "text"]
    image, audio, text = first["tiles"]
    shown = Image.open(io.BytesIO(base64.b64decode(image["image"].split(",")[1])))
    assert max(shown.size) <= samples.WIDTH
    with wave.open(io.BytesIO(base64.b64decode(audio["sound"].split(",")[1]))) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 4 * 8000)
        heard = np.frombuffer(file.readframes(8000), np.uint8).astype(float) - 128
    assert np.argmax(np.abs(np.fft.rfft(heard))) == 440
    assert np.abs(heard).max() == pytest.approx(0.5 * 127, abs=3)
    assert len(text["text"]) <= samples.MOST_TEXT + 3
    assert [tile["name"] for tile in second["tiles"]] == ["image"]
    monkeypatch.setattr(samples, "MOST_BYTES", len(image["image"]) * 3 // 2)
    first, second = samples.show_samples([{"place": 0}, {"place": 1}], [7, 9], split, recipe)
    assert "image" in first["tiles"][0]
    assert "left out" in first["tiles"][1]["text"]
    assert "left out" in second["tiles"][0]["text"]
