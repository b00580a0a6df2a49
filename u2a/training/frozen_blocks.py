"""What the frozen blocks below ``model.adapt_blocks`` give of each sample, kept from one epoch to the next.

Each sample goes through them by itself, whether it is kept or not: so it is the same bits in whatever batch it
comes, after whatever interruption, on however many processes. What is kept is called by the digest of the
sample's inputs and of all that decides what becomes of them; it is read only if its own digest is right.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
import transformers
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from u2a.common.distributed import World
from u2a.contract.modality import Inputs
from u2a.data.feeding.alone import Alone
from u2a.data.feeding.batches import Batch
from u2a.method.branch import Below
from u2a.method.model import U2A
from u2a.recipe.kept import plain
from u2a.recipe.sections import Recipe
from u2a.training.data import TrainingData

FOLDER = "frozen-blocks"
_DIGEST_BYTES = hashlib.sha256().digest_size


class FrozenBlocks:
    """The samples' hidden states behind the frozen blocks, of the modalities that have such blocks.

    Args:
        folder: the run's.

    Attributes:
        names: modalities that take part.
        room: bytes that this process may still write.
    """

    def __init__(self, recipe: Recipe, model: U2A, data: TrainingData, folder: Path, place: World) -> None:
        self.model, self.device, self.folder = model, place.device, folder / FOLDER
        limit = int(recipe.training.frozen_cache_gb * 1e9)
        self.others = dict(_left_out(model, data)) if limit else {}
        self.names = [name for name in model.names if name not in self.others] if limit else []
        data.alone = tuple(self.names)
        self.room = max(0, limit - _bytes(self.folder)) // place.size if self.names else 0
        self._said: list[str] = []
        self._identities = {name: _identity(recipe, model, name, place) for name in self.names}

    def notices(self) -> Iterator[str]:
        """Who takes part, and who does not."""
        if self.names or self.others:
            others = [f"{name} {reason}" for name, reason in self.others.items()]
            kept = ", ".join(self.names) or "no modality"
            yield "; ".join([f"outputs of frozen blocks are kept of {kept}", *others])

    def prepare(self, batch: Batch) -> Batch:
        """The batch, on its device, with the hidden states of its samples."""
        inputs = dict(batch.inputs)
        for name, samples in batch.alone.items():
            rows = [row_LD for one in samples for row_LD in self._hidden(name, one)]
            inputs[name] = cast(Inputs, Below(inputs[name], pad_sequence(rows, batch_first=True)))
        return replace(batch, inputs=inputs, alone={})

    def news(self) -> list[str]:
        """What is to be told of the last steps, each once."""
        said, self._said = self._said, []
        return said

    def discard(self) -> None:
        """Remove what is kept: nothing but a training needs it."""
        if self.names:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _hidden(self, name: str, one: Alone) -> Tensor:
        digest = hashlib.sha256(f"{self._identities[name]} {one.digest}".encode()).hexdigest()
        path = self.folder / digest[:2] / f"{digest[2:]}.safetensors"
        if (kept_NLD := _read(path)) is None:
            kept_NLD = self._compute(name, one)
            self._keep(path, kept_NLD)
        return kept_NLD.to(self.device)

    def _compute(self, name: str, one: Alone) -> Tensor:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # a step draws the same, whatever is kept
            torch.manual_seed(0)
            return self.model.run_below(self.model.names.index(name), one.inputs(self.device)).cpu()

    def _keep(self, path: Path, hidden_NLD: Tensor) -> None:
        content = save({"hidden_NLD": hidden_NLD.contiguous()})
        content += hashlib.sha256(content).digest()
        if self.room < len(content):
            self._end("training.frozen_cache_gb is used up")
            return
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)  # not flushed: what a crash leaves of it is computed anew
            os.replace(part, path)
            self.room -= len(content)
        except OSError as error:  # a full disk is no reason to end a training
            with suppress(OSError):
                part.unlink(missing_ok=True)
            self._end(f"{self.folder}: {error.strerror}")

    def _end(self, why: str) -> None:
        if self.room:
            self._said.append(f"no more outputs of frozen blocks are kept, others are computed anew ({why})")
        self.room = 0


def _left_out(model: U2A, data: TrainingData) -> Iterator[tuple[str, str]]:
    for branch in model.each_branch():
        if not branch.n_frozen:
            yield branch.name, "has no blocks below the adapted ones"
        elif branch.spec.skip_blocks is None:
            yield branch.name, "cannot go on from them (no skip_blocks)"
        elif not data.is_steady(branch.name):
            yield branch.name, "is another input each time (augmentation)"


def _identity(recipe: Recipe, model: U2A, name: str, place: World) -> str:
    """All but a sample that decides what the frozen blocks give."""
    branch = model.branches[model.names.index(name)]
    versions = torch.__version__, transformers.__version__
    kind = recipe.training.precision, place.device.type, branch.n_frozen
    facts = (branch.base, plain(recipe.modalities[name]), str(branch.owner), kind, versions)
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _read(path: Path) -> Tensor | None:
    """What was kept; None where there is nothing, or nothing sound."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    content, digest = whole[:-_DIGEST_BYTES], whole[-_DIGEST_BYTES:]
    return load(content)["hidden_NLD"] if hashlib.sha256(content).digest() == digest else None


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
