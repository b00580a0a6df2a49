"""What a training reads, and what it is validated on, whether its shards have an index or are streamed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from u2a.common.distributed import World, default_workers, sum_over_processes
from u2a.common.seeds import stable_seed
from u2a.data.feeding.batches import Batch, Collator
from u2a.data.feeding.unreadable import Told
from u2a.data.preprocessors import build_preprocessors
from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split, split_names
from u2a.errors import RecipeError
from u2a.evaluation.encoding import Columns, encode_columns, encode_split
from u2a.evaluation.validation import Validation, judge
from u2a.method.losses import Counts
from u2a.method.model import U2A
from u2a.recipe.sections import Recipe


def by_group(groups_N: np.ndarray, losses_N: Tensor) -> Tensor:
    """What each group adds to the total: an equal share, and how far its samples are from the mean.

    So the deviation of these over G groups, times the root of G, is the total's standard error where samples of
    one group err together, and a loss that is higher by as much in every sample is higher by as much in every
    group, however uneven these are.
    """
    numbers, place_N = np.unique(groups_N, return_inverse=True)
    share_G = (losses_N.sum() / len(numbers)).expand(len(numbers))
    return share_G.index_add(0, torch.from_numpy(place_N), losses_N - losses_N.mean())


class Planned(Protocol):
    """How much of the data is called an epoch."""

    @property
    def steps_per_epoch(self) -> int: ...


class TrainingData(ABC):
    """Batches to train on, and validation on the ``val`` split, if there is one.

    Attributes:
        plan: how many steps an epoch has.
        fingerprint, also_known_as: the identity of the training data, and what older versions called it.
        class_weights: what each class counts in the task loss; None where all count alike.
        alone: modalities whose training samples are wanted by themselves as well (`Batch.alone`).
        told: is told which samples could not be read, wherever data is encoded.
    """

    plan: Planned
    fingerprint: str
    also_known_as: tuple[str, ...] = ()
    class_weights: Tensor | None = None
    alone: tuple[str, ...] = ()
    told: Told = staticmethod(lambda split, samples: None)
    _validation: Split | None
    _places: np.ndarray | None

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

    @abstractmethod
    def _open(self) -> None:
        """Set `plan`, `fingerprint`, ``_validation`` and the places of it that are judged (None: all)."""

    @abstractmethod
    def notices(self) -> list[str]:
        """What a person should know before the training starts."""

    @abstractmethod
    def loader(self, first: int, last: int) -> DataLoader:
        """This process's micro-batches of the steps from `first` up to `last`, or without an end."""

    @abstractmethod
    def counts(self, t: int, micro_batches: Sequence[Batch]) -> Counts:
        """The counts of step `t`'s global batch, of which `micro_batches` are this process's part."""

    @abstractmethod
    def encode_training(
        self, model: U2A, columns: Columns, most: int, only: Sequence[str] = ()
    ) -> list[Tensor]:
        """`encode_columns` of at most so many training samples, drawn from the seed if there are more.

        Args:
            only: the modalities that `columns` looks at; where that saves work, no other is read.
        """

    def is_steady(self, name: str) -> bool:
        """Whether training sees the same of a modality's samples in every epoch."""
        return False

    @property
    def identities(self) -> dict[str, str | None]:
        """What each process must have the same of, by what people call it."""
        return {
            "set of training samples": self.fingerprint,
            "set of validation samples": self.validation_fingerprint,
        }

    @property
    def validation_fingerprint(self) -> str | None:
        """The identity of what is validated on; None where nothing is."""
        return None if self._validation is None else self._validation.fingerprint

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
        judged = judge(model, encoded, task)
        if judged.losses_N is None or self._groups is None:
            return judged
        return replace(judged, losses_N=by_group(self._groups[encoded.place_N.numpy()], judged.losses_N))

    @cached_property
    def _groups(self) -> np.ndarray | None:
        """`Split.groups` of the validation samples: those of one group err together."""
        return None if self._validation is None else self._validation.groups()

    def encode_validation(self, model: U2A, columns: Columns, most: int) -> list[Tensor] | None:
        """`encode_columns` of at most so many validation samples; None where there are none."""
        if self._validation is None:
            return None
        places = np.arange(len(self._validation)) if self._places is None else self._places
        return self._encode(model, self._validation, places, columns, most)

    def _encode(
        self,
        model: U2A,
        split: Split,
        places: np.ndarray,
        columns: Columns,
        most: int,
        only: Sequence[str] = (),
    ) -> list[Tensor]:
        if only:
            wanted_M = np.isin(split.modalities, only)
            places = places[(split.present_NM[places] & wanted_M).any(1)]
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
            only=only,
        )
        self.told(split.name, unreadable)
        return found

    def _val_split(self) -> Split | None:
        return evaluation_split(self.recipe, "val") if "val" in split_names(self.recipe.data.shards) else None

    def _collator(self, alone: Sequence[str] = ()) -> Collator:
        task = self.recipe.task
        multi_label = task.kind == "multi_label"
        n_classes = len(task.classes)
        return Collator(self.preprocessors, n_classes, multi_label=multi_label, skip=self.skip, alone=alone)
