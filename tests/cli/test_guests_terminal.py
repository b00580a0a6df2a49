"""Any encoding, any width, a terminal or a pipe; numbers are never cut; nonsense settings are named."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from tasks import make_task

from u2a.cli.evaluate import _sweep_table
from u2a.cli.main import main
from u2a.common import streams
from u2a.common.environment import number, whole
from u2a.common.streams import print_table
from u2a.errors import U2AError
from u2a.evaluation.scoring import Scenario

NAMES = ("accuracy", "f1_macro", "map", "balanced_accuracy", "expected_calibration_error", "top3_accuracy")


def scenarios() -> tuple[list[Scenario], Any]:
    complete = {name: 0.1234 + i / 10 for i, name in enumerate(NAMES)}
    found = [
        Scenario(dropped, 12, 0, complete, complete, majority=1 / 3) for dropped in ((), ("left",), ("right",))
    ]
    return found, SimpleNamespace(modalities={"left": None, "right": None}, task=make_task(classes="abc"))


@pytest.mark.parametrize("columns", [None, "20", "40", "80", "120", "300", "0", "-1", "wide"])
@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_no_number_is_cut_or_broken(columns, term, monkeypatch, capsys) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    print_table(*_sweep_table(*scenarios()))
    out = capsys.readouterr().out
    assert "\u2026" not in out
    lines = [line.split() for line in out.splitlines()]
    numbers = [word for line in lines for word in line if re.fullmatch(r"[+-]?\d+(\.\d+)?", word)]
    assert numbers == [*([*(f"{0.1234 + i / 10:.4f}" for i in range(6)), "+0.0000", "12", "0"] * 3), "0.3333"]
    for name in (*NAMES, "n_empty"):
        assert name in out


@pytest.mark.parametrize("columns", ["20", "60", "100"])
def test_no_word_of_a_text_is_cut(columns, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = "a_module_with_a_rather_long_name.that_is_not_there is what the plugin asks for"
    print_table(("name", "what it does", "status"), [("x", text, "a_much_longer_word and some short ones")])
    words = capsys.readouterr().out.split()
    assert sorted(words[5:]) == sorted(
        ["x", *text.split(), "a_much_longer_word", "and", "some", "short", "ones"]
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp437", "utf-8"])
def test_any_encoding_prints_everything(encoding, monkeypatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    streams.prepare_streams()
    print_table(*_sweep_table(*scenarios()))
    print("Größe \u4e2d \U0001f600 \udce9")
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert "0.1234" in text
    assert ("●" if encoding == "utf-8" else "x ") in text
    if encoding == "ascii":
        assert "Gr\\u00f6\\u00dfe \\u4e2d \\U0001f600 \\udce9" in text


def u2a(*words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "u2a", *words]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, check=False)


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "cp1252", "COLUMNS": "60"},
        {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "0"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "20"},
        {"FORCE_COLOR": "1", "COLUMNS": "nonsense", "MPLBACKEND": "nonsense", "U2A_RETRY_SECONDS": "nonsense"},
    ],
    ids=str,
)
def test_commands_print_in_any_terminal(env: dict[str, str]) -> None:
    for words in (["plugins", "list"], ["plugins", "show", "image"], ["--help"]):
        done = u2a(*words, **env)
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
        assert len(done.stdout) > 300
    assert json.loads(u2a("plugins", "list", "--json", **env).stdout.decode("ascii"))


@pytest.mark.parametrize("text", ["30s", "nan", "inf", "-1", "1e999", "0x10", "one"])
def test_nonsense_in_the_environment_is_named(text: str, monkeypatch) -> None:
    monkeypatch.setenv("U2A_RETRY_SECONDS", text)
    with pytest.raises(U2AError, match="the environment variable U2A_RETRY_SECONDS is '"):
        number("U2A_RETRY_SECONDS", 60.0)


def test_settings_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("U2A_RETRY_SECONDS", " 2.5 ")
    assert number("U2A_RETRY_SECONDS", 60.0) == 2.5
    monkeypatch.setenv("U2A_RETRY_SECONDS", "")
    assert number("U2A_RETRY_SECONDS", 60.0) == 60.0
    monkeypatch.setenv("WORLD_SIZE", "2.5")
    with pytest.raises(U2AError, match=r"WORLD_SIZE is '2\.5', not a whole number"):
        whole("WORLD_SIZE", 1)


@pytest.mark.parametrize(("name", "value"), [("RANK", "first"), ("WORLD_SIZE", "0"), ("LOCAL_RANK", "-1")])
def test_nonsense_of_processes_is_refused_by_name(name, value, monkeypatch, tmp_path) -> None:
    from u2a.common.distributed import world

    monkeypatch.setenv(name, value)
    with pytest.raises(U2AError, match=f"the environment variable {name} is '{value}'"), world("cpu"):
        pass


HALF = [
    ({"RANK": "1"}, "RANK is 1 but WORLD_SIZE is not set: how many processes are there?"),
    ({"WORLD_SIZE": "4"}, "WORLD_SIZE is 4 but RANK is not set: which of these processes is this?"),
    ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 of WORLD_SIZE 2: ranks go from 0 to 1"),
    ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1"}, "MASTER_ADDR is not set: where do they meet?"),
    ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, "MASTER_PORT is not set"),
    (
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "99999"},
        "MASTER_PORT is 99999: ports go up to 65535",
    ),
    ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "2"}, "LOCAL_RANK is 2 of 2 processes here"),
    ({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "1"}, "LOCAL_RANK is 1 of 1 processes here"),
    ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"}, "srun started 4 copies of this"),
    ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun started 2 copies of this"),
]
WHOLE = [
    {"RANK": "0"},
    {"WORLD_SIZE": "1"},
    {"RANK": " ", "WORLD_SIZE": ""},
    {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # a batch script, outside of srun
    {"SLURM_STEP_NUM_TASKS": "1"},
    {"SLURM_STEP_NUM_TASKS": "2", "RANK": "0", "WORLD_SIZE": "1"},
]


@pytest.fixture
def nothing_launched(monkeypatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "PMI_")) or name in PLACES:
            monkeypatch.delenv(name)


PLACES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def test_a_port_that_is_none_is_refused_by_name(nothing_launched, monkeypatch) -> None:
    from u2a.common.distributed import world

    together = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "first"}
    for name, value in together.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(U2AError, match="the environment variable MASTER_PORT is 'first'"), world("cpu"):
        pass


@pytest.mark.parametrize(("environment", "says"), HALF)
@pytest.mark.usefixtures("nothing_launched")
def test_half_of_a_launchers_environment_is_refused_by_name(environment, says, monkeypatch) -> None:
    from u2a.common.distributed import world

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(U2AError) as error, world("cpu"):
        pass
    assert says in str(error.value)
    assert "torchrun" in str(error.value)


@pytest.mark.parametrize("environment", WHOLE)
@pytest.mark.usefixtures("nothing_launched")
def test_what_means_one_process_is_one(environment, monkeypatch) -> None:
    from u2a.common.distributed import world

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with world("cpu") as place:
        assert (place.rank, place.size, place.main) == (0, 1, True)


@pytest.mark.usefixtures("nothing_launched")
def test_a_process_that_does_not_know_its_gpu_is_refused_where_there_are_several(monkeypatch) -> None:
    from u2a.common.distributed import alone

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(U2AError, match="LOCAL_RANK is not set: which of the 2 GPUs here is this process's"):
        alone("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # one a pod
    assert alone("cuda").device == torch.device("cuda", 0)


def test_the_options_of_plugins_are_everywhere() -> None:
    for words in (["train"], ["eval"], ["recipe", "check"], ["data", "pack"], ["plugins", "list"], ["predict"]):
        text = CliRunner().invoke(main, [*words, "--help"]).output
        assert "--no-plugin NAME" in text
        assert "--plugin FILE" in text
