"""A plugin that no recipe uses changes nothing, whatever its import does to the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from distributions import install, visible

from u2a.cli import main

SOUND = (Path(__file__).parents[1] / "letters_plugin.py").read_text()

#: what the plugin does when it is imported; an expression that shows it; what it is told to have changed
CHANGES = {
    "folder": ("import os; os.chdir('/')", "os.getcwd()", "the working folder"),
    "variable": ("import os; os.environ['CUDA_VISIBLE_DEVICES'] = '7'", "dict(os.environ)", "the environment"),
    "zone": (
        "import os, time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
        "time.tzname",
        "the environment",
    ),
    "shadow": ("import sys; sys.path.insert(0, '/shadow')", "'/shadow' in sys.path[:2]", "sys.path"),
    "finder": ("import sys; sys.meta_path.insert(0, object)", "sys.meta_path[0] is object", "sys.meta_path"),
    "interrupt": (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "str(signal.getsignal(signal.SIGINT))",
        "signal handlers",
    ),
    "alarm": (
        "import signal; signal.signal(signal.SIGTERM, print)",
        "str(signal.getsignal(15))",
        "signal handlers",
    ),
    "umask": ("import os; os.umask(0o777)", "os.umask(0o22)", "the umask"),
    "builtin": (
        "import builtins; builtins.print = builtins._ = None",
        "str(print), '_' in dir(builtins)",
        "built-in",
    ),
    "logging": (
        "import logging; logging.basicConfig(level=0); logging.disable(50)",
        "len(logging.root.handlers), logging.root.level, logging.root.manager.disable",
        "logging",
    ),
    "recursion": ("import sys; sys.setrecursionlimit(5000)", "sys.getrecursionlimit()", "the recursion limit"),
    "hook": ("import sys; sys.excepthook = print", "str(sys.excepthook)", "sys.excepthook"),
    "garbage": ("import gc; gc.disable()", "gc.isenabled()", "the garbage collector"),
    "locale": ("import locale; locale.setlocale(locale.LC_ALL, 'C')", "locale.setlocale(0)", "the locale"),
    "warnings": (
        "import warnings; warnings.simplefilter('error')",
        "('error', None, Warning, None, 0) in warnings.filters",
        "warnings filters",
    ),
    "start": (
        "import multiprocessing; multiprocessing.set_start_method('spawn', force=True)",
        "multiprocessing.get_start_method()",
        "the start method",
    ),
    "timeout": (
        "import socket; socket.setdefaulttimeout(1)",
        "socket.getdefaulttimeout()",
        "timeout of sockets",
    ),
    "decimal": (
        "import decimal; decimal.getcontext().prec = 3",
        "decimal.getcontext().prec",
        "decimal's context",
    ),
    "random": ("import random; random.seed(7)", "random.getstate()[1][:5]", "random's seed"),
    "stdout": ("import os, sys; sys.stdout = open(os.devnull, 'w')", "sys.stdout.name", "sys.stdout"),
    "numpy": ("import numpy; numpy.seterr(all='raise')", "np.geterr()", "numpy's error state"),
    "figures": (
        "import matplotlib; matplotlib.rcParams['font.size'] = 3; matplotlib.use('svg')",
        "matplotlib.rcParams['font.size']",
        "matplotlib's settings",
    ),
    "hooks": (
        "import torch; torch.nn.modules.module.register_module_forward_hook(print)",
        "len(__import__('torch').nn.modules.module._global_forward_hooks)",
        "torch's hooks on every module",
    ),
    "dtype": (
        "import torch; torch.set_default_dtype(torch.float64)",
        "str(torch.get_default_dtype())",
        "default dtype",
    ),
    "device": (
        "import torch; torch.set_default_device('meta')",
        "str(torch.empty(0).device)",
        "default device",
    ),
    "grad": ("import torch; torch.set_grad_enabled(False)", "torch.is_grad_enabled()", "gradient mode"),
    "threads": ("import torch; torch.set_num_threads(7)", "torch.get_num_threads()", "torch's threads"),
    "exact": (
        "import torch; torch.use_deterministic_algorithms(True)",
        "torch.are_deterministic_algorithms_enabled()",
        "deterministic mode",
    ),
    "precision": (
        "import torch; torch.set_float32_matmul_precision('medium')",
        "torch.get_float32_matmul_precision()",
        "matrix precision",
    ),
    "cudnn": (
        "import torch; torch.backends.cudnn.benchmark = True",
        "torch.backends.cudnn.benchmark",
        "cuDNN's flags",
    ),
    "anomaly": (
        "import torch; torch.autograd.set_detect_anomaly(True)",
        "torch.is_anomaly_enabled()",
        "anomaly mode",
    ),
    "autocast": (
        "import torch; torch.set_autocast_enabled('cpu', True)",
        "torch.is_autocast_enabled('cpu')",
        "autocast",
    ),
    "flush": (
        "import torch; torch.set_flush_denormal(True)",
        "torch.tensor(2e-38).div(9).item()",
        "denormal numbers",
    ),
    "kernels": (
        "import torch; torch.backends.cuda.enable_math_sdp(False)",
        "torch.backends.cuda.math_sdp_enabled()",
        "attention kernels",
    ),
    "sharing": (
        "import torch.multiprocessing as m; m.set_sharing_strategy('file_system')",
        "torch.multiprocessing.get_sharing_strategy()",
        "share memory",
    ),
}


def _as_a_terminal() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def values(tmp_path: Path, site: str) -> dict[str, str]:
    """Every probe's value in a fresh process that has loaded the plugins of a folder."""
    code = (
        "import builtins, decimal, gc, json, locale, logging, multiprocessing, os, random, signal\n"
        "import socket, sys, time, warnings\nrandom.seed(3)\n"
        "from u2a.plugins.loading import registry\nfound = registry()\n"
        "import matplotlib, numpy as np, torch, torch.multiprocessing\n"
        "values = {name: repr(eval(probe)) for name, probe in json.loads(sys.argv[1]).items()}\n"
        "notes = {owner.plugin: notes for owner, notes in found.notes.items()}\n"
        "print(json.dumps([values, notes, len(found.failures)]))"
    )
    probes = json.dumps({name: probe for name, (_, probe, _) in CHANGES.items()})
    env = {**os.environ, "PYTHONPATH": site}
    command = [sys.executable, "-c", code, probes]
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, preexec_fn=_as_a_terminal
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found[2] == 0
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The probes without the plugins and with them."""
    site = tmp_path_factory.mktemp("site")
    for name, (line, _, _) in CHANGES.items():
        code = f"{line}\n{SOUND}".replace('name="letters"', f'name="of_{name}"')
        install(site, f"u2a-plugin-{name}", {name: f"plugin_{name}"}, code=code)
    folder = tmp_path_factory.mktemp("folder")
    env = os.environ.get("PYTHONPATH", "")
    return values(folder, env), values(folder, os.pathsep.join(filter(None, [env, str(site)])))


@pytest.mark.parametrize("name", CHANGES)
def test_what_an_import_changed_is_put_back_and_told(both, name: str) -> None:
    without, with_it = both
    if name not in ("variable",):  # PYTHONPATH itself differs
        assert with_it[0][name] == without[0][name]
    assert "CUDA_VISIBLE_DEVICES" not in with_it[0]["variable"]
    assert CHANGES[name][2] in " ".join(with_it[1][name])


def test_who_imports_torch_is_told(both) -> None:
    assert [name for name, notes in both[1][1].items() if "imports torch" in str(notes)] == ["anomaly"]


LEAVES = """
import atexit, threading
from atexit import register
threading.Thread(target=threading.Event().wait, name="watcher", daemon=True).start()
def goodbye(): print("goodbye")
def never(): print("never")
register(goodbye)
atexit.register(never)
atexit.unregister(never)
"""


def test_threads_and_exit_functions_are_told_and_print_no_json(tmp_path: Path) -> None:
    install(tmp_path, "u2a-plugin-leaves", {"leaves": "plugin_leaves"}, code=f"{LEAVES}\n{SOUND}")
    command = [sys.executable, "-m", "u2a", "plugins", "list", "--json"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(tmp_path)])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (notes,) = {tuple(row["notes"]) for row in json.loads(done.stdout) if row["plugin"] == "leaves"}
    assert "started a thread when loaded, which goes on (watcher)" in notes
    assert "runs a function when every command ends (goodbye, never)" in notes
    assert "goodbye" in done.stderr
    assert "never" not in done.stderr.replace("(goodbye, never)", "")


RECIPE = """
name = "x"
data = { shards = "shards", workers = 0 }
task = { classes = ["a", "b"] }
[modalities.word]
kind = "letters"
[training]
batch_size = 4
epochs = 1
warmup_epochs = 0
lr = 1e-2
device = "cpu"
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A packed data set of words, with the modality installed."""
    folder = tmp_path_factory.mktemp("words")
    install(folder / "site", "u2a-plugin-letters", {"letters": "plugin_letters_state"}, code=SOUND)
    rows = []
    for number in range(24):
        (folder / f"{number}.abc").write_text(["sea", "boat", "cod", "harbour"][number % 4])
        split = ("train", "train", "val")[number % 3]
        rows.append({"key": str(number), "split": split, "label": "ab"[number % 2], "word": f"{number}.abc"})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "recipe.toml").write_text(RECIPE)
    with visible(folder / "site"):
        command = ["data", "pack", f"{folder}/recipe.toml", "--manifest", f"{folder}/manifest.jsonl"]
        done = CliRunner().invoke(main, [*command, "--out", f"{folder}/shards"])
        assert done.exit_code == 0, done.output
        yield folder


def lines(folder: Path, run: str) -> list[dict[str, float]]:
    done = CliRunner().invoke(main, ["train", f"{folder}/recipe.toml", "--run", f"{folder}/{run}"])
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in (folder / run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "samples_per_second"} for line in found]


def test_a_training_goes_as_if_it_were_not_installed(words: Path, tmp_path: Path) -> None:
    alone = lines(words, "alone")
    line = (
        "import torch, os; torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False); os.chdir('/')"
    )
    code = f"{line}\n{SOUND}".replace('name="letters"', 'name="stranger"')
    install(tmp_path, "u2a-plugin-stranger", {"stranger": "plugin_stranger_state"}, code=code)
    with visible(tmp_path):
        assert lines(words, "beside") == alone
