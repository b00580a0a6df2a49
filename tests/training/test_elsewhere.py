"""Runs in an object store: a machine that has nothing else goes on with them, and all they name is whole."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toys
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from servers import object_store

from u2a.cli.main import main
from u2a.common import remote
from u2a.runs.folder import Run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore.*")
MANIFEST = "step-00000004-0123abcd/manifest.json"
OFTEN = ("--set", "training.save_minutes=0.0001")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 20, "val": 8, "test": 8}
    return toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts=counts)


@pytest.fixture(scope="module")
def local(toy: Path) -> Path:
    """The same training in a folder, never interrupted."""
    told(u2a("train", toy, "--run", toy.parent / "local"))
    return toy.parent / "local"


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    with object_store("work") as client:
        yield client


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go to another machine: its cache is its own."""

    def go(name: str) -> None:
        monkeypatch.setenv("U2A_CACHE", str(tmp_path / name))

    monkeypatch.setenv("U2A_RETRY_SECONDS", "0")
    go("one")
    return go


def u2a(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def told(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def keys(store: Any, prefix: str) -> set[str]:
    found = store.list_objects_v2(Bucket="work", Prefix=f"{prefix}/").get("Contents", ())
    return {item["Key"].removeprefix(f"{prefix}/") for item in found}


def tensors(run: Run) -> dict[str, Any]:
    """What LAST holds, in the order of names."""
    folder = run.checkpoints / (run.checkpoints / "LAST").read_text().strip()
    return {
        f"{file} {key}": value.tolist()
        for file in ("adapter", "optimizer")
        for key, value in sorted(load_file(folder / f"{file}.safetensors").items())
    }


def steps(run: Run) -> list[int]:
    return [json.loads(line)["step"] for line in run.metrics_file.read_text().splitlines()]


def test_a_run_in_a_store_is_that_of_a_folder_and_read_anywhere(
    toy: Path, local: Path, store: Any, machine: Callable[[str], None]
) -> None:
    address = "s3://work/runs/whole"
    told(u2a("train", toy, "--run", address))
    found = keys(store, "runs/whole")
    last = store.get_object(Bucket="work", Key="runs/whole/checkpoints/LAST")["Body"].read().decode().strip()
    best = store.get_object(Bucket="work", Key="runs/whole/checkpoints/BEST")["Body"].read().decode().strip()
    names = ("adapter.json", "adapter.safetensors", "optimizer.safetensors", "training.safetensors")
    files = (*names, "manifest.json")
    assert found == {
        "recipe.toml",
        "versions.json",
        "metrics.jsonl",
        "checkpoints/LAST",
        "checkpoints/BEST",
        *(f"checkpoints/{step}/{file}" for step in (last, best) for file in files),
    }
    machine("two")
    assert (
        json.loads(told(u2a("eval", address, "--json")))["scores"]
        == (json.loads(told(u2a("eval", local, "--json")))["scores"])
    )
    assert tensors(Run(address)) == tensors(Run(local))
    again = u2a("train", toy, "--run", address)
    assert again.exit_code == 2
    assert f"{address} holds a run already; go on with it: --resume" in again.output


def test_a_folder_copied_from_the_store_is_a_run(
    toy: Path, local: Path, store: Any, machine: Callable[[str], None], tmp_path: Path
) -> None:
    told(u2a("train", toy, "--run", "s3://work/runs/copied"))
    for key in keys(store, "runs/copied"):
        (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        store.download_file("work", f"runs/copied/{key}", str(tmp_path / "copy" / key))
    assert told(u2a("eval", tmp_path / "copy", "--json")) == (
        told(u2a("eval", local, "--json")).replace(str(local), str(tmp_path / "copy"))
    )


class Gone(BaseException):
    """The machine is taken away."""


def test_a_machine_that_has_nothing_goes_on_to_the_bit(
    toy: Path, local: Path, store: Any, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first machine goes away while it sends the second epoch's checkpoint: half of it is there."""
    address, sent = "s3://work/runs/taken", []
    upload = remote.upload

    def failing(source: Path, target: str) -> None:
        sent.append(target)
        if sum(one.endswith("/adapter.safetensors") for one in sent) == 2:
            raise Gone
        upload(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(remote, "upload", failing)
        with pytest.raises(Gone):
            u2a("train", toy, "--run", address)
    halves = {key.split("/")[1] for key in keys(store, "runs/taken") if key.startswith("checkpoints/step")}
    assert len(halves) == 2
    machine("two")
    assert "from step 2 of 4" in told(u2a("train", address, "--resume"))
    assert tensors(Run(address)) == tensors(Run(local))
    steps = [json.loads(line).get("step") for line in Run(address).metrics_file.read_text().splitlines()]
    assert steps == [
        json.loads(line).get("step") for line in (local / "metrics.jsonl").read_text().splitlines()
    ]
    machine("one")  # comes back, and is behind
    assert u2a("train", address, "--resume").exit_code == 0
    assert tensors(Run(address)) == tensors(Run(local))
    left = {key.split("/")[1] for key in keys(store, "runs/taken") if key.startswith("checkpoints/step")}
    assert left <= {
        store.get_object(Bucket="work", Key=f"runs/taken/checkpoints/{pointer}")["Body"].read().decode().strip()
        for pointer in ("LAST", "BEST")
    }


def test_a_store_that_is_away_costs_no_training(
    toy: Path, local: Path, store: Any, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "s3://work/runs/away"
    with monkeypatch.context() as patch:
        patch.setattr(remote, "_options", lambda scheme: {"endpoint_url": "http://127.0.0.1:9"})
        # At the beginning it was there, and empty.
        patch.setattr(remote, "fetch_if_there", lambda address: None)
        result = u2a("train", toy, "--run", address)
    assert result.exit_code == 2
    assert "cannot be written" in result.output
    assert "is sent with the next checkpoint" in result.output
    assert f"u2a train {address} --resume" in result.output
    assert keys(store, "runs/away") == set()
    told(u2a("train", address, "--resume"))
    machine("two")
    assert json.loads(told(u2a("eval", address, "--json")))["n"] == 8
    assert tensors(Run(address)) == tensors(Run(local))


def test_a_run_that_was_removed_there_is_begun_anew(
    toy: Path, store: Any, machine: Callable[[str], None]
) -> None:
    address = "s3://work/runs/removed"
    told(u2a("train", toy, "--run", address))
    for key in keys(store, "runs/removed"):
        store.delete_object(Bucket="work", Key=f"runs/removed/{key}")
    gone = u2a("eval", address)
    assert gone.exit_code == 2
    assert f"{address}: not a run folder" in gone.output
    assert "from step" not in told(u2a("train", toy, "--run", address, "--set", "training.epochs=1"))
    assert "recipe.toml" in keys(store, "runs/removed")


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("LAST", "../../../home", "not the name of a checkpoint"),
        ("LAST", "step-00000004-0123abcd", "manifest.json: no such file"),
        (
            "step-00000004-0123abcd/manifest.json",
            '{"files": {"../recipe.toml": ""}}',
            "files outside the checkpoint",
        ),
        ("step-00000004-0123abcd/manifest.json", "[]", "not a checkpoint of u2a"),
    ],
)
def test_what_is_no_run_is_refused_and_leaves_its_folder_alone(
    store: Any, machine: Callable[[str], None], tmp_path: Path, key: str, text: str, message: str
) -> None:
    for name, body in {"LAST": "step-00000004-0123abcd", key: text}.items():
        store.put_object(Bucket="work", Key=f"strange/checkpoints/{name}", Body=body.encode())
    result = u2a("eval", "s3://work/strange")
    for name in {"LAST", key}:
        store.delete_object(Bucket="work", Key=f"strange/checkpoints/{name}")
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.rglob("recipe.toml"))


def test_addresses_that_are_not_known_are_refused(toy: Path) -> None:
    result = u2a("train", toy, "--run", "ssh://host/run")
    assert result.exit_code == 2
    assert "ssh:// is not a supported address" in result.output


@pytest.mark.slow
def test_kill_9_and_another_machine(
    toy: Path, store: Any, machine: Callable[[str], None], tmp_path: Path
) -> None:
    """A real process that is killed in the middle of an epoch; the next machine ends as an undisturbed one."""
    longer, address = ("--set", "training.epochs=60"), "s3://work/runs/killed"
    command = [sys.executable, "-m", "u2a", "train", str(toy), "--run", address, *longer, *OFTEN]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while "checkpoints/LAST" not in keys(store, "runs/killed"):
            assert process.poll() is None
            time.sleep(0.1)
        time.sleep(1)
        process.kill()
    machine("two")
    assert "from step" in told(u2a("train", address, "--resume"))
    told(u2a("train", toy, "--run", tmp_path / "whole", *longer))
    assert tensors(Run(address)) == tensors(Run(tmp_path / "whole"))
