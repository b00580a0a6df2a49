"""Two processes: the same steps as one, and one answer to bad data; one job for all (`two_processes.py`)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
import two_processes
from click.testing import CliRunner
from golden import (
    MODEL,
    THREE,
    TRAINING,
    Case,
    assert_same_steps,
    expect,
    samples,
    settings,
    train,
    train_only,
    with_validation,
    write_recipe,
)
from safetensors.torch import load_file

from u2a.cli.main import main

HERE = Path(__file__).parent
TWO_STEPS = {**TRAINING, "batch_size": 4, "epochs": 3, "modality_dropout": "random"}
#: As in test_golden_step.py. Of a step's four samples each process has two: one may lack a modality altogether.
CASES: dict[str, Case] = {
    "missing": {"data": "gaps", "training": TRAINING},
    "dropout": {"training": TWO_STEPS},
    "lacking": {
        "data": "gaps",
        "modalities": THREE,
        "model": {**MODEL, "mask_tokens": "per_target"},
        "training": TWO_STEPS,
    },
    "accumulation": {"data": "gaps", "training": {**TRAINING, "accumulation": 4, "clip_norm": 0.05}},
    "exhaustive": {"data": "gaps", "training": {**TRAINING, "modality_dropout": "exhaustive"}},
    "noise": {"model": {**MODEL, "lora_dropout": 0.3}, "training": {**TRAINING, "accumulation": 2}},
    "per-modality": {
        "data": "gaps",
        "model": {**MODEL, "fusion": "per_modality", "proxy_rank": 2},
        "training": {**TRAINING, "accumulation": 2, "modality_dropout": "exhaustive"},
    },
    "kept": {
        "data": "gaps",
        "model": {**MODEL, "adapt_blocks": 1, "lora_dropout": 0.3},
        "training": {**TRAINING, "accumulation": 2, "frozen_cache_gb": 1.0},
    },
    "validated": {"data": "gaps", "training": TRAINING},
}

#: Each process has one sample at a time, so that a lost one leaves it without any.
LEFT_OUT: Case = {"data": "gaps", "training": {**TRAINING, "batch_size": 4, "accumulation": 2}}
LOST = {"train-1": b"rain", "train-4": b"film|no"}


#: What makes the toy recipe begin with a head start.
AHEAD = (
    "model.fusion=per_modality",
    "training.head_start=true",
    "training.detach_target=true",
    "training.epochs=1",
    "training.lr=1e-6",  # larger steps of AdamW would make much of the last digits
)
#: Rows that the first and the second process has.
LENGTHS = [(2, 3), (3, 2), (0, 2), (4, 0), (0, 0)]


def run(*args: object) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    gaps = lambda i: (i % 8 != 3, i % 8 != 6)  # noqa: E731
    counts = {"train": 24, "val": 8, "test": 24}
    return toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts=counts, presence=gaps, shard_size=4)


@pytest.fixture(scope="module")
def trained(toy: Path) -> Path:
    run("train", toy, "--run", toy.parent / "trained", "--set", "training.epochs=4")
    return toy.parent / "trained"


@pytest.fixture(scope="module")
def bad_shards(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad") / "shards"
    shutil.copytree(toy.parent / "shards", folder)
    shard = folder / "test-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"\x89PNG", b"\0\0\0\0", 1))
    return folder


@pytest.fixture(scope="module")
def stream_recipe(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    shutil.copytree(toy.parent / "shards", folder / "shards")
    for path in (folder / "shards").glob("train*.idx"):
        path.unlink()
    for name in ("clip", "bert"):
        (folder / name).symlink_to(toy.parent / name)
    text = toy.read_text().replace("workers = 0", "workers = 0\nstreaming = true\nsamples_per_epoch = 24")
    text = text.replace("batch_size = 8", "batch_size = 8\naccumulation = 2")
    text = text.replace('modality_dropout = "auto"', 'modality_dropout = "random"')
    (folder / "toy.toml").write_text(text)
    return folder / "toy.toml"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp(name) for name in CASES}


@pytest.fixture(scope="module")
def together(
    golden_plugin: Path,
    golden_data: dict[str, Path],
    folders: dict[str, Path],
    toy: Path,
    trained: Path,
    bad_shards: Path,
    stream_recipe: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[Any]]:
    tasks: dict[str, two_processes.Task] = {}
    for name, case in CASES.items():
        folder, whole = folders[name], settings(case)
        data = golden_data[whole["data"]]
        shards = with_validation(data) if name == "validated" else train_only(data)
        metric = "surprise" if name == "validated" else None
        recipe = write_recipe(folder, whole, shards, metric)
        tasks[name] = ("golden_steps", (str(recipe), str(folder / "run")))
    folder = tmp_path_factory.mktemp("left-out")
    shards = without_some(golden_data["gaps"], folder)
    recipe = write_recipe(folder, settings(LEFT_OUT), shards)
    recipe.write_text(recipe.read_text().replace("workers = 0", 'workers = 0\non_error = "skip"'))
    tasks["left out"] = ("golden_steps", (str(recipe), str(golden_data["gaps"] / "left-out")))
    tasks["buffers"] = ("buffers", (str(toy), str(toy.parent / "buffers")))
    tasks["gathered"] = ("gathered", (LENGTHS,))
    tasks["shared state"] = ("shared_state", (str(folders["per-modality"] / "golden.toml"),))
    tasks["stream"] = ("streamed", (str(stream_recipe), str(stream_recipe.parent / "run")))
    ahead = [word for value in AHEAD for word in ("--set", value)]
    tasks["ahead"] = (
        "command",
        ("train", str(toy), "--run", str(toy.parent / "ahead"), "--no-baselines", *ahead),
    )
    tasks["script"] = ("load_and_score", (str(trained),))
    tasks["eval"] = ("command", ("eval", str(trained), "--drop", "image", "--json"))
    tasks["bad data"] = ("command", ("eval", str(trained), "--set", f"data.shards={bad_shards}"))
    tasks["refused"] = ("command", ("train", str(toy), "--run", str(trained)))
    return two_processes.run(tasks, tmp_path_factory.mktemp("job"), [HERE, HERE.parent, golden_plugin])


def without_some(data: Path, folder: Path) -> dict[str, list[str]]:
    """The training shards with members that the plugin fails on, with an error of its own."""
    shutil.copytree(data / "shards", folder / "shards")
    shards = sorted((folder / "shards").glob("train-*.tar"))
    for shard in shards:
        content = shard.read_bytes()
        for text in LOST.values():
            content = content.replace(text, b"\xff" * len(text))
        shard.write_bytes(content)
    return {"train": [str(shard) for shard in shards]}


def steps_of(results: list[Any]) -> list[Any]:
    assert not any(isinstance(one, str) for one in results), "\n".join(map(str, results))
    return results


@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_papers_steps(name: str, together: dict[str, list[Any]]) -> None:
    found = steps_of(together[name])
    expected = expect(settings(CASES[name]), *found)
    for one in found:  # every process has the same weights and reports the same losses
        assert_same_steps(one.steps, expected)


def test_two_processes_leave_out_what_neither_can_read(
    together: dict[str, list[Any]], golden_data: dict[str, Path]
) -> None:
    found = steps_of(together["left out"])
    lost = [[step.losses.pop("left_out", 0) for step in one.steps] for one in found]
    expected = expect(settings(LEFT_OUT), *found)
    for one in found:
        assert_same_steps(one.steps, expected)
    parts = [[keys for one in found for keys in one.keys[t]] for t in range(6)]
    assert lost[0] == lost[1] == [4 - sum(map(len, keys)) for keys in parts]
    assert () in parts[0] + parts[1]  # a process without any sample
    assert not set(LOST) & {key for step in parts for keys in step for key in keys}
    lines = map(json.loads, (golden_data["gaps"] / "left-out/metrics.jsonl").read_text().splitlines())
    told = [line for line in lines if line["type"] == "unreadable"]
    assert sorted(line["key"] for line in told) == sorted(LOST)
    assert "plugin 'letters' of golden" in told[0]["error"]


def test_the_cases_lack_what_they_should(together: dict[str, list[Any]]) -> None:
    """Some step lacks a modality on one process alone, and some step on both."""
    alone = both = 0
    for keys in zip(*(one.keys for one in together["lacking"]), strict=True):
        having = [{m for part in parts for key in part for m in samples("gaps")[key].inputs} for parts in keys]
        alone += any((m in having[0]) != (m in having[1]) for m in "abc")
    gradients = [set(step.gradients) for step in together["dropout"][0].steps]
    both = sum(not any(name.startswith("a.") for name in names) for names in gradients)
    assert alone
    assert both


def test_two_processes_validate_as_one_and_report_as_one(
    together: dict[str, list[Any]], folders: dict[str, Path], golden_data: dict[str, Path], tmp_path: Path
) -> None:
    data = with_validation(golden_data["gaps"])
    train(write_recipe(tmp_path, settings(CASES["validated"]), data, "surprise"), tmp_path / "run")
    steps_of(together["validated"])
    alone, both = (lines_of(folder / "run") for folder in (tmp_path, folders["validated"]))
    assert len(alone) == len(both) == 6  # three steps, each followed by a validation
    for mine, theirs in zip(alone, both, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-9)


def lines_of(run: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in ("type", "samples_per_second")} for line in lines]


def test_what_two_processes_validate_is_what_the_first_saves(together: dict[str, list[Any]], toy: Path) -> None:
    """Buffers of an encoder that is trained whole, such as a batch norm's, drift apart between processes."""
    assert together["buffers"] == [[5.0] * 3] * 2
    state = load_file(next((toy.parent / "buffers/checkpoints").glob("step-*/adapter.safetensors")))
    (name,) = (name for name in state if name.endswith("running_mean"))
    assert state[name].tolist() == [5.0] * 3


