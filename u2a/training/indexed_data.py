"""What a training reads: the training split by plan, and what it is validated on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from u2a.common.distributed import World, default_workers, sum_over_processes
from u2a.common.seeds import stable_seed
from u2a.data.feeding.batches import Batch, Collator, Samples, make_loader
from u2a.data.feeding.held_out import held_out
from u2a.data.feeding.plan import TrainingBatches, TrainingPlan
from u2a.data.feeding.prefetch import PrefetchedBatches
from u2a.data.feeding.unreadable import Told
from u2a.data.preprocessors import build_preprocessors, preprocessor_notes
from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split, split_names
from u2a.data.shards.names import odd_splits
from u2a.errors import RecipeError
from u2a.evaluation.encoding import Columns, encode_columns, encode_split
from u2a.evaluation.validation import Validation, judge
from u2a.method.losses import Counts, balanced_weights
from u2a.method.model import U2A
from u2a.recipe.sections import Recipe
from u2a.training.gaps import class_counts, gaps


class TrainingData:
    """The training plan, its loader, and validation on the ``val`` split or a seeded hold-out, if any."""

    #: Fingerprints that older versions gave the same training data.
    also_known_as: tuple[str, ...] = ()
    #: Is told which samples could not be read, wherever data is encoded.
    told: Told = staticmethod(lambda split, samples: None)

    def __init__(self, recipe: Recipe, place: World) -> None:
        self.recipe, self.place = recipe, place
        training = recipe.training
        if training.batch_size % (training.accumulation * place.size):
            raise RecipeError(
                f"training.batch_size: {training.batch_size} is not divisible by "
                f"{place.size} processes x accumulation {training.accumulation}"
            )
        self.preprocessors = build_preprocessors(recipe)
        self.skip = recipe.data.on_error == "skip"
        self.workers = recipe.data.workers if recipe.data.workers is not None else default_workers(place)
        self._open()

    def _open(self) -> None:
        self.train = evaluation_split(self.recipe, "train")
        self.fingerprint = self.train.fingerprint
        self._held_N, self._twins = held_out(self.train, self.recipe)
        self._validation, self._places = self._choose_validation()
        used = self.train.present_NM[~self._held_N]
        self.n_incomplete = int((~used.all(1)).sum())
        self.plan = TrainingPlan(
            self.train.present_NM,
            self.train.shard_sizes,
            use_N=~self._held_N,
            batch_size=self.recipe.training.batch_size,
            seed=self.recipe.seed,
            dropout=self.dropout,
        )

    @property
    def dropout(self) -> bool:
        """Whether modality dropout is drawn (``auto``: only if every training sample is complete)."""
        mode = self.recipe.training.modality_dropout
        return mode == "random" or (mode == "auto" and self.n_incomplete == 0)

    @cached_property
    def class_weights(self) -> Tensor | None:
        """What each class counts in the task loss; None where all count alike."""
        task = self.recipe.task
        if task.class_weights is None:  # a stream never has any
            return None
        used_N = ~self._held_N
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
        lines += preprocessor_notes(self.preprocessors)
        if self._twins:
            lines.append(f"hold-out of {int(self._held_N.sum())} samples; twins and groups are kept together")
        lines += odd_splits(split_names(self.recipe.data.shards))
        if self._validation is None:
            lines.append("no val split and no data.holdout: the last checkpoint is kept, nothing is validated")
        return lines

    @property
    def validation_fingerprint(self) -> str | None:
        """The identity of what is validated on; None where nothing is."""
        return None if self._validation is None else self._validation.fingerprint

    def loader(self, first: int, last: int) -> DataLoader:
        """This process's micro-batches of the steps from `first` up to `last`."""
        batches = TrainingBatches(
            self.plan, first, last, self.place.rank, self.place.size, self.recipe.training.accumulation
        )
        remote = self.train.remote_shards()
        return make_loader(
            Samples(self.train, self.preprocessors, train=True),
            PrefetchedBatches(batches, self.train.cache, remote) if remote else batches,
            self._collator(),
            workers=self.workers,
            pin_memory=self.place.device.type == "cuda",
        )

    def counts(self, t: int, micro_batches: Sequence[Batch]) -> Counts:
        """The counts of step `t`'s global batch: known from the plan, unless samples may be left out of it."""
        return self._counted(micro_batches) if self.skip else self.plan.step(t).counts

    def _counted(self, micro_batches: Sequence[Batch]) -> Counts:
        """The global batch's counts where presence is known only now: all processes add theirs."""
        present_BM = torch.cat([batch.present_BM for batch in micro_batches]).to(self.place.device)
        own = Counts.of(present_BM)
        flat = torch.cat([own.pairs_MM.flatten(), own.pairs_MM.new_tensor([own.samples])])
        total = sum_over_processes(flat, self.place)
        return Counts(int(total[-1]), total[:-1].view_as(own.pairs_MM).cpu())

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on."""
        return self._validation is not None

    def validate(self, model: U2A) -> Validation | None:
        """Judge the validation samples with the presence they have; None where there are none."""
        if self._validation is None:
            return None
        task = self.recipe.task
        encoded = encode_split(
            model,
            self._validation,
            self.preprocessors,
            task,
            self.place,
            places=self._places,
            workers=self.workers,
            skip=self.skip,
        )
        self.told(self._validation.name, encoded.unreadable)
        return judge(model, encoded, task)

    def encode_training(self, model: U2A, columns: Columns, most: int) -> list[Tensor]:
        """`encode_columns` of at most so many training samples, drawn from the seed if there are more."""
        return self._encode(model, self.train, np.flatnonzero(~self._held_N), columns, most)

    def encode_validation(self, model: U2A, columns: Columns, most: int) -> list[Tensor] | None:
        """`encode_columns` of at most so many validation samples; None where there are none."""
        if self._validation is None:
            return None
        places = np.arange(len(self._validation)) if self._places is None else self._places
        return self._encode(model, self._validation, places, columns, most)

    def _encode(
        self, model: U2A, split: Split, places: np.ndarray, columns: Columns, most: int
    ) -> list[Tensor]:
        if len(places) > most:
            draw = np.random.default_rng(stable_seed("tokens", self.recipe.seed))
            places = np.sort(draw.permutation(places)[:most])
        found, unreadable = encode_columns(
            model,
            split,
            self.preprocessors,
            self.recipe.task,
            self.place,
            columns,
            places=places,
            workers=self.workers,
            skip=self.skip,
        )
        self.told(split.name, unreadable)
        return found

    def _choose_validation(self) -> tuple[Split | None, np.ndarray | None]:
        if self.recipe.data.holdout is not None:
            return self.train, np.flatnonzero(self._held_N)
        if "val" in split_names(self.recipe.data.shards):
            return evaluation_split(self.recipe, "val"), None
        return None, None

    def _collator(self) -> Collator:
        task = self.recipe.task
        multi_label = task.kind == "multi_label"
        return Collator(self.preprocessors, len(task.classes), multi_label=multi_label, skip=self.skip)
