"""Batches by length and merged adapters, from shards to a model: less work, the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor

import u2a
from u2a.common.distributed import World
from u2a.data.feeding.batches import Batch, unwrap
from u2a.evaluation import encoding
from u2a.evaluation.trained import Model
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
WORDS = ("sea", "boat", "town", "film")


def words_of(i: int) -> int:
    return 1 + 7 * i % 10


def text(i: int) -> str:
    return " ".join(WORDS[(i + k) % 4] for k in range(words_of(i)))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    """48 texts of 1 to 10 words for training, 30 for test."""
    counts = {"train": 48, "val": 12, "test": 30}
    return toys.make(tmp_path_factory.mktemp("texts"), checkpoints, counts=counts, text=text)


@pytest.fixture(scope="module")
def model(texts: Path) -> Model:
    u2a.train(texts, run=texts.parent / "run", sets=["training.epochs=1", "model.lora_alpha=64"])
    return u2a.load(texts.parent / "run")


def batches(texts: Path, *sets: str) -> list[Batch]:
    recipe = load_recipe(texts, ("training.modality_dropout=off", *sets))
    trainer = Trainer(recipe, Run(texts.parent / "unused"), ALONE)
    return [unwrap(batch) for batch in trainer.data.loader(0, 6)]


def padding(found: list[Batch]) -> int:
    return sum(int((batch.inputs["text"]["attention_mask"] == 0).sum()) for batch in found)


def test_training_pads_less_and_sees_the_same_samples(texts: Path) -> None:
    grouped, plain = batches(texts), batches(texts, "training.group_by_length=false")
    seen = [sorted(key for batch in found for key in batch.keys) for found in (grouped, plain)]
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 48
    assert padding(grouped) * 3 < padding(plain)


def tokens_of(model: Model, monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[Tensor, Tensor], int]:
    """What a pass over the test split gives, and how many padded places it computed."""
    met: list[Batch] = []
    selected = encoding._selected
    monkeypatch.setattr(encoding, "_selected", lambda net, batch: (met.append(batch), selected(net, batch))[1])
    found = model.encode("test")
    return (found.cls_NMD, found.mask_NMMD), padding(met)


def test_a_pass_over_a_split_gives_the_same_tokens_merged_or_not_grouped_or_not(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "BATCH_SIZE", 6)
    fast, less = tokens_of(model, monkeypatch)
    model.network.unmerge_lora()
    monkeypatch.setattr(model.network, "merge_lora", lambda: False)
    monkeypatch.setattr(encoding, "expected_lengths", lambda split, preprocessors: None)
    plain, more = tokens_of(model, monkeypatch)
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    assert not torch.equal(fast[0], plain[0])  # another order of the sums
    assert less * 2 < more
    monkeypatch.undo()
    model.network.merge_lora()


def test_samples_come_back_in_their_own_order(model: Model) -> None:
    """The tokens of a split are those of its samples, one by one."""
    encoded = model.encode("test")
    assert encoded.place_N.tolist() == list(range(30))
    for i in (0, 7, 29):
        alone = model.predict({"text": text(i)})
        row = model.network.classify(
            encoded.cls_NMD[i : i + 1], encoded.mask_NMMD[i : i + 1], torch.tensor([[False, True]])
        )
        wanted = model.calibration.probabilities(row.detach().numpy(), "text", 2)[0]
        names = model.recipe.task.classes
        assert alone.probabilities == pytest.approx(dict(zip(names, wanted.tolist(), strict=True)), abs=1e-4)


def test_a_validation_leaves_the_adapters_beside_the_weights(texts: Path, tmp_path: Path) -> None:
    trainer = Trainer(load_recipe(texts, ("training.epochs=1",)), Run(tmp_path / "run"), ALONE)
    present_BM = torch.ones(8, 2, dtype=torch.bool)
    batch = batches(texts)[0]
    trainer.data.validate(trainer.model)
    loss = trainer.model(batch.inputs, present_BM).logits_BC.square().sum()
    loss.backward()
    learned = dict(next(trainer.model.each_branch()).learnable())
    assert learned["blocks.00.q.lora_B"].grad is not None
    assert learned["blocks.00.q.lora_B"].grad.abs().sum() > 0
