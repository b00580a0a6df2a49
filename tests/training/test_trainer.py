"""Training as users run it: real shards, tiny checkpoints, kill -9, resume."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from processes import Python
from safetensors.torch import load_file, save_file

from u2a.common.distributed import World, default_workers, pick_device
from u2a.common.files import sha256_file
from u2a.data.feeding.batches import unwrap
from u2a.data.feeding.plan import TrainingPlan
from u2a.errors import CheckpointError, RecipeError, U2AError
from u2a.evaluation.calibration import Calibration
from u2a.evaluation.validation import Validation
from u2a.recipe.file import load_recipe
from u2a.runs import checkpoint
from u2a.runs.folder import Run
from u2a.training.schedule import learning_rate, notices
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))


def trainer(recipe_file: Path, run: Path, *sets: str) -> Trainer:
    recipe = load_recipe(recipe_file, sets)
    made = Trainer(recipe, Run(run), ALONE)
    made.run.create(recipe)
    return made


def training_with_a_checkpoint(recipe_file: Path, run: Path, *sets: str) -> Python:
    """`u2a train` in a process of its own, that has saved its first checkpoint and goes on."""
    words = [word for one in sets for word in ("--set", one)]
    process = Python("-m", "u2a", "train", recipe_file, "--run", run, *words)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints/LAST").exists():
        assert process.poll() is None, process.wait().stderr
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def sometimes(i: int) -> tuple[bool, bool]:
    """A quarter of the samples has a text, the others only a picture; every ninth only a text."""
    return (i % 9 != 4, i % 4 == 1 or i % 9 == 4)


@pytest.fixture(scope="module")
def gappy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("gappy")
    return toys.make(folder, checkpoints, counts={"train": 34, "test": 8}, presence=sometimes)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 20, "val": 8, "test": 8}
    return toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts=counts, dropout=0.1)


def test_a_modality_that_a_step_lacks_altogether_does_not_move(gappy: Path, tmp_path: Path) -> None:
    made = trainer(gappy, tmp_path / "run", "training.modality_dropout=random", "training.epochs=4")
    batches = iter(made.data.loader(0, made.total))
    lacking = 0
    for t in range(made.total):
        before = {name: p.detach().clone() for name, p in checkpoint.learnable(made.model)}
        made.train_step([unwrap(next(batches))])
        if t and not made.plan.step(t).present_BM[:, 1].any():
            lacking += 1
            for name, p in checkpoint.learnable(made.model):
                assert torch.equal(p, before[name]) is name.startswith("text."), name
    assert lacking


def test_training_learns_and_the_run_folder_holds_what_it_should(toy: Path, tmp_path: Path) -> None:
    made = trainer(toy, tmp_path / "run", "training.epochs=20", "training.modality_dropout=off")
    scores = made.fit()
    assert scores["map"] > 0.9  # chance is about 0.4
    run = tmp_path / "run"
    best = checkpoint.current(run / "checkpoints", "BEST")
    assert {path.name for path in best.iterdir()} == {
        "adapter.json",
        "adapter.safetensors",
        "manifest.json",
        "optimizer.safetensors",
        "training.safetensors",
    }
    adapter = json.loads((best / "adapter.json").read_text())
    assert adapter["classes"] == list(toys.WORDS)
    assert len(adapter["modalities"]["image"]["base"]["sha256"]) == 64
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    per_epoch = max(line["step"] for line in lines if line["epoch"] == 1)
    assert all(line["epoch"] == -(-line["step"] // per_epoch) for line in lines)  # both kinds count from 1
    assert [x["step"] for x in lines if x["type"] == "train"] == list(range(1, made.total + 1))
    assert len([x for x in lines if x["type"] == "validation"]) == 20
    assert (
        json.loads((run / "versions.json").read_text())["libraries"]["torch"] == torch.__version__.split("+")[0]
    )
    size = sum(path.stat().st_size for path in best.glob("adapter.*"))
    assert size < 100_000


def test_resumed_training_equals_one_that_never_stopped(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["training.epochs=4", "model.lora_dropout=0.1"]
    whole = trainer(toy, tmp_path / "whole", *sets)
    whole.fit()
    told = "".join(capsys.readouterr())
    assert "20 training samples, 0 with a missing modality" in told
    assert f"step {whole.total}/{whole.total}  epoch 4  loss " in told
    assert "epoch 4/4  validation  accuracy " in told
    first = trainer(toy, tmp_path / "parts", *sets)
    batches = iter(first.data.loader(0, first.total))
    first.objective.train()
    for _ in range(3):
        first.train_step([unwrap(next(batches))])
    first._save()
    first.run.log({"type": "train", "step": 4, "loss": 9.25})  # a step that a crash loses
    second = trainer(toy, tmp_path / "parts", *sets)
    second.resume()
    assert second.done == 3
    assert "9.25" not in second.run.metrics_file.read_text()
    second.fit()
    assert second.progress.first == 3  # a rate is of the steps since then,
    assert second.progress.elsewhere > 0  # without validation's time
    assert "extended" not in "".join(capsys.readouterr())
    for name, tensor in checkpoint.adapter_state(second.model).items():
        assert torch.equal(tensor, checkpoint.adapter_state(whole.model)[name]), name


def test_a_finished_training_that_validates_nothing_stays_finished(gappy: Path, tmp_path: Path) -> None:
    trainer(gappy, tmp_path / "run").fit()
    again = trainer(gappy, tmp_path / "run")
    again.resume()
    assert again.finished


def test_kill_9_loses_no_saved_epoch(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = training_with_a_checkpoint(toy, run, "training.epochs=300")
    time.sleep(0.5)
    process.kill()
    assert process.wait().returncode == -signal.SIGKILL
    meta = checkpoint.verify(checkpoint.current(run / "checkpoints", "LAST"))
    again = Trainer(Run(run).recipe(), Run(run), ALONE)
    again.resume()
    assert again.done == meta["step"] > 0
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == again.done


def test_an_interrupt_saves_and_says_how_to_go_on(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = training_with_a_checkpoint(toy, run, "training.epochs=3000", "data.workers=1")
    os.kill(process.pid, signal.SIGTERM)
    done = process.wait()
    assert done.returncode == 130
    assert f"u2a train {run} --resume" in done.stderr
    assert "Traceback" not in done.stderr
    meta = checkpoint.verify(checkpoint.current(run / "checkpoints", "LAST"))
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == meta["step"]


def test_a_second_ctrl_c_in_a_long_validation_stops_at_once_and_costs_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainer(toy, tmp_path / "whole")
    whole.fit()
    made = trainer(toy, tmp_path / "run")

    def validate(model: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert made.stop.asked == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second one was ignored")

    monkeypatch.setattr(made.data, "validate", validate)
    with pytest.raises(KeyboardInterrupt):
        made.fit()
    again = trainer(toy, tmp_path / "run")
    again.resume()
    assert again.done == again.plan.steps_per_epoch
    assert again.owes_validation
    again.fit()
    assert again.keeper.best == whole.keeper.best
    for (name, mine), (_, theirs) in zip(
        checkpoint.learnable(again.model), checkpoint.learnable(whole.model), strict=True
    ):
        assert torch.equal(mine, theirs), name


def test_workers_do_not_change_the_losses(toy: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        trainer(toy, tmp_path / str(workers), f"data.workers={workers}").fit()
    losses = [
        [json.loads(line).get("loss") for line in (tmp_path / w / "metrics.jsonl").read_text().splitlines()]
        for w in ("0", "2")
    ]
    assert losses[0] == losses[1]


def test_bad_data_in_the_middle_saves_what_is_done(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = toys.make(tmp_path, checkpoints)
    shard = next((tmp_path / "shards").glob("train-*1.tar"))
    png = shard.read_bytes().rindex(b"\x89PNG")
    with shard.open("r+b") as file:
        file.seek(png)
        file.write(b"\0" * 64)
    made = trainer(recipe, tmp_path / "run", "training.modality_dropout=off", "training.epochs=6")
    with pytest.raises(U2AError, match=rf"{shard.name}.*train-\d+.*image"):
        made.fit()
    assert checkpoint.verify(checkpoint.current(made.run.checkpoints, "LAST"))["step"] == made.done
    told = capsys.readouterr()
    told_once = f"stopped after step {made.done}; saved; continue with u2a train {made.run} --resume"
    assert (told.out + told.err).replace("\n", " ").count(told_once) == 1


def test_bad_validation_data_costs_nothing_once_it_is_mended(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    counts = {"train": 16, "val": 8, "test": 8}
    recipe = toys.make(tmp_path, checkpoints, counts=counts)
    sets = ("training.epochs=1", "training.batch_size=16")  # of one step
    whole = trainer(recipe, tmp_path / "whole", *sets)
    whole.fit()
    shard = next((tmp_path / "shards").glob("val-*.tar"))
    good = shard.read_bytes()
    shard.write_bytes(good.replace(b"\x89PNG", b"\0\0\0\0"))
    made = trainer(recipe, tmp_path / "run", *sets)
    with pytest.raises(U2AError, match=rf"{shard.name}.*val-\d+.*image"):
        made.fit()
    shard.write_bytes(good)
    again = trainer(recipe, tmp_path / "run", *sets)
    again.resume()
    assert again.done == again.total == 1
    assert not again.finished
    again.fit()
    assert again.finished
    assert again.keeper.best == whole.keeper.best
    first, second = (
        [
            {**json.loads(line), "samples_per_second": 0}
            for line in made.run.metrics_file.read_text().splitlines()
        ]
        for made in (whole, again)
    )
    assert first == second


class Deadly:
    """A preprocessor that kills its worker, as the kernel does when there is no memory."""

    def __call__(self, member: bytes, *, train: bool, seed: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_told_of_in_a_line(toy: Path, tmp_path: Path) -> None:
    made = trainer(toy, tmp_path / "run", "data.workers=1")
    made.data.preprocessors["image"] = Deadly()
    with pytest.raises(U2AError, match="a data worker died: too little memory"):
        made.fit()


def test_a_damaged_checkpoint_and_other_base_weights_are_refused(toy: Path, tmp_path: Path) -> None:
    made = trainer(toy, tmp_path / "run")
    made.keeper.keep(0, None, {})
    folder = checkpoint.current(made.run.checkpoints, "BEST")
    made.model.names = ("text", "image")
    with pytest.raises(CheckpointError, match="was trained on image, text, but the recipe has text, image"):
        checkpoint.load_adapter(folder, made.model)
    made.model.names = ("image", "text")
    made.model.branches[0].base = {**made.model.branches[0].base, "sha256": "0" * 64}
    with pytest.raises(CheckpointError, match="modality 'image' was trained on base weights"):
        checkpoint.load_adapter(folder, made.model)
    tensors = folder / "adapter.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CheckpointError, match="checksum mismatch"):
        checkpoint.verify(folder)
    for nonsense in ("[]", '{"format": 3}', '{"format": 3, "files": {}}', '{"format": 3, "files": []}', "\xff"):
        (folder / "manifest.json").write_text(nonsense, encoding="latin-1")
        with pytest.raises(CheckpointError, match="not a complete adapter checkpoint"):
            checkpoint.verify(folder)
    (folder / "manifest.json").write_text('{"format": 1, "files": {}}')  # read-outs had other lengths then
    with pytest.raises(CheckpointError, match="format 1; this u2a reads format 3"):
        checkpoint.verify(folder)
    (made.run.checkpoints / "BEST").write_text("..")
    with pytest.raises(CheckpointError, match="BEST"):
        checkpoint.current(made.run.checkpoints, "BEST")


def test_a_checkpoint_of_other_tensors_is_refused_and_one_that_is_replaced_read_again(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(toy, tmp_path / "run")
    made.keeper.keep(0, None, {})
    real, root = checkpoint.verify, made.run.checkpoints

    def meanwhile(folder: Path) -> dict[str, Any]:
        monkeypatch.setattr(checkpoint, "verify", real)
        made.keeper.keep(1, None, {})  # the training goes on, and this checkpoint is gone
        return real(folder)

    monkeypatch.setattr(checkpoint, "verify", meanwhile)
    folder, meta = checkpoint.load_current(root, "LAST", made.model)
    assert (folder.name, meta["step"]) == ("step-00000001", 1)
    tensors = load_file(folder / "adapter.safetensors")
    less = {name: tensor for name, tensor in tensors.items() if name != "head.bias"}
    for other, said in (
        ({**tensors, "other": torch.zeros(1)}, "has an unknown tensor 'other'"),
        (less, "lacks 'head.bias'"),
        ({**less, "head.bias": torch.zeros(5)}, "'head.bias' is \\(5,\\), the model's \\(4,\\)"),
    ):
        save_file(other, folder / "adapter.safetensors")
        files = {name: sha256_file(folder / name) for name in checkpoint.FILES}
        (folder / "manifest.json").write_text(json.dumps({"format": 3, "files": files}))
        with pytest.raises(CheckpointError, match=said):
            checkpoint.load_adapter(folder, made.model)


def test_a_checkpoint_is_replaced_or_kept_whole(toy: Path, tmp_path: Path) -> None:
    made = trainer(toy, tmp_path / "run")
    made.keeper.keep(0, None, {})
    first = checkpoint.current(made.run.checkpoints, "LAST")
    made.resume()
    assert not made.owes_validation  # nothing is learned yet that it could be of
    assert first.stat().st_mode & 0o055 == 0o055  # others may read it, as they may the rest of the run
    half = Validation({"accuracy": 0.5}, 0.5, Calibration("single_label"))
    made.keeper.save(0, half, {})
    assert checkpoint.verify(checkpoint.current(made.run.checkpoints, "BEST"))["validation"] == half.scores
    assert sorted(p.name for p in made.run.checkpoints.iterdir()) == ["BEST", "LAST", first.name]
    made.run.checkpoints.rename(tmp_path / "aside")
    made.run.checkpoints.write_text("in the way")
    with pytest.raises(CheckpointError, match="step-00000000: the checkpoint cannot be written: File exists"):
        made._save()


def test_skipped_steps_are_counted_over_the_run_and_end_it_beyond_one_percent(
    toy: Path, tmp_path: Path
) -> None:
    made = trainer(toy, tmp_path / "run", "training.epochs=100")
    batches = iter(made.data.loader(0, made.total))
    allowed = made.total // 100
    assert allowed >= 2
    good = made.model.head.bias.detach().clone()

    def step(*, finite: bool) -> None:
        with torch.no_grad():
            made.model.head.bias.copy_(good if finite else good * torch.nan)
        made.train_step([unwrap(next(batches))])

    before = {name: p.detach().clone() for name, p in checkpoint.learnable(made.model)}
    for _ in range(allowed):
        step(finite=False)
    for name, p in checkpoint.learnable(made.model):
        assert name == "head.bias" or torch.equal(p, before[name])
    assert made.skipped.said[-1].startswith(
        f"step {allowed}: skipped, its gradient is not finite: the head's bias"
    )
    made.model.head.bias.data.copy_(good)
    made._save()
    again = trainer(toy, tmp_path / "run", "training.epochs=100")  # not forgotten by an interruption
    again.resume()
    assert again.skipped.count == allowed
    step(finite=True)  # nor by a good step in between
    with pytest.raises(
        U2AError, match=f"{allowed + 1} of {made.total} steps were skipped, more than 1 %"
    ) as error:
        step(finite=False)
    assert "the head's bias is not finite" in str(error.value)
    meta = checkpoint.verify(checkpoint.current(tmp_path / "run/checkpoints", "LAST"))
    assert meta["skipped_steps"] == allowed + 1


@pytest.mark.parametrize(
    ("precision", "clip_norm", "ways"),
    [
        ("fp32", 1, "lower training.lr"),
        ("bf16", 0, "lower training.lr, or use training.precision = fp32, or set training.clip_norm"),
    ],
)
def test_what_to_do_about_a_skipped_step_is_what_the_recipe_does_not_do_yet(
    precision: str, clip_norm: int, ways: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = (f"training.precision={precision}", f"training.clip_norm={clip_norm}", "training.epochs=100")
    made = trainer(toy, tmp_path / "run", *sets)
    made._skipped({"loss": 1.0}, [])
    said = (
        "step 0: skipped, its gradient is not finite: every loss is finite, its derivative is not; "
        f"{ways} (1 of {made.total} steps so far)"
    )
    assert made.skipped.said == [said]
    for _ in range(2):
        made._report({})
    told = capsys.readouterr()
    assert " ".join((told.out + told.err).split()).count(said) == 1  # once, however many steps follow
    lines = [json.loads(line) for line in made.run.metrics_file.read_text().splitlines()]
    assert [line["skipped_steps"] for line in lines] == [1, 1]


def test_metrics_of_a_step_that_went_wrong_are_still_json(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.log({"step": 1, "loss": float("nan"), "grad_norm": float("inf"), "lr": 0.5})

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    line = json.loads(run.metrics_file.read_text(), parse_constant=refuse)
    assert line == {"step": 1, "loss": None, "grad_norm": None, "lr": 0.5}


def test_devices_and_loader_processes_for_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert default_workers(World(0, 1000, 0, 1000, cpu)) == 0  # more processes than cores
    assert default_workers(World(0, 1000, 0, 1000, gpu)) == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda", 1, 2) == pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(U2AError, match="cuda:1 is one device for 2 processes"):
        pick_device("cuda:1", 0, 2)
    with pytest.raises(U2AError, match="cuda:2 is not there; GPUs that are visible: 2"):
        pick_device("cuda:2")
    with pytest.raises(U2AError, match="3 processes want a GPU each; GPUs that are visible: 2"):
        pick_device("auto", 2, 3)


def test_the_papers_schedule(toy: Path) -> None:
    recipe = load_recipe(toy, ["training.epochs=10", "training.warmup_epochs=5", "training.lr=1e-3"])
    rates = [learning_rate(t, 4, recipe.training) for t in range(40)]
    assert rates[:20] == [pytest.approx(1e-4)] * 20
    assert rates[20] == pytest.approx(1e-3)
    assert rates[30] == pytest.approx(1e-3 * 0.5**0.9)
    assert rates[39] == pytest.approx(1e-3 * (1 / 20) ** 0.9)


@pytest.mark.parametrize("warmup", [1, 5])
def test_a_training_no_longer_than_its_warmup_shortens_it_and_says_so(warmup: int, toy: Path) -> None:
    recipe = load_recipe(toy, ["training.epochs=1", f"training.warmup_epochs={warmup}", "training.lr=1e-3"])
    rates = [learning_rate(t, 8, recipe.training) for t in range(8)]
    assert rates[:4] == [pytest.approx(1e-4)] * 4
    assert rates[4:] == [pytest.approx(1e-3 * (1 - t / 4) ** 0.9) for t in range(4)]
    assert notices(8, recipe.training) == [
        f"warm-up shortened to 4 of 8 steps: training.warmup_epochs is {warmup}, training.epochs 1"
    ]
    assert notices(8, load_recipe(toy, ["training.epochs=2", "training.warmup_epochs=1"]).training) == []


def test_the_batch_must_divide(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not divisible by accumulation"):
        load_recipe(toy, ["training.accumulation=3"])
    two = World(0, 2, 0, 2, torch.device("cpu"))
    with pytest.raises(RecipeError, match="not divisible by 2 processes x accumulation 8"):
        Trainer(load_recipe(toy, ["training.accumulation=8"]), Run(tmp_path), two)


def test_an_epoch_uses_each_sample_once_and_orders_differ() -> None:
    plan = TrainingPlan(
        np.ones((23, 2), bool), [10, 10, 3], use_N=np.ones(23, bool), batch_size=5, seed=0, dropout=False
    )
    orders = [plan.order(epoch) for epoch in range(2)]
    assert all(sorted(order.tolist()) == list(range(23)) for order in orders)
    assert orders[0].tolist() != orders[1].tolist()
    assert plan.steps_per_epoch == 4
    seen = np.concatenate([plan.step(t).index_B for t in range(4)])
    assert len(set(seen.tolist())) == 20


def test_a_holdout_is_never_trained_on(toy: Path, tmp_path: Path) -> None:
    made = trainer(toy, tmp_path / "run", "data.holdout=0.2", "training.epochs=3")
    assert made.data._places is not None
    held = set(made.data._places.tolist())
    assert len(held) == 4
    trained = {int(i) for t in range(made.total) for i in made.plan.step(t).index_B}
    assert not held & trained
    assert "accuracy" in made.fit()
