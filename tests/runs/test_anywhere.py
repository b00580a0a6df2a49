"""A trained model called from wherever people call it: threads, daemons, notebooks, servers, other groups."""

from __future__ import annotations

import json
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import processes
import pytest
import tiny
import torch
import toys

import u2a
from u2a.errors import U2AError
from u2a.runs import checkpoint
from u2a.runs.folder import Run

SAMPLES = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    """A run of two text modalities of different lengths over one encoder, and a picture."""
    recipe = toys.make(tmp_path_factory.mktemp("run"), checkpoints, counts={"train": 8, "test": SAMPLES})
    u2a.train(recipe, run=recipe.parent / "run", sets=["training.epochs=1"])
    return recipe.parent / "run"


@pytest.fixture(scope="module")
def short(run: Path) -> Path:
    """The same recipe with shorter texts: another run that shares the encoders."""
    u2a.train(
        run.parent / "toy.toml",
        run=run.parent / "short",
        sets=["training.epochs=1", "modalities.text.max_length=4"],
    )
    return run.parent / "short"


def python(code: str | Path, *args: str, **environment: str) -> str:
    words = [code] if isinstance(code, Path) else ["-c", code]
    done = processes.python(*words, *args, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def samples(n: int) -> list[dict[str, object]]:
    pictures = [tiny.image_bytes(tiny.picture(seed=seed)) for seed in range(4)]
    words = "a small red boat in the old town".split()  # noqa: SIM905
    rows = [{"image": pictures[i % 4], "text": " ".join(words[: 1 + i % 8] * (1 + i % 3))} for i in range(n)]
    return [{k: v for k, v in row.items() if i % 5 != 3 or k != "image"} for i, row in enumerate(rows)]


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_threads_predict_what_one_thread_predicts(run: Path, short: Path, count: int) -> None:
    models, inputs = [u2a.load(run), u2a.load(short)], samples(40)
    wanted = [[model.predict(one).probabilities for one in inputs] for model in models]
    filters = list(warnings.filters)

    def work(i: int) -> bool:
        return models[i % 2].predict(inputs[i % 40]).probabilities == wanted[i % 2][i % 40]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(count)))
    assert warnings.filters == filters


@pytest.mark.slow
def test_memory_stays_flat(run: Path) -> None:
    model, inputs = u2a.load(run), samples(40)
    for i in range(400):
        model.predict(inputs[i % 40])
    tracemalloc.start()
    for i in range(10_000):
        model.predict(inputs[i % 40])
    assert tracemalloc.get_traced_memory()[0] < 200_000
    tracemalloc.stop()


def test_models_may_be_loaded_by_several_threads(run: Path, short: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(u2a.load, [run, short] * 2))
    one = samples(1)[0]
    assert (
        models[0].predict(one).probabilities
        == models[2].predict(one).probabilities
        == u2a.load(run).predict(one).probabilities
    )


SCRIPT = """import multiprocessing
multiprocessing.set_start_method({method!r}, force=True)
import u2a
print("main script")
print(u2a.load({run!r}, sets=["data.workers=1"]).evaluate().n)
"""


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_scripts_need_no_main_guard(run: Path, tmp_path: Path, method: str) -> None:
    """As Python starts processes by itself on macOS and from 3.14 on."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(method=method, run=str(run)))
    assert python(script).split("\n") == ["main script", str(SAMPLES)]


def test_an_unguarded_script_whose_workers_need_it_is_told_about_the_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, torch\n"
        "multiprocessing.set_start_method('spawn', force=True)\n"
        "from u2a.data.feeding.batches import reading\n"
        "from u2a.errors import U2AError\n"
        "class Mine(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, i): return i\n"
        "try:\n"
        "    with reading(torch.utils.data.DataLoader(Mine(), num_workers=1)) as batches:\n"
        "        list(batches)\n"
        "except U2AError as error:\n"
        "    print(error)\n"
    )
    said = python(script)
    assert 'put what the script does under `if __name__ == "__main__":`' in said
    assert "memory" not in said


def _evaluate(run: str, pipe) -> None:
    pipe.send(u2a.load(run, sets=["data.workers=2"]).evaluate().n)


def test_a_daemonic_process_reads_without_workers(run: Path) -> None:
    """As Celery's and django-q's are."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_evaluate, args=(str(run), theirs), daemon=True
    )
    process.start()
    assert ours.poll(120)
    assert ours.recv() == SAMPLES
    process.join()