def test_rows_of_both_are_those_of_the_first_then_those_of_the_second(together: dict[str, list[Any]]) -> None:
    first, second = steps_of(together["gathered"])
    assert first == second
    for (n, m), rows in zip(LENGTHS, first, strict=True):
        assert rows == [[100 + 2 * i, 101 + 2 * i] for i in range(n)] + [
            [200 + 2 * i, 201 + 2 * i] for i in range(m)
        ]


def test_who_goes_on_has_the_first_ones_tensors_and_moments(together: dict[str, list[Any]]) -> None:
    first, second = steps_of(together["shared state"])
    assert first == second
    steps = {name: values for name, values in first.items() if name.startswith("step/")}
    assert steps
    assert all(values == [2.0] for values in steps.values())
    moments = [values for name, values in first.items() if name.startswith("exp_avg/")]
    assert len(moments) == len(steps)
    for values in moments:
        assert values == pytest.approx([0.9 * 0.1 + 0.1 * 2] * len(values))


def test_a_streamed_step_counts_the_samples_of_both(together: dict[str, list[Any]]) -> None:
    first, second = steps_of(together["stream"])
    assert len(first["counts"]) == 6
    assert first["counts"] == second["counts"]
    for (n_samples, pairs), *present in zip(first["counts"], first["present"], second["present"], strict=True):
        present_BM = torch.tensor([row for rows in present for row in rows]).long()
        assert n_samples == len(present_BM) == 8
        assert pairs == (present_BM.T @ present_BM).tolist()
    assert not set(first["keys"]) & set(second["keys"]), "two processes read the same shard"


