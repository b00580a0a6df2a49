"""From samples to batches: what a worker is asked for, what it returns, and how examples are collated.

Shape suffixes: B batch, M modalities in recipe order, C classes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from u2a.common.forked import forking
from u2a.contract.modality import Example, Inputs, Preprocessor
from u2a.data.feeding.alone import Alone
from u2a.data.feeding.pipe import copied, tensors
from u2a.data.feeding.unreadable import Failed, Unreadable, failure
from u2a.data.feeding.workers import allowed_workers, death_of_worker, without_main_script
from u2a.data.reading.split import Split
from u2a.errors import BadSample, PluginError, U2AError

GRACE_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """One sample to read: its place in the split, the modalities to read, and its augmentation's seed."""

    index: int
    present: tuple[bool, ...]
    seed: int


@dataclass(frozen=True)
class Sample:
    """One preprocessed sample; a missing modality is an absent key of `examples`."""

    index: int
    key: str
    examples: Mapping[str, Example]
    present: tuple[bool, ...]
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Batch:
    """What the model sees.

    Attributes:
        inputs: for each modality that any sample has, the collated inputs of its present samples.
        present_BM: bool.
        target: ``[B]`` long, or ``[B, C]`` float for multi-label; empty where the data is unlabelled.
        keys: the samples' keys.
        index_B: long, the samples' places in the split.
        unreadable: the samples that were asked for and left out. A batch may hold nothing else: B = 0.
        alone: for some modalities, each present sample by itself; on the CPU.
    """

    inputs: Mapping[str, Inputs]
    present_BM: Tensor
    target: Tensor
    keys: tuple[str, ...]
    index_B: Tensor
    unreadable: tuple[Unreadable, ...] = ()
    alone: Mapping[str, tuple[Alone, ...]] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Called by the loader so that copies to a GPU need not wait."""
        return self._map(lambda tensor: tensor.pin_memory())

    def __getstate__(self) -> dict[str, Any]:
        return {name: copied(value) for name, value in self.__dict__.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: tensors(value) for name, value in state.items()})

    def _map(self, move: Callable[[Tensor], Tensor]) -> Batch:
        inputs = {
            name: {key: move(value) if isinstance(value, Tensor) else value for key, value in one.items()}
            for name, one in self.inputs.items()
        }
        return replace(self, inputs=inputs, present_BM=move(self.present_BM), target=move(self.target))


class Samples(Dataset):
    """A split read by request: bytes of the wanted modalities, preprocessed. Never raises for bad data."""

    def __init__(self, split: Split, preprocessors: Mapping[str, Preprocessor], *, train: bool) -> None:
        self.split, self.preprocessors, self.train = split, preprocessors, train

    def __getitem__(self, request: Request) -> Sample | Failed:
        try:
            return self._read(request)
        except U2AError as error:
            return Failed(error)

    def _read(self, request: Request) -> Sample | Failed:
        i = request.index
        names = [name for name, present in zip(self.split.modalities, request.present, strict=True) if present]
        members, key, examples = self.split.members(i, names), self.split.key(i), {}
        for name in names:
            try:
                examples[name] = self.preprocessors[name](members[name], train=self.train, seed=request.seed)
            except (BadSample, PluginError, MemoryError) as error:
                return failure(error, i, self.split.where(i), key, name)
        return Sample(i, key, examples, request.present, self.split.labels(i))


class Collator:
    """Samples to one `Batch`; picklable, runs in the workers.

    Args:
        skip: leave samples out that cannot be read, instead of failing with the first.
        alone: the modalities whose samples are wanted by themselves as well.
    """

    def __init__(
        self,
        preprocessors: Mapping[str, Preprocessor],
        n_classes: int,
        *,
        multi_label: bool,
        skip: bool = False,
        alone: Sequence[str] = (),
    ) -> None:
        self.preprocessors, self.n_classes = preprocessors, n_classes
        self.multi_label, self.skip, self.alone = multi_label, skip, alone

    def __call__(self, samples: Sequence[Sample | Failed]) -> Batch | Failed:
        unreadable = []
        for sample in samples:
            if isinstance(sample, Failed):
                if not self.skip or sample.sample is None:
                    return sample
                unreadable.append(sample.sample)
        good = [sample for sample in samples if isinstance(sample, Sample)]
        inputs: dict[str, Inputs] = {}
        alone: dict[str, tuple[Alone, ...]] = {}
        for name, preprocessor in self.preprocessors.items():
            examples = [sample.examples[name] for sample in good if name in sample.examples]
            try:
                inputs |= {name: preprocessor.collate(examples)} if examples else {}
                if examples and name in self.alone:
                    alone[name] = tuple(Alone.of(preprocessor.collate([example])) for example in examples)
            except U2AError as error:
                return Failed(error)
        return Batch(
            inputs,
            torch.tensor([sample.present for sample in good], dtype=torch.bool).view(
                -1, len(self.preprocessors)
            ),
            self._target(good),
            tuple(sample.key for sample in good),
            torch.tensor([sample.index for sample in good], dtype=torch.long),
            tuple(unreadable),
            alone,
        )

    def _target(self, samples: Sequence[Sample]) -> Tensor:
        if self.multi_label:
            target_BC = torch.zeros(len(samples), self.n_classes)
            for b, sample in enumerate(samples):
                target_BC[b, list(sample.labels)] = 1
            return target_BC
        return torch.tensor([label for sample in samples for label in sample.labels], dtype=torch.long)


def make_loader(
    samples: Samples, batches: Any, collate: Collator, *, workers: int, pin_memory: bool = False
) -> DataLoader:
    """A loader over planned batches of `Request`; the batches do not depend on the number of workers."""
    return DataLoader(
        samples,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=(workers := allowed_workers(workers)),
        worker_init_fn=init_worker if workers else None,
        # Clients of object stores run threads, which a forked process must not inherit.
        multiprocessing_context="spawn" if workers and samples.split.remote_shards() else None,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator().manual_seed(0),  # else iterating draws from the global generator
    )


@contextmanager
def reading(loader: DataLoader) -> Iterator[Iterator[Batch | Failed]]:
    """The loader's batches; its workers end with the block, also when an exception holds on to them.

    Raises:
        U2AError: a worker was killed (torch tells of it wherever the block is at that moment).
    """
    with without_main_script(loader), forking():
        batches = iter(loader)
    try:
        yield batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise U2AError(death_of_worker(loader)) from error
    finally:
        if isinstance(batches, _MultiProcessingDataLoaderIter):
            batches._shutdown_workers()


def unwrap(batch: Batch | Failed) -> Batch:
    """The batch, or the error that a worker met."""
    if isinstance(batch, Failed):
        raise batch.error
    return batch


def init_worker(worker: int) -> None:
    """One thread each; interrupts are the main process's to handle, so that it can save first.

    A scheduler may send SIGTERM to every process of a job. A worker then goes on for a while, so that the
    step under way can end, and leaves by itself should the main process not end it.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.alarm(GRACE_SECONDS))
