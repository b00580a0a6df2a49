"""Training data with an index: the training split by plan, less what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from u2a.data.feeding.alone import is_steady
from u2a.data.feeding.batches import Batch, Samples, make_loader
from u2a.data.feeding.held_out import held_out
from u2a.data.feeding.lengths import expected_lengths
from u2a.data.feeding.plan import TrainingBatches, TrainingPlan
from u2a.data.feeding.prefetch import PrefetchedBatches
from u2a.data.preprocessors import encoder_notes
from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import split_names
from u2a.data.shards.names import odd_splits
from u2a.errors import BadSample, PluginError
from u2a.evaluation.encoding import Columns
from u2a.method.losses import Counts, balanced_weights
from u2a.method.model import U2A
from u2a.training.data import TrainingData
from u2a.training.gaps import class_counts, gaps

#: Samples that are looked at for one that can be read.
JUDGED = 8


class IndexedData(TrainingData):
    """The training plan and its loader; validation may be on a seeded hold-out."""

    plan: TrainingPlan

    def _open(self) -> None:
        self.train = evaluation_split(self.recipe, "train")
        self.fingerprint = self.train.fingerprint
        self._held_N, self._twins = held_out(self.train, self.recipe)
        held_out_instead = self.recipe.data.holdout is not None
        self._validation = self.train if held_out_instead else self._val_split()
        self._places = np.flatnonzero(self._held_N) if held_out_instead else None
        used = self.train.present_NM[~self._held_N]
        self.n_incomplete = int((~used.all(1)).sum())
        self.plan = TrainingPlan(
            self.train.present_NM,
            self.train.shard_sizes,
            use_N=~self._held_N,
            batch_size=self.recipe.training.batch_size,
            seed=self.recipe.seed,
            dropout=self.dropout,
            length_N=self._lengths(),
        )
        if self.recipe.task.class_weights is not None:
            self.class_weights = self._balanced()

    def _lengths(self) -> np.ndarray | None:
        grouped = self.recipe.training.group_by_length
        return expected_lengths(self.train, self.preprocessors) if grouped else None

    @property
    def dropout(self) -> bool:
        """Whether modality dropout is drawn (``auto``: only if every training sample is complete)."""
        mode = self.recipe.training.modality_dropout
        return mode == "random" or (mode == "auto" and self.n_incomplete == 0)

    def _balanced(self) -> Tensor:
        task, used_N = self.recipe.task, ~self._held_N
        counts = torch.from_numpy(class_counts(self.train, used_N, len(task.classes)))
        return balanced_weights(counts, int(used_N.sum()), multi_label=task.kind == "multi_label")

    def notices(self) -> list[str]:
        """What a person should know before the training starts."""
        mode, n = self.recipe.training.modality_dropout, len(self.train) - int(self._held_N.sum())
        state = "exhaustive" if mode == "exhaustive" else "on" if self.dropout else "off"
        lines = [f"{n} training samples, {self.n_incomplete} with a missing modality"]
        lines.append(f"modality dropout {state} ({mode})")
        if self.class_weights is not None:
            least, most = self.class_weights[self.class_weights > 0].aminmax()
            lines.append(f"class weights from {least:.2g} to {most:.2g} (balanced)")
        lines += [*self.train.notes, *gaps(self.train, ~self._held_N, self.recipe.task.classes)]
        lines += encoder_notes(self.recipe, self.preprocessors)
        if self._twins:
            lines.append(f"hold-out of {int(self._held_N.sum())} samples; twins and groups are kept together")
        lines += odd_splits(split_names(self.recipe.data.shards))
        if self._validation is None:
            lines.append("no val split and no data.holdout: the last checkpoint is kept, nothing is validated")
        elif self._places is None and (copies := self._validation.copies(self.train)):
            lines.append(
                f"{copies} of {len(self._validation)} validation samples are copies of training samples: "
                "what is chosen and calibrated on them is flattered; take them out of one of the splits"
            )
        return lines

    def loader(self, first: int, last: int) -> DataLoader:
        """This process's micro-batches of the steps from `first` up to `last`."""
        batches = TrainingBatches(
            self.plan, first, last, self.place.rank, self.place.size, self.recipe.training.accumulation
        )
        remote = self.train.remote_shards()
        return make_loader(
            Samples(self.train, self.preprocessors, train=True),
            PrefetchedBatches(batches, self.train.cache, remote) if remote else batches,
            self._collator(self.alone),
            workers=self.workers,
            pin_memory=self.place.device.type == "cuda",
        )

    def is_steady(self, name: str) -> bool:
        """Judged by the first sample that can be read."""
        m = self.train.modalities.index(name)
        for i in np.flatnonzero(self.train.present_NM[:, m] & ~self._held_N)[:JUDGED].tolist():
            with suppress(BadSample, PluginError):
                return is_steady(self.preprocessors[name], self.train.members(i, [name])[name])
        return False

    def counts(self, t: int, micro_batches: Sequence[Batch]) -> Counts:
        """The counts of step `t`'s global batch: known from the plan, unless samples may be left out of it."""
        return self._counted(micro_batches) if self.skip else self.plan.step(t).counts

    def encode_training(
        self, model: U2A, columns: Columns, most: int, only: Sequence[str] = ()
    ) -> list[Tensor]:
        """`encode_columns` of at most so many training samples, drawn from the seed if there are more."""
        return self._encode(model, self.train, np.flatnonzero(~self._held_N), columns, most, only)