def test_a_script_has_a_model_in_each_process(together: dict[str, list[Any]], trained: Path) -> None:
    alone = json.loads(run("eval", trained, "--drop", "image", "--json"))["scores"]["accuracy"]
    assert together["script"] == [alone, alone]


def test_eval_on_two_processes_gives_the_same_scores(together: dict[str, list[Any]], trained: Path) -> None:
    alone = json.loads(run("eval", trained, "--drop", "image", "--json"))
    (code, printed), (other_code, silent) = together["eval"]
    assert (code, other_code, silent) == (0, 0, "")
    found = json.loads(printed)
    for name in ("n", "n_empty"):
        assert found[name] == alone[name]
    for name in ("accuracy", "f1_macro"):  # mean average precision ranks by the last bits of ties
        assert found["scores"][name] == alone["scores"][name]


def test_bad_data_stops_both(together: dict[str, list[Any]]) -> None:
    (code, told), (other_code, other_told) = together["bad data"]
    assert told.startswith("error: ")
    assert other_told.startswith("error (process 1): ")
    named, other = sorted((told, other_told), key=lambda text: "another process met bad data" in text)
    assert "test-000000.tar: sample 'test-0': image: cannot be decoded" in named  # whose sample it is says so
    assert "another process met bad data" in other
    assert code == other_code == 2


def test_a_refusal_is_told_once_and_stops_both(together: dict[str, list[Any]], trained: Path) -> None:
    (code, told), (other_code, other_told) = together["refused"]
    assert f"error: {trained} holds a run already" in told
    assert "broadcast" not in told + other_told
    assert 0 not in (code, other_code)


def test_the_head_start_is_that_of_one_process(together: dict[str, list[Any]], toy: Path) -> None:
    """Fitted on the first process, from what both encoded, and given to the other."""
    assert all(code == 0 for code, _ in together["ahead"]), together["ahead"]
    ahead = [word for value in AHEAD for word in ("--set", value)]
    run("train", toy, "--run", toy.parent / "ahead-alone", "--no-baselines", *ahead)
    one, two = (
        load_file(toy.parent / name / "checkpoints/step-00000003/adapter.safetensors")
        for name in ("ahead-alone", "ahead")
    )
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, k=key: f"{k}: {m}")
    first, other = (
        json.loads((toy.parent / name / "metrics.jsonl").read_text().splitlines()[0])
        for name in ("ahead-alone", "ahead")
    )
    assert (first["type"], first["step"]) == ("validation", 0)
    assert other == pytest.approx(first)
