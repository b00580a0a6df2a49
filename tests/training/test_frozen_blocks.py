"""Outputs of frozen blocks that are kept: the same training to the last bit, whatever is kept of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
import toys
from processes import Python
from safetensors.torch import load_file
from torch import Tensor

from u2a.common.distributed import World
from u2a.contract.modality import Inputs
from u2a.data.feeding.batches import unwrap
from u2a.errors import U2AError
from u2a.method.model import U2A
from u2a.recipe.file import load_recipe
from u2a.runs import checkpoint
from u2a.runs.folder import Run
from u2a.training.frozen_blocks import FOLDER
from u2a.training.start import check_same, train
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
STEADY = ("modalities.image.augment=false", "modalities.image.flip=false")
ONE = (
    *("model.adapt_blocks=1", "model.lora_dropout=0.1", "training.epochs=2", "training.batch_size=5"),
    *STEADY,
)
KEPT = (*ONE, "training.frozen_cache_gb=1")


def text(i: int) -> str:
    return " ".join([*(toys.WORDS[i // power % 4] for power in (1, 4, 16)), *["sea"] * (i % 6)])


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    """20 training samples, two of which lack their picture; texts of 3 to 8 words, no two the same."""
    folder = tmp_path_factory.mktemp("toy")
    return toys.make(folder, checkpoints, text=text, dropout=0.1, presence=lambda i: (i % 10 != 3, True))


def trainer(toy: Path, folder: Path, *sets: str) -> Trainer:
    made = Trainer(load_recipe(toy, sets), Run(folder), ALONE)
    if not made.run.exists:
        made.run.create(made.recipe)
    return made


def learned(made: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in checkpoint.adapter_state(made.model).items()}


def fitted(toy: Path, folder: Path, *sets: str) -> dict[str, Tensor]:
    made = trainer(toy, folder, *sets)
    made.fit()
    return learned(made)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def files(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).rglob("*.safetensors"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The modality of every sample that goes through frozen blocks by itself."""
    found: list[int] = []
    run_below = U2A.run_below

    def watched(self: U2A, m: int, inputs: Inputs) -> Tensor:
        found.append(m)
        return run_below(self, m, inputs)

    monkeypatch.setattr(U2A, "run_below", watched)
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_sample_is_computed_once_and_nothing_changes(
    precision: str, toy: Path, tmp_path: Path, computed: list[int]
) -> None:
    sets = (*KEPT, f"training.precision={precision}")
    whole = fitted(toy, tmp_path / "whole", *sets)
    assert (computed.count(0), computed.count(1)) == (18, 20)
    assert len(files(tmp_path / "whole")) == 38
    computed.clear()
    no_room = fitted(toy, tmp_path / "no-room", *sets, "training.frozen_cache_gb=1e-9")
    assert (computed.count(0), computed.count(1)) == (36, 40)
    assert not files(tmp_path / "no-room")
    assert equal(whole, no_room)
    if precision == "fp32":
        for name, tensor in fitted(toy, tmp_path / "plain", *ONE).items():
            torch.testing.assert_close(whole[name], tensor, atol=1e-4, rtol=1e-3)


def test_resumed_with_less_and_with_damage_it_is_as_if_never_stopped(
    toy: Path, tmp_path: Path, computed: list[int]
) -> None:
    whole = fitted(toy, tmp_path / "whole", *KEPT)
    first = trainer(toy, tmp_path / "parts", *KEPT)
    first.objective.train()
    batches = iter(first.data.loader(0, first.total))
    for _ in range(5):
        first.train_step([unwrap(next(batches))])
    first._save()
    kept = files(tmp_path / "parts")
    assert len(kept) == 38
    for path in kept[:10]:
        path.unlink()
    damaged = bytearray(kept[10].read_bytes())
    damaged[-40] ^= 1
    kept[10].write_bytes(damaged)
    kept[11].write_bytes(kept[11].read_bytes()[:50])
    kept[12].write_bytes(b"")
    computed.clear()
    second = trainer(toy, tmp_path / "parts", *KEPT, "data.workers=2", "training.frozen_cache_gb=2")
    check_same(second.recipe, first.run)
    with pytest.raises(U2AError, match=r"training.frozen_cache_gb differ"):
        check_same(load_recipe(toy, ONE), first.run)
    second.resume()
    assert second.done == 5
    second.fit()
    assert 0 < len(computed) <= 13
    assert equal(learned(second), whole)


def test_what_is_augmented_takes_no_part_and_that_is_said(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted(toy, tmp_path / "run", *KEPT, "training.epochs=1", "modalities.image.flip=true")
    said = "outputs of frozen blocks are kept of text; image is another input each time (augmentation)"
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert len(files(tmp_path / "run")) == 20


def test_no_more_is_kept_than_there_is_room_for(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted(toy, tmp_path / "run", *KEPT, "training.epochs=1", "training.frozen_cache_gb=1e-5")
    assert 0 < sum(path.stat().st_size for path in files(tmp_path / "run")) <= 10_000
    said = capsys.readouterr().err.replace("\n", " ")
    assert (
        said.count(
            "no more outputs of frozen blocks are kept, others are computed anew (training.frozen_cache_gb"
        )
        == 1
    )


def test_what_was_kept_of_other_weights_or_blocks_is_not_read(
    toy: Path, tmp_path: Path, computed: list[int]
) -> None:
    fitted(toy, tmp_path / "run", *KEPT, "training.epochs=1")
    for sets in (("training.precision=bf16",), ("modalities.text.max_length=9",)):
        computed.clear()
        batches = trainer(toy, tmp_path / "run", *KEPT, *sets)
        batches.frozen.prepare(unwrap(next(iter(batches.data.loader(0, 1)))))
        assert 1 in computed


def test_a_finished_training_leaves_nothing_of_it(toy: Path, tmp_path: Path) -> None:
    train(toy, run=tmp_path / "run", sets=(*KEPT, "training.epochs=1"))
    assert not (tmp_path / "run" / FOLDER).exists()


def test_it_needs_blocks_that_are_frozen_and_an_index(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(U2AError, match=r"training.frozen_cache_gb needs model.adapt_blocks"):
        load_recipe(toy, ("training.frozen_cache_gb=1",))
    streaming = ("data.streaming=true", "data.samples_per_epoch=16", "training.modality_dropout=off")
    with pytest.raises(U2AError, match=r"training.frozen_cache_gb: needs an index"):
        trainer(toy, tmp_path / "run", *KEPT, *streaming)


@pytest.mark.slow
def test_kill_9_in_the_middle_is_as_if_never_stopped(toy: Path, tmp_path: Path) -> None:
    sets = (*KEPT, "training.batch_size=1", "training.epochs=4")
    whole = fitted(toy, tmp_path / "whole", *sets)
    run, words = tmp_path / "killed", [*sets, "training.save_minutes=1e-6"]
    given = [word for one in words for word in ("--set", one)]
    process = Python("-m", "u2a", "train", toy, "--run", run, "--no-baselines", *given)
    deadline = time.monotonic() + 120
    last = run / "checkpoints/LAST"
    while not last.exists() or not 25 <= int(last.read_text().split("-")[1]) <= 70:
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    assert files(run)
    train(toy, run=run, resume=True, sets=sets)
    found = load_file(checkpoint.current(run / "checkpoints", "LAST") / "adapter.safetensors")
    assert equal(found, whole)
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
