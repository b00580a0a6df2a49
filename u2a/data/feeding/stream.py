"""Reading shards one after another, for sources without an index (``data.streaming = true``).

Each shard is fetched whole and passes the same strict scan as an indexed one before any of its samples is
used, so what webdataset would swallow (truncation, scattered, duplicate or lost members) is an error here too.
What a stream cannot keep is written in docs/data.md. Shape suffixes: B batch, M modalities in recipe order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import IterableDataset, get_worker_info

from u2a.common.hints import nearest
from u2a.common.remote import download, show
from u2a.common.seeds import rng, stable_seed
from u2a.common.values import nfc
from u2a.contract.modality import Preprocessor
from u2a.contract.paths import is_url
from u2a.data.feeding.batches import Sample
from u2a.data.feeding.unreadable import Failed, failure
from u2a.data.shards.members import Scan
from u2a.data.shards.scan import scan_shard
from u2a.errors import BadSample, PluginError, ShardError, U2AError
from u2a.method.selection import draw_kept, drop_modalities

#: Samples that a loader process holds to shuffle among.
BUFFER = 500


@dataclass(frozen=True)
class RawSample:
    """One sample of a stream: bytes by modality, labels as indices into the recipe's classes, and its place."""

    key: str
    members: Mapping[str, bytes]
    labels: tuple[int, ...]
    where: str


@dataclass(frozen=True)
class StreamOptions:
    """What a stream reads and how; picklable.

    Attributes:
        addresses: all shards of the split; each reading process takes its part.
        sha256: what shards must be, by address, where dataset.json says so.
        batch_size: samples of one micro-batch of one process.
        first: the optimizer step that the stream begins with.
        folder: where a shard from elsewhere lies while it is read.
        train: with augmentation.
    """

    addresses: tuple[str, ...]
    sha256: Mapping[str, str]
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    multi_label: bool
    batch_size: int
    accumulation: int
    first: int
    seed: int
    rank: int
    world: int
    dropout: bool
    folder: Path
    train: bool = True


class StreamedBatches(IterableDataset):
    """Endless micro-batches of one process, as lists of `Sample`, or of one `Failed`."""

    def __init__(self, options: StreamOptions, preprocessors: Mapping[str, Preprocessor]) -> None:
        self.options, self.preprocessors = options, preprocessors

    def __iter__(self) -> Iterator[list[Sample | Failed]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        try:
            yield from self._batches(worker, workers)
        except U2AError as error:
            yield [Failed(error)]

    def _batches(self, worker: int, workers: int) -> Iterator[list[Sample | Failed]]:
        options = self.options
        mine = options.addresses[options.rank * workers + worker :: options.world * workers]
        if not mine:
            n, readers = len(options.addresses), options.world * workers
            raise ShardError(
                f"data.shards: {n} shards cannot be streamed by {readers} processes (ranks x workers); "
                "set data.workers lower, or make more shards"
            )
        stream, batch = _shuffled(_passes(mine, options), options), worker
        while True:
            raw = [next(stream) for _ in range(options.batch_size)]
            yield self._preprocess(raw, options.first + batch // options.accumulation)
            batch += workers  # the loader takes one batch of each worker in turn

    def _preprocess(self, raw: list[RawSample], t: int) -> list[Sample | Failed]:
        options = self.options
        present_BM = torch.tensor([[name in one.members for name in options.modalities] for one in raw])
        if options.dropout:
            kept_M = torch.tensor(draw_kept(len(options.modalities), options.seed, t))
            present_BM = drop_modalities(present_BM, kept_M)
        return [self._sample(one, tuple(row), t) for one, row in zip(raw, present_BM.tolist(), strict=True)]

    def _sample(self, raw: RawSample, present: tuple[bool, ...], t: int) -> Sample | Failed:
        examples = {}
        for name, here in zip(self.options.modalities, present, strict=True):
            if here:
                seed = stable_seed("augment", self.options.seed, t, raw.key)
                try:
                    examples[name] = self.preprocessors[name](
                        raw.members[name], train=self.options.train, seed=seed
                    )
                except (BadSample, PluginError, MemoryError) as error:
                    return failure(error, -1, raw.where, raw.key, name)
        return Sample(-1, raw.key, examples, present, raw.labels)


def _shuffled(samples: Iterator[RawSample], options: StreamOptions) -> Iterator[RawSample]:
    from webdataset.filters import _shuffle

    draw = rng("stream buffer", options.seed, options.first, options.rank)
    return _shuffle(samples, bufsize=BUFFER, initial=BUFFER, rng=draw)


def _passes(addresses: Sequence[str], options: StreamOptions) -> Iterator[RawSample]:
    """Pass after pass over the shards, each in another order."""
    number = 0
    while True:
        order = list(addresses)
        rng("stream", options.seed, options.first, options.rank, number).shuffle(order)
        found = False
        for address in order:
            for sample in read_shard(address, options):
                found = True
                yield sample
        if not found:
            wanted = ", ".join(options.modalities)
            raise ShardError(f"{len(order)} shards: no sample has any of the recipe's modalities ({wanted})")
        number += 1


def read_shard(address: str, options: StreamOptions) -> Iterator[RawSample]:
    """A shard's samples in order, after all of it was fetched and checked.

    Raises:
        ShardError: it cannot be read or trusted, or a sample does not fit the recipe.
    """
    class_ids = {nfc(name): number for number, name in enumerate(options.classes)}
    with _local(address, options.folder) as path:
        try:
            scan = scan_shard(path)
        except ShardError as error:
            raise ShardError(str(error).replace(str(path), show(address))) from None
        if scan.sha256 != options.sha256.get(address, scan.sha256):
            raise ShardError(
                f"{show(address)}: is not the shard that dataset.json lists; pack or copy it again"
            )
        names = list(scan.classes)
        with open(path, "rb") as stream:
            for i in range(len(scan)):
                start = scan.key_ends[i - 1] if i else 0
                key = scan.keys[start : scan.key_ends[i]].decode()
                where = f"{Path(show(address)).name}: sample {key!r}"
                labels = _labels(scan, i, names, class_ids, options, where)
                members = {}
                for name in options.modalities:
                    if name in scan.spans and scan.spans[name][0][i] >= 0:
                        stream.seek(scan.spans[name][0][i])
                        members[name] = stream.read(scan.spans[name][1][i])
                if not members:
                    continue  # it has other modalities than the recipe's
                yield RawSample(key, members, labels, where)


def _labels(
    scan: Scan, i: int, names: list[str], class_ids: Mapping[str, int], options: StreamOptions, where: str
) -> tuple[int, ...]:
    found = [names[n] for n in scan.label_ids[scan.label_ends[i - 1] if i else 0 : scan.label_ends[i]]]
    if not scan.labelled[i]:
        raise ShardError(f"{where}: has no label")
    for name in found:
        if nfc(name) not in class_ids:
            raise ShardError(
                f"{where}: label {name!r} is not one of the recipe's classes{nearest(name, class_ids)}"
            )
    if not options.multi_label and len(found) != 1:
        raise ShardError(f"{where}: has {len(found)} labels, but task.kind = single_label wants one")
    return tuple(class_ids[nfc(name)] for name in found)


@contextmanager
def _local(address: str, folder: Path) -> Iterator[Path]:
    if not is_url(address):
        yield Path(address)
        return
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(tempfile.NamedTemporaryFile(dir=folder, prefix="stream-", suffix=".tar"))
            download(address, Path(file.name))
        except OSError as error:
            raise ShardError(
                f"{folder}: cannot hold {show(address)}: {error.strerror}; set data.cache_dir"
            ) from None
        yield Path(file.name)