@pytest.mark.slow
def test_a_process_group_of_the_caller_is_used_and_left(run: Path, tmp_path: Path) -> None:
    """As accelerate and Lightning make theirs."""
    script = tmp_path / "group.py"
    script.write_text(
        "import sys, torch, torch.distributed as dist, u2a\n"
        "dist.init_process_group('gloo')\n"
        f"print(len(u2a.load({str(run)!r}).predict({{'text': 'the sea'}}).labels))\n"
        f"print(u2a.evaluate({str(run)!r}).n)\n"
        "one = torch.ones(1); dist.all_reduce(one); print(int(one))\n"
    )
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run([sys.executable, *launcher], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(done.stdout.split()) == sorted(["1", str(SAMPLES), "2"] * 2)


@pytest.mark.slow
def test_a_notebook(run: Path, tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [
        f"import u2a\nmodel = u2a.load({str(run)!r}, sets=['data.workers=1'])",
        "print(len(model.predict({'text': 'the sea'}).probabilities), model.evaluate().n)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    code = (
        "import nbformat, nbclient, sys\n"
        f"notebook = nbformat.reads({nbformat.writes(notebook)!r}, as_version=4)\n"
        "nbclient.NotebookClient(notebook, timeout=200).execute()\n"
        "print(notebook.cells[1].outputs[0].text)\n"
    )
    assert nbclient is not None
    assert python(code, JUPYTER_PLATFORM_DIRS="1", IPYTHONDIR=str(tmp_path)).split() == ["4", str(SAMPLES)]


SERVER = """import asyncio, json, sys, uvicorn, u2a
model = u2a.load({run!r})
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    text = (await receive()).get("body", b"").decode()
    found = await asyncio.to_thread(model.predict, {{"text": text}})
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": json.dumps(found.as_dict()).encode()}})
uvicorn.run(app, port={port}, log_level="error", lifespan="off")
"""


@pytest.mark.slow
def test_a_uvicorn_worker(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "server.py").write_text(SERVER.format(run=str(run), port=port))
    server = subprocess.Popen([sys.executable, str(tmp_path / "server.py")])

    def ask(text: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", data=text.encode(), timeout=60) as answer:
            return json.load(answer)

    try:
        _wait_for(port, server)
        texts = ["the sea", "two friends find a small red boat", "an old town"] * 8
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, texts))
    finally:
        server.terminate()
        server.wait()
    model = u2a.load(run)
    for text, answer in zip(texts, answers, strict=True):
        assert answer == model.predict({"text": text}).as_dict()


def _wait_for(port: int, server: subprocess.Popen) -> None:
    last = time.monotonic() + 120
    while time.monotonic() < last:
        assert server.poll() is None
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)


# ------------------------------------------------------------------------------------------- run folders
def test_a_second_training_in_a_run_folder_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from u2a.training import lock

    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.3)
    with lock.training_in(run):
        done = processes.python("-m", "u2a", "train", run, "--resume")
        assert done.returncode == 2
        assert "another training is under way in this run folder" in done.stderr
        with pytest.raises(U2AError, match="another training is under way"):
            u2a.train(run.parent / "toy.toml", run=run, resume=True, sets=["training.epochs=1"])
    u2a.train(run.parent / "toy.toml", run=run, resume=True, sets=["training.epochs=1"])


def test_a_run_is_readable_while_its_checkpoints_are_replaced(run: Path) -> None:
    model = u2a.load(run)
    root, meta = Run(run).checkpoints, dict(model.meta)
    optimizer = torch.optim.AdamW(model.network.parameters())
    stop, failures = threading.Event(), []

    def replace() -> None:
        step = 100
        while not stop.is_set():
            step += 1
            checkpoint.save_checkpoint(root, step, model.network, optimizer, meta, best=True)

    other = u2a.load(run).network
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(60):
            try:
                checkpoint.load_current(root, "BEST", other)
            except U2AError as error:
                failures.append(error)
    finally:
        stop.set()
        writer.join()
    assert not failures


def test_a_checkpoint_that_is_pruned_while_it_is_read_gives_way_to_the_next(run: Path, monkeypatch) -> None:
    model = u2a.load(run)
    root, meta = Run(run).checkpoints, dict(model.meta)
    optimizer = torch.optim.AdamW(model.network.parameters())
    read, steps = checkpoint.load_adapter, iter((5001, 5002))

    def slow(folder: Path, network: torch.nn.Module) -> dict:
        if step := next(steps, None):  # twice, a training is quicker
            checkpoint.save_checkpoint(root, step, model.network, optimizer, meta, best=True)
            assert not folder.exists()
        return read(folder, network)

    monkeypatch.setattr(checkpoint, "load_adapter", slow)
    folder, _ = checkpoint.load_current(root, "BEST", u2a.load(run).network)
    assert folder.name == "step-00005002"


def test_a_checkpoint_that_is_damaged_and_current_is_refused_at_once(run: Path) -> None:
    folder = checkpoint.current(Run(run).checkpoints, "LAST")
    file = folder / "adapter.safetensors"
    kept = file.read_bytes()
    file.write_bytes(kept[:-8])
    try:
        with pytest.raises(U2AError, match="checksum mismatch"):
            u2a.load(run)
    finally:
        file.write_bytes(kept)
