"""Metrics and loggers are guests: they measure and write, and change, delay or fail nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributions import install
from tasks import make_task
from torch import Tensor

import u2a
from u2a.contract.blame import Owner
from u2a.errors import PluginError
from u2a.evaluation import metrics
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.training import loggers as module
from u2a.training.loggers import Loggers

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [3.0, 0.0]])
TARGET = torch.tensor([0, 1, 1, 0])
Compute = Callable[[Tensor, Tensor, int], Any]


def with_metric(monkeypatch: pytest.MonkeyPatch, compute: Compute, name: str = "spoil") -> Registry:
    known = Registry()
    known.metrics = replace(registry().metrics, brought=dict(registry().metrics.brought))
    known.metrics.add(Owner("p", "u2a-plugin-p", "2"), u2a.MetricSpec(name, ("single_label",), compute))
    monkeypatch.setattr(metrics, "_told", set())
    return known


def scored(known: Registry | None = None, metric: str | None = None) -> dict[str, float]:
    return metrics.scores(LOGITS, TARGET, make_task(classes="ab", metric=metric, plugins=known))


def raising(error: BaseException) -> Compute:
    def compute(p_NC: Tensor, target: Tensor, n_classes: int) -> float:
        raise error

    return compute


def writing(p_NC: Tensor, target: Tensor, n_classes: int) -> float:
    p_NC[:, 0] = 2.0
    target.zero_()
    return 0.5


def meddling(p_NC: Tensor, target: Tensor, n_classes: int) -> float:
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    os.chdir("/")
    print("hello")
    return 0.5


@pytest.mark.parametrize("headline", [None, "spoil"])
def test_a_metric_that_writes_into_its_arguments_changes_no_other(monkeypatch, headline: str | None) -> None:
    alone = scored()
    logits, target = LOGITS.clone(), TARGET.clone()
    known = with_metric(monkeypatch, writing)
    found = scored(known, headline)
    assert {name: found[name] for name in alone} == alone
    assert found["spoil"] == 0.5
    assert torch.equal(logits, LOGITS)
    assert torch.equal(target, TARGET)


def test_a_metric_that_changes_the_process_is_named_and_undone(monkeypatch, capfd, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    known = with_metric(monkeypatch, meddling)
    state = torch.get_rng_state()
    assert scored(known)["spoil"] == 0.5
    assert (torch.get_default_dtype(), torch.is_grad_enabled(), Path.cwd()) == (torch.float32, True, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    out, err = capfd.readouterr()
    assert out == ""
    text = " ".join(err.split())
    assert "metric 'spoil' (plugin 'p' of u2a-plugin-p 2) changed the working folder" in text
    assert "torch's default dtype" in text


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1, 1.0),
        (np.float32(0.25), 0.25),
        (torch.tensor([[0.5]], requires_grad=True), 0.5),
        (1 + 1e-7, 1 + 1e-7),
        (37.0, "gave 37; a metric is a number in 0..1"),
        (-0.1, "gave -0.1; a metric is a number in 0..1"),
        (float("inf"), "gave inf; a metric is a number in 0..1"),
        ("0.5", "failed: TypeError: it gave '0.5', not a number"),
        (None, "failed: TypeError: it gave None, not a number"),
        (True, "failed: TypeError: it gave True, not a number"),
        ({"value": 0.5}, "failed: TypeError: "),
        (torch.zeros(2), "failed: ValueError: "),
        (1j, "failed: TypeError: "),
    ],
    ids=str,
)
def test_what_a_metric_gives_is_a_number_in_0_to_1_or_named(monkeypatch, capfd, value, wanted) -> None:
    known = with_metric(monkeypatch, lambda p_NC, target, n_classes: value)
    if isinstance(wanted, float):
        assert scored(known, "spoil")["spoil"] == wanted
        return
    with pytest.raises(PluginError, match=r"metric 'spoil' \(plugin 'p' of u2a-plugin-p 2\) ") as caught:
        scored(known, "spoil")
    assert wanted in str(caught.value)
    for _ in range(2):
        assert np.isnan(scored(known)["spoil"])
    assert capfd.readouterr().err.count("it is NaN") == 1


@pytest.mark.parametrize(
    "error", [KeyError("x"), SystemExit(3), GeneratorExit(), RecursionError("deep")], ids=repr
)
def test_a_metric_may_raise_anything(monkeypatch, error: BaseException) -> None:
    known = with_metric(monkeypatch, raising(error))
    assert np.isnan(scored(known)["spoil"])
    with pytest.raises(PluginError, match=f"failed: {type(error).__name__}"):
        scored(known, "spoil")


def test_nan_names_the_plugin_once(monkeypatch, capfd) -> None:
    known = with_metric(monkeypatch, lambda p_NC, target, n_classes: float("nan"))
    assert np.isnan(scored(known, "spoil")["spoil"])
    scored(known)
    assert capfd.readouterr().err == "metric 'spoil' (plugin 'p' of u2a-plugin-p 2) is NaN on 4 samples\n"


class Kept:
    """A logger that keeps what it is given, or does what it is told."""

    def __init__(
        self, *, log: Callable[[Any], object] = lambda values: None, close: Callable[[], object] = int
    ) -> None:
        self.lines: list[tuple[dict[str, float], int, str]] = []
        self.on_log, self.on_close, self.closed = log, close, False

    def log(self, values: Mapping[str, float], step: int, kind: str) -> None:
        self.on_log(values)
        self.lines.append((dict(values), step, kind))

    def close(self, failed: bool) -> None:
        self.on_close()
        self.closed = True


def trained(monkeypatch, *kept: Kept | Callable[..., Any], seconds: float = 20.0) -> list[str]:
    """Three steps with these loggers; returns what was said."""
    known, said = Registry(), list[str]()
    for number, one in enumerate(kept):
        open_ = one if callable(one) else lambda folder, recipe, done, one=one: one
        known.loggers.add(Owner("p", "u2a-plugin-p", "2"), u2a.LoggerSpec(f"logger{number}", open_))
    monkeypatch.setattr(module, "CLOSE_SECONDS", seconds)
    names = [f"logger{number}" for number in range(len(kept))]
    with Loggers(names, Recipe(known), Path(), said.append) as loggers:  # type: ignore[arg-type]
        for step in (1, 2, 3):
            values = {"loss": 1 / step, "epoch": 0}
            loggers.log(values, step, "train")
            assert values == {"loss": 1 / step, "epoch": 0}
    return said


class Recipe:
    def __init__(self, plugins: Registry) -> None:
        self.plugins = plugins

    def resolved(self) -> dict[str, Any]:
        return {"name": "x"}


WRITTEN = [({"loss": 1 / step, "epoch": 0}, step, "train") for step in (1, 2, 3)]


def spoil(values: Any) -> None:
    values["loss"] = -1.0
    values.pop("epoch")


def take_signals(*_: Any) -> Any:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def leave(*_: Any) -> Any:
    raise SystemExit("quota exceeded")


def stop(*_: Any) -> Any:
    raise KeyboardInterrupt


def fail(*_: Any) -> Any:
    raise OSError("the disk\nis full")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (leave, "SystemExit: quota exceeded"),
        (take_signals, "ValueError: signal only works in main thread"),
        (fail, "OSError: the disk is full"),
        (Kept(log=leave), "SystemExit: quota exceeded"),
        (Kept(log=take_signals), "ValueError: signal only works in main thread"),
        (Kept(log=stop), "KeyboardInterrupt"),
        (Kept(close=leave), "SystemExit: quota exceeded"),
        (Kept(close=fail), "OSError: the disk is full"),
        (lambda *_: None, "AttributeError: 'NoneType' object has no attribute"),
    ],
)
def test_a_logger_that_fails_is_named_once_and_left_out(monkeypatch, bad: Any, reason: str) -> None:
    import signal

    before, good = signal.getsignal(signal.SIGINT), Kept()
    said = trained(monkeypatch, bad, good)
    assert len(said) == 1
    assert said[0].startswith(
        "logger 'logger0' (plugin 'p' of u2a-plugin-p 2) failed and is left out: " + reason
    )
    assert (good.lines, good.closed) == (WRITTEN, True)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_one_logger_does_with_its_values_no_other_sees(monkeypatch) -> None:
    good = Kept()
    assert trained(monkeypatch, Kept(log=spoil), good) == []
    assert good.lines == WRITTEN


@pytest.mark.parametrize("when", ["open", "log", "close"])
def test_a_logger_that_waits_for_ever_is_left_behind(monkeypatch, when: str) -> None:
    for_ever = threading.Event()

    def wait(*_: Any) -> Any:
        for_ever.wait()

    bad: Any = {"open": wait, "log": Kept(log=wait), "close": Kept(close=wait)}[when]
    good = Kept()
    said = trained(monkeypatch, bad, good, seconds=0.5)
    for_ever.set()
    assert len(said) == 1
    assert "logger 'logger0' (plugin 'p' of u2a-plugin-p 2) had not finished 0.5 s after" in said[0]
    assert (good.lines, good.closed) == (WRITTEN, True)


def test_one_that_falls_far_behind_is_given_up(monkeypatch) -> None:
    from u2a.training import logger_thread

    monkeypatch.setattr(logger_thread, "WAITING", 1)
    for_ever = threading.Event()
    said = trained(monkeypatch, Kept(log=lambda values: for_ever.wait()), seconds=0.1)
    for_ever.set()
    assert len(said) == 1
    assert "failed and is left out: it is 1 lines behind" in said[0]


THREADS = """
import atexit, threading, time
import u2a


