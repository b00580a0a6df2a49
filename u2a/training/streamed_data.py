"""Training data without an index (``data.streaming = true``): an endless stream, and no plan of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from u2a.common.remote import show
from u2a.contract.paths import is_url
from u2a.data.feeding.batches import Batch, init_worker
from u2a.data.feeding.stream import StreamedBatches, StreamOptions
from u2a.data.feeding.workers import allowed_workers
from u2a.data.preprocessors import encoder_notes
from u2a.data.reading.opening import recipe_cache
from u2a.data.shards.dataset import fingerprint, shard_addresses
from u2a.errors import RecipeError, U2AError
from u2a.evaluation.encoding import Columns, encode_loader
from u2a.method.losses import Counts
from u2a.method.model import U2A
from u2a.recipe.sections import Recipe
from u2a.training.data import TrainingData


@dataclass(frozen=True)
class StreamPlan:
    """All that is known in advance: how many steps are called an epoch."""

    steps_per_epoch: int


class StreamedData(TrainingData):
    """Training batches from an endless stream; validation is on an indexed ``val`` split, if there is one."""

    plan: StreamPlan

    def _open(self) -> None:
        recipe, data, training = self.recipe, self.recipe.data, self.recipe.training
        _check(recipe)
        shards = shard_addresses(data.shards, "train")
        self.addresses = tuple(address for address, _ in shards)
        self.sha256 = {address: entry.sha256 for address, entry in shards if entry is not None}
        places = fingerprint(map(show, self.addresses))  # a signature is no part of the data
        listed = len(self.sha256) == len(
            self.addresses
        )  # by dataset.json, whose word is checked as they are read
        self.fingerprint = fingerprint(self.sha256.values()) if listed else places
        self.also_known_as = (places,)  # by older versions
        assert data.samples_per_epoch is not None
        self.plan = StreamPlan(data.samples_per_epoch // training.batch_size)
        if not self.plan.steps_per_epoch:
            raise RecipeError(f"data.samples_per_epoch: is less than the batch size, {training.batch_size}")
        self._validation, self._places = self._val_split(), None

    @property
    def dropout(self) -> bool:
        """Whether modality dropout is drawn."""
        return self.recipe.training.modality_dropout == "random"

    def notices(self) -> list[str]:
        """What a person should know before the training starts."""
        n, samples = len(self.addresses), self.recipe.data.samples_per_epoch
        lines = [
            f"streaming {n} shards; {samples} samples are called an epoch; none is promised exactly once",
            f"modality dropout {self.recipe.training.modality_dropout}",
        ]
        lines += encoder_notes(self.recipe, self.preprocessors)
        if self._validation is None:
            lines.append("no val split: the last checkpoint is kept, nothing is validated")
        return lines

    def counts(self, t: int, micro_batches: Sequence[Batch]) -> Counts:
        """The global batch's counts: there is no plan to know them from."""
        return self._counted(micro_batches)

    def loader(self, first: int, last: int) -> DataLoader:
        """This process's micro-batches from step `first` on; endless, so that no process runs out."""
        return self._stream(first, train=True)

    def encode_training(
        self, model: U2A, columns: Columns, most: int, only: Sequence[str] = ()
    ) -> list[Tensor]:
        """`encode_columns` of the stream's first samples: an epoch's, or `most` if that is less."""
        samples = self.recipe.data.samples_per_epoch or 0
        size = self.recipe.training.batch_size // self.recipe.training.accumulation
        n_batches = max(1, min(most, samples) // size)
        found, unreadable = encode_loader(
            model, self._stream(0, train=False), n_batches, self.recipe.task, self.place, columns
        )
        self.told("train", unreadable)
        if not len(found[-1]):
            raise U2AError(f"train: none of the samples can be read; the first: {unreadable[0]}")
        return found

    def _stream(self, first: int, *, train: bool) -> DataLoader:
        training, task, place = self.recipe.training, self.recipe.task, self.place
        options = StreamOptions(
            addresses=self.addresses,
            sha256=self.sha256,
            modalities=tuple(self.recipe.modalities),
            classes=task.classes,
            multi_label=task.kind == "multi_label",
            batch_size=training.batch_size // (training.accumulation * place.size),
            accumulation=training.accumulation,
            first=first,
            seed=self.recipe.seed,
            rank=place.rank,
            world=place.size,
            dropout=self.dropout and train,
            folder=recipe_cache(self.recipe).folder,
            train=train,
        )
        remote, workers = any(map(is_url, self.addresses)), allowed_workers(self.workers)
        return DataLoader(
            StreamedBatches(options, self.preprocessors),
            batch_size=None,
            collate_fn=self._collator(),
            num_workers=workers,
            worker_init_fn=init_worker if workers else None,
            multiprocessing_context="spawn" if workers and remote else None,
            pin_memory=place.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),
        )


def _check(recipe: Recipe) -> None:
    data = recipe.data
    if data.samples_per_epoch is None:
        raise RecipeError(
            "data.samples_per_epoch: is required with data.streaming: a stream has no known length"
        )
    if data.holdout is not None:
        raise RecipeError("data.holdout: needs an index; with data.streaming give an indexed val split instead")
    if data.missing and data.missing.rule("train"):
        raise RecipeError("data.missing: a table for train needs an index; make one with: u2a data index")
    if recipe.training.frozen_cache_gb:
        raise RecipeError("training.frozen_cache_gb: needs an index; make one with: u2a data index")
    if recipe.task.class_weights:
        raise RecipeError(
            "task.class_weights: a stream cannot tell in advance how many samples a class has; leave it out, "
            "or make an index with: u2a data index"
        )
    if recipe.training.modality_dropout == "auto":
        raise RecipeError(
            "training.modality_dropout: a stream cannot tell in advance whether samples are complete; "
            "set off, random or exhaustive"
        )
