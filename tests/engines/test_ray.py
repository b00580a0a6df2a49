"""The engine ``ray`` on a cluster of this machine: bit for bit what torchrun and one process give."""

from __future__ import annotations

import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys

pytest.importorskip("ray", reason='Ray is not installed: pip install "u2a[ray]"')
pytestmark = pytest.mark.slow

U2A = (sys.executable, "-m", "u2a")
RAY = ("--engine", "ray", "--workers", "2")
ALONE = {**os.environ, "OMP_NUM_THREADS": "1", "U2A_CACHE": ""}


@pytest.fixture(scope="module", autouse=True)
def two_processors() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a cluster of two processes needs two processors")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 24, "val": 16, "test": 16}
    return toys.make(tmp_path_factory.mktemp("ray"), checkpoints, counts=counts)


@pytest.fixture(scope="module")
def reference(toy: Path) -> Path:
    """Twelve epochs on two processes of torchrun."""
    run = toy.parent / "torchrun"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "u2a", "--"]
    train("torchrun", toy, run, command=[sys.executable, *torchrun])
    return run


def words(toy: Path, run: Path) -> list[str]:
    long = ["--set", "training.epochs=12"]
    return ["train", str(toy), "--run", str(run), "--no-baselines", *long]


def train(how: str, toy: Path, run: Path, *more: str, command: list[str] | None = None) -> str:
    done = subprocess.run(
        [*(command or U2A), *words(toy, run), *more], env=ALONE, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, (how, done.stderr)
    return done.stderr


def assert_same(run: Path, reference: Path) -> None:
    last = Path("checkpoints/step-00000036")
    names = ["adapter.safetensors", "optimizer.safetensors", "adapter.json"]
    assert filecmp.cmpfiles(run / last, reference / last, names, shallow=False) == (names, [], [])
    for pointer in ("BEST", "LAST"):
        assert (run / "checkpoints" / pointer).read_text() == (reference / "checkpoints" / pointer).read_text()
    assert losses(run) == losses(reference)
    assert not list(run.glob(".ray*"))


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["type"] == "train"]


def test_a_training_is_torchruns(toy: Path, reference: Path, tmp_path: Path) -> None:
    said = train("ray", toy, tmp_path / "run", *RAY)
    assert_same(tmp_path / "run", reference)
    assert "epoch 12/12  validation  accuracy" in said
    assert "Warning" not in said
    assert "Ray" not in said


@pytest.mark.parametrize(("how", "rank"), [(signal.SIGKILL, 1), (signal.SIGTERM, 0)])
def test_a_process_that_is_lost_costs_time_alone(
    how: signal.Signals, rank: int, toy: Path, reference: Path, tmp_path: Path
) -> None:
    run, output = tmp_path / "run", tmp_path / "output"
    with output.open("w") as file:
        started = subprocess.Popen([*U2A, *words(toy, run), *RAY], env=ALONE, stdout=file, stderr=file)
    try:
        metrics = run / "metrics.jsonl"
        while not (metrics.is_file() and len(losses(run)) >= 4):
            assert started.poll() is None, output.read_text()
            time.sleep(0.1)
        os.kill(process_of(started.pid, rank), how)
        assert started.wait(400) == 0, output.read_text()
    finally:
        started.kill()
    assert_same(run, reference)
    said = output.read_text()
    assert "from step " in said
    if how == signal.SIGTERM:
        assert "; saved; continue with" in said


def process_of(driver: int, rank: int) -> int:
    """The process of a rank, among those that this driver's cluster started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if not (entry / "cmdline").read_bytes().startswith(b"ray::RayTrainWorker"):
                continue
            if driver in ancestors(int(entry.name)):
                found.append(int(entry.name))
        except OSError:  # it ended meanwhile
            continue
    return sorted(found)[rank]


def ancestors(pid: int) -> list[int]:
    above = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        above.append(pid)
    return above


def test_a_users_mistake_is_one_line_and_is_not_tried_again(toy: Path, tmp_path: Path) -> None:
    command = [*U2A, *words(toy, tmp_path / "run"), "--set", "training.batch_size=96", *RAY]
    done = subprocess.run(command, env=ALONE, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 3, done.stderr  # each process's, and the command's
    assert "batch_size" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    command = [*U2A, *words(toy, tmp_path / "run"), "--engine", "ray", "--workers", "9999"]
    done = subprocess.run(command, env=ALONE, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--workers 9999: the Ray cluster has CPUs for" in done.stderr


def test_predictions_and_packings_are_one_processs(toy: Path, reference: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (toy.parent / "manifest.jsonl").read_text().splitlines()]
    del rows[3]["text"]
    manifest = toy.parent / "many.jsonl"
    rows = [{**row, "key": f"{i}-{row['key']}"} for i in range(6) for row in rows]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict = ["predict", str(reference), "--manifest", str(manifest)]
    assert printed(*predict, *RAY) == printed(*predict)
    pack = ["data", "pack", str(toy), "--manifest", str(manifest), "--shard-size", "20"]
    printed(*pack, "--out", str(tmp_path / "alone"))
    printed(*pack, "--out", str(tmp_path / "ray"), *RAY)
    names = sorted(os.listdir(tmp_path / "alone"))
    assert filecmp.cmpfiles(tmp_path / "alone", tmp_path / "ray", names, shallow=False) == (names, [], [])


def printed(*command: str) -> bytes:
    done = subprocess.run([*U2A, *command], env=ALONE, capture_output=True, check=True, timeout=300)
    return done.stdout


def test_a_sweep_of_eight_keeps_the_grids_best(toy: Path, tmp_path: Path) -> None:
    """Rates too small to learn anything end early; what is trained to its end is the grid's to the bit."""
    rates = "1e-2,8e-3,6e-3,4e-3,1e-6,1e-7,1e-8,1e-9"
    sweep = ["sweep", str(toy), "--seeds", "0", "--grid", f"training.lr={rates}", "--json"]
    sweep += ["--set", "training.epochs=6"]
    raced = json.loads(printed(*sweep, "--out", str(tmp_path / "ray"), *RAY))
    whole = json.loads(printed(*sweep, "--out", str(tmp_path / "grid")))
    assert len(whole["cells"]) == 8
    assert 1 <= len(raced["cells"]) < 8
    scores = {cell["values"]["training.lr"]: cell["patterns"] for cell in whole["cells"]}
    for cell in raced["cells"]:
        assert cell["patterns"] == scores[cell["values"]["training.lr"]]
    ended = [path.parts[-3] for path in (tmp_path / "ray").glob("*/seed-0/ended-early")]
    assert len(ended) == 8 - len(raced["cells"])
    best = max(whole["cells"], key=lambda cell: cell["patterns"][0]["mean"]["accuracy"])
    kept = {cell["values"]["training.lr"] for cell in raced["cells"]}
    top = best["patterns"][0]["mean"]["accuracy"]
    assert max(scores[rate][0]["mean"]["accuracy"] for rate in kept) == top