class Server:
    def log(self, values, step, kind):
        pass

    def close(self, failed):
        threading.Thread(target=time.sleep, args=(1000,)).start()
        atexit.register(time.sleep, 1000)


@u2a.hookimpl
def u2a_register_loggers(register):
    register(u2a.LoggerSpec("server", lambda folder, recipe, done: Server()))
"""


@pytest.mark.slow
def test_the_command_ends_whatever_a_logger_leaves_running(tmp_path: Path) -> None:
    sound = (Path(__file__).parents[1] / "letters_plugin.py").read_text()
    install(tmp_path, "u2a-plugin-letters", {"letters": "plugin_letters_ends"}, code=sound)
    install(tmp_path, "u2a-plugin-server", {"server": "plugin_server"}, code=THREADS)
    rows = [{"key": str(i), "split": "train", "label": "ab"[i % 2], "letters": f"{i}.abc"} for i in range(8)]
    for row in rows:
        (tmp_path / row["letters"]).write_text("sea")
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    training = 'batch_size = 4\nepochs = 1\nwarmup_epochs = 0\nlr = 0.1\ndevice = "cpu"\nloggers = ["server"]\n'
    (tmp_path / "recipe.toml").write_text(
        'name = "x"\ndata = { shards = "shards", workers = 0 }\ntask = { classes = ["a", "b"] }\n'
        f"[modalities.letters]\n[training]\n{training}"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    train, pack = ["train", "recipe.toml", "--run", "r"], ["data", "pack", "recipe.toml"]
    for words in ([*pack, "--manifest", "manifest.jsonl"], train):
        command = [sys.executable, "-m", "u2a", *words]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "done; score it with" in done.stdout
    assert (tmp_path / "r/checkpoints/LAST").exists()
