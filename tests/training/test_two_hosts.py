"""Two hosts with a link between them (network namespaces): a training is right or ends in one line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import toys
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
ADDRESSES = ("10.213.77.1", "10.213.77.2")


def ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces that reach each other alone."""
    if shutil.which("ip") is None:
        pytest.skip("needs ip (iproute2) to make network namespaces")
    names = (f"u2a-a-{os.getpid()}", f"u2a-b-{os.getpid()}")
    made = ip("netns", "add", names[0], check=False)
    if made.returncode:
        pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
    try:
        ip("netns", "add", names[1])
        ip("link", "add", "u2a0", "netns", names[0], "type", "veth", "peer", "name", "u2a0", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "u2a0")
            for device in ("lo", "u2a0"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name, check=False)


class Job:
    """A training that both hosts start, each in a folder of its own."""

    def __init__(self, hosts: tuple[str, str], folders: tuple[Path, Path], *words: str) -> None:
        self.hosts, self.folders = hosts, folders
        self.started = []
        for rank, (host, folder) in enumerate(zip(hosts, folders, strict=True)):
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
            torchrun += [f"--node-rank={rank}", f"--master-addr={ADDRESSES[0]}", "--master-port=29411"]
            command = [*torchrun, "-m", "u2a", "--", "train", "toy.toml", "--no-baselines", *words]
            env = {
                **os.environ,
                "GLOO_SOCKET_IFNAME": "u2a0",
                "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
            }
            with (folder / "output").open("w") as output:
                self.started.append(
                    subprocess.Popen(
                        ["ip", "netns", "exec", host, *command],
                        cwd=folder,
                        env=env,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                    )
                )

    def wait(self, seconds: float = 400) -> list[int]:
        ends = time.monotonic() + seconds
        return [process.wait(max(1, ends - time.monotonic())) for process in self.started]

    def outputs(self) -> list[str]:
        return [(folder / "output").read_text() for folder in self.folders]

    def wait_for_step(self, metrics: Path, step: int, seconds: float = 300) -> None:
        for _ in range(int(seconds * 10)):
            if metrics.is_file() and metrics.read_text().count('"train"') >= step:
                return
            time.sleep(0.1)
        pytest.fail("\n".join(self.outputs()))

    def kill(self, rank: int) -> None:
        """Everything that runs on a host, as if its plug were pulled."""
        for pid in ip("netns", "pids", self.hosts[rank]).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def end(self) -> None:
        for rank in (0, 1):
            self.kill(rank)
        for process in self.started:
            process.wait(30)


@pytest.fixture
def folders(tmp_path: Path, checkpoints: dict[str, Path]) -> tuple[Path, Path]:
    """The same recipe and data on each host's own disk."""
    toys.make(tmp_path / "0", checkpoints, counts={"train": 24, "test": 8})
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    return tmp_path / "0", tmp_path / "1"


def alone(folder: Path, *words: str) -> Path:
    command = [sys.executable, "-m", "u2a", "train", "toy.toml", "--no-baselines", "--run", "alone", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "alone"


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["type"] == "train"]


def assert_same(run: Path, reference: Path) -> None:
    assert losses(run) == pytest.approx(losses(reference), rel=1e-4)
    last = sorted(path.name for path in (reference / "checkpoints").glob("step-*"))[-1]
    found, wanted = (load_file(r / "checkpoints" / last / "adapter.safetensors") for r in (run, reference))
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].allclose(tensor, rtol=1e-3, atol=1e-5), name


def test_fresh_and_resumed_where_the_second_host_has_nothing(
    hosts: tuple[str, str], folders: tuple[Path, Path]
) -> None:
    job = Job(hosts, folders, "--run", "run", "--set", "training.epochs=1")
    assert job.wait() == [0, 0], job.outputs()
    shutil.rmtree(folders[1] / "run", ignore_errors=True)
    job = Job(hosts, folders, "--run", "run", "--resume", "--set", "training.epochs=2")
    assert job.wait() == [0, 0], job.outputs()
    alone(folders[0], "--set", "training.epochs=1")
    first = alone(folders[0], "--resume", "--set", "training.epochs=2")
    assert_same(folders[0] / "run", first)


def test_a_link_that_is_cut_for_a_while_costs_time_alone(
    hosts: tuple[str, str], folders: tuple[Path, Path]
) -> None:
    long = ("--set", "training.epochs=40", "--set", "training.patience=0")
    job = Job(hosts, folders, "--run", "run", *long)
    job.wait_for_step(folders[0] / "run" / "metrics.jsonl", 3)
    ip("-n", hosts[1], "link", "set", "u2a0", "down")
    time.sleep(20)
    ip("-n", hosts[1], "link", "set", "u2a0", "up")
    assert job.wait() == [0, 0], job.outputs()
    assert_same(folders[0] / "run", alone(folders[0], *long))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_host_that_dies_ends_the_other_in_one_line(
    killed: int, hosts: tuple[str, str], folders: tuple[Path, Path]
) -> None:
    long = ("--set", "training.epochs=2000", "--set", "training.patience=0")
    job = Job(hosts, folders, "--run", "run", *long)
    job.wait_for_step(folders[0] / "run" / "metrics.jsonl", 3)
    job.kill(killed)
    try:
        code = job.started[1 - killed].wait(120)
    finally:
        job.end()
    said = (folders[1 - killed] / "output").read_text()
    assert code != 0
    assert "lost touch with the others" in said
    assert "--resume" in said
    assert 'File "' not in said.split("lost touch")[0].rpartition("error")[2]
