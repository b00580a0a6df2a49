"""One of two processes that do a list of tasks together, one after another; `run` starts both.

Each task joins a process group of its own, as under torchrun. What it returns, or the error that it met, is
pickled for the test.
"""

from __future__ import annotations

import os
import pickle
import random
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from processes import Python

Task = tuple[str, tuple[Any, ...]]
"""The name of a function below, and its arguments."""


def run(tasks: dict[str, Task], folder: Path, paths: Sequence[Path]) -> dict[str, list[Any]]:
    """Do the tasks on two processes; what each returned on either, by name.

    Args:
        paths: folders that the processes import from.
    """
    (folder / "tasks.pickle").write_bytes(pickle.dumps((tasks, _free_ports(len(tasks)))))
    started = []
    for rank in range(2):
        place = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2}
        path = os.pathsep.join([*map(str, paths), os.environ.get("PYTHONPATH", "")])
        env = {**{k: str(v) for k, v in place.items()}, "PYTHONPATH": path}
        started.append(Python(__file__, folder, env=env))
    ended = [process.wait(300) for process in started]
    assert all(one.returncode == 0 for one in ended), "\n".join(one.stderr[-3000:] for one in ended)
    return {name: [pickle.loads((folder / f"{name}-{r}").read_bytes()) for r in range(2)] for name in tasks}


def _free_ports(n: int) -> list[int]:
    """Ports that are free now and that nobody is handed meanwhile: below those of the kernel's own choice."""
    found = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 10 * n):
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
    return found[:n]


def golden_steps(recipe: str, folder: str) -> Any:
    """`golden.train` as one of two processes."""
    import golden

    from u2a.common.distributed import world

    with world("cpu") as place:
        trained = golden.train(Path(recipe), Path(folder), place)
    trained.trainer = None  # which cannot be pickled
    return trained


def command(*words: str) -> tuple[int, str]:
    """A u2a command; its exit status and what it printed."""
    from click.testing import CliRunner

    from u2a.cli.main import main

    result = CliRunner().invoke(main, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def on_own_disk(folders: Sequence[str], words: Sequence[Sequence[str]]) -> tuple[int, str]:
    """A u2a command in a folder of this process's own, with words of its own, as on machines of their own."""
    rank = int(os.environ["RANK"])
    before = os.getcwd()
    os.chdir(folders[rank])
    try:
        return command(*words[rank])
    finally:
        os.chdir(before)


def load_and_score(run: str) -> float:
    """What a user's script does: a model of its own in each process."""
    import u2a

    return u2a.load(run).evaluate(drop=["image"]).scores["accuracy"]


def train_and_load(recipe: str, run: str) -> list[float]:
    """What `u2a.train` hands to a script on each process, where the first takes its time to save; the bias."""
    import time

    import u2a
    from u2a.runs import checkpoint

    save = checkpoint.save_checkpoint

    def slowly(*args: Any, **how: Any) -> Any:
        time.sleep(1)
        return save(*args, **how)

    checkpoint.save_checkpoint = slowly
    try:
        return u2a.train(recipe, run=run).network.head.bias.tolist()
    finally:
        checkpoint.save_checkpoint = save


def buffers(recipe: str, folder: str) -> list[float]:
    """Train an encoder that is trained whole, with another buffer on each process; the buffer after."""
    from dataclasses import replace

    import torch

    from u2a.common.distributed import world
    from u2a.recipe.file import load_recipe
    from u2a.runs.folder import Run
    from u2a.training import trainer as module

    with world("cpu") as place:
        build = module.build_model

        def trained_whole(*args: Any, **how: Any) -> Any:
            model = build(*args, **how)
            branch = next(model.each_branch())
            branch.spec = replace(branch.spec, tune="full")
            branch.backbone.register_buffer("running_mean", torch.full((3,), 5.0 + place.rank))
            return model

        module.build_model = trained_whole
        try:
            trainer = module.Trainer(load_recipe(recipe), Run(folder), place)
        finally:
            module.build_model = build
        if place.main:
            trainer.run.create(trainer.recipe)
        trainer.fit()
        return next(trainer.model.each_branch()).backbone.running_mean.tolist()


def out_of_step(recipe: str, folder: str) -> str:
    """The error that a process meets whose fellow stands at another step."""
    from u2a.common.distributed import world
    from u2a.errors import U2AError
    from u2a.recipe.file import load_recipe
    from u2a.runs.folder import Run
    from u2a.training.trainer import Trainer

    with world("cpu") as place:
        trainer = Trainer(load_recipe(recipe), Run(folder), place)
        trainer.done = place.rank
        try:
            trainer._next(iter(trainer.data.loader(trainer.done, trainer.total)))
        except U2AError as error:
            return str(error)
    return ""


def gathered(lengths: Sequence[tuple[int, int]]) -> list[list[list[int]]]:
    """Every process's rows, of as many as it has by its rank, on this process."""
    import torch

    from u2a.common.distributed import gather_rows, world

    with world("cpu") as place:
        own = [100 * (place.rank + 1) + torch.arange(2 * pair[place.rank]).view(-1, 2) for pair in lengths]
        return [gather_rows(rows, place).tolist() for rows in own]


def shared_state(recipe: str) -> dict[str, list[float]]:
    """Learned tensors and optimizer state after the first process, which alone took steps, has shared its."""
    import torch

    from u2a.common.distributed import world
    from u2a.recipe.file import load_recipe
    from u2a.runs.build import build_model
    from u2a.runs.checkpoint import adapter_state, learnable, optimizer_state
    from u2a.training.agreement import share_state

    with world("cpu") as place:
        model = build_model(load_recipe(recipe))
        parameters = [parameter for _, parameter in learnable(model)]
        optimizer = torch.optim.AdamW(parameters, lr=0.1)
        for number in range(2 if place.main else 0):
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, 1.0 + number)
            optimizer.step()
        share_state(model, optimizer, place)
        state = {**adapter_state(model), **optimizer_state(model, optimizer)}
        return {name: tensor.detach().flatten().tolist() for name, tensor in state.items()}


def streamed(recipe: str, folder: str) -> dict[str, Any]:
    """A streamed training: this process's presence and counts at every step, and the keys it read."""
    from u2a.common.distributed import world
    from u2a.recipe.file import load_recipe
    from u2a.runs.folder import Run
    from u2a.training.trainer import Trainer

    with world("cpu") as place:
        trainer = Trainer(load_recipe(recipe), Run(folder), place)
        if place.main:
            trainer.run.create(trainer.recipe)
        counted, seen = trainer.data.counts, {"present": [], "counts": [], "keys": []}

        def watched(t: int, micro_batches: Sequence[Any]) -> Any:
            counts = counted(t, micro_batches)
            seen["present"].append([row for batch in micro_batches for row in batch.present_BM.tolist()])
            seen["counts"].append((counts.samples, counts.pairs_MM.tolist()))
            seen["keys"] += [key for batch in micro_batches for key in batch.keys]
            return counts

        trainer.data.counts = watched
        trainer.fit()
        return seen


def main(folder: Path) -> None:
    tasks, ports = pickle.loads((folder / "tasks.pickle").read_bytes())
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    for (name, (function, args)), port in zip(tasks.items(), ports, strict=True):
        os.environ["MASTER_PORT"] = str(port)
        try:
            result = globals()[function](*args)
        except Exception:
            result = traceback.format_exc()
        (folder / f"{name}-{os.environ['RANK']}").write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
