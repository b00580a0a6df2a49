"""The launch scripts as far as one machine allows: real torchrun, two processes; a cluster is stood in for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys
import yaml

LAUNCH = Path(__file__).parents[2] / "launch"
TWO_PROCESSES = {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

pytestmark = pytest.mark.slow


@pytest.fixture
def toy(tmp_path: Path, checkpoints: dict[str, Path]) -> Path:
    return toys.make(tmp_path, checkpoints)


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_slurm_saves_before_its_time_is_over_and_goes_on(toy: Path, tmp_path: Path, free_port: int) -> None:
    script(tmp_path / "bin/srun", 'exec "$@"')
    script(tmp_path / "bin/scontrol", f'[ "$1" = show ] && echo localhost || echo "$@" >> {tmp_path}/asked')
    longer = toy.with_name("longer.toml")
    longer.write_text(toy.read_text().replace("epochs = 2", "epochs = 60"))
    environment = os.environ | TWO_PROCESSES
    environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
    environment |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "localhost", "SLURM_NNODES": "1"}
    environment |= {"SLURM_GPUS_ON_NODE": "2", "PORT": str(free_port)}
    command = [LAUNCH / "slurm.sh", longer, tmp_path / "run"]
    last = tmp_path / "run/checkpoints/LAST"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as job:
        while not last.exists():
            assert job.poll() is None
            time.sleep(0.1)
        job.send_signal(signal.SIGUSR1)
        assert job.stderr is not None
        said = job.stderr.read()
    assert job.returncode == 0, said
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    stopped = re.search(r"stopped after step (\d+); saved", said)
    assert stopped, said
    assert last.read_text().strip() == f"step-{int(stopped[1]):08d}"
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert f"from step {stopped[1]}" in again.stdout, again.stderr
    assert last.read_text() == "step-00000120\n"


def test_kubernetes_command_trains_with_what_the_operator_sets(
    toy: Path, tmp_path: Path, free_port: int
) -> None:
    job = yaml.safe_load((LAUNCH / "kubernetes.yaml").read_text())
    pods = job["spec"]["pytorchReplicaSpecs"]
    assert pods["Worker"]["template"] == pods["Master"]["template"]
    (container,) = pods["Master"]["template"]["spec"]["containers"]
    replaced = {"/work/recipe.toml": str(toy), "s3://bucket/runs/first": str(tmp_path / "run")}
    operator = {"PET_NNODES": "1", "PET_NPROC_PER_NODE": "2", "PET_NODE_RANK": "0"}
    operator |= {"PET_MASTER_ADDR": "localhost", "PET_MASTER_PORT": str(free_port)}
    command = [replaced.get(word, word) for word in container["command"]]
    environment = os.environ | TWO_PROCESSES | operator
    done = subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True, text=True)
    assert "Warning" not in done.stderr
    assert (tmp_path / "run/checkpoints/LAST").read_text() == "step-00000004\n"


def test_skypilots_run_trains_with_its_variables(toy: Path, tmp_path: Path, free_port: int) -> None:
    run = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())["run"]
    variables = {"SKYPILOT_NUM_NODES": "1", "SKYPILOT_NODE_RANK": "0", "SKYPILOT_NUM_GPUS_PER_NODE": "2"}
    variables |= {"SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.2", "PORT": str(free_port)}
    variables |= {"RECIPE": str(toy), "RUN": str(tmp_path / "run")}
    subprocess.run(["bash", "-c", run], env=os.environ | TWO_PROCESSES | variables, check=True, timeout=300)
    assert (tmp_path / "run/checkpoints/LAST").read_text() == "step-00000004\n"


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as held:
        held.bind(("localhost", 0))
        return int(held.getsockname()[1])
