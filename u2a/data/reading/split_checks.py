"""What `u2a.data.reading.split.open_split` checks of each shard before any compute.

Shape suffixes: S samples of a shard, M modalities in recipe order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from u2a.common.hints import nearest
from u2a.common.remote import beside, file_size, show
from u2a.common.values import nfc
from u2a.contract.paths import is_url
from u2a.data.shards.dataset import ShardEntry
from u2a.data.shards.index import IndexInfo, ShardIndex, index_path
from u2a.data.shards.index_checks import check_index
from u2a.data.shards.labels import named, names_of
from u2a.data.storage.cache import Cache
from u2a.errors import ShardError


def check_shard(
    address: str, entry: ShardEntry | None, index_address: str | None, *, verify: bool, cache: Cache
) -> ShardIndex:
    """Open a shard's index and compare it with the shard and with dataset.json."""
    if is_url(index_address or address):
        place = cache.index(index_address or beside(address, ".idx"), entry.index if entry else None)
    else:
        place = Path(index_address) if index_address else index_path(Path(address))
    if is_url(address):
        index = ShardIndex(show(address), place)
        size = file_size(address)
        if size not in (None, index.info.bytes):
            raise ShardError(f"{show(address)}: has {size} bytes, but {index.info.bytes} when it was indexed")
    else:
        index = ShardIndex(Path(address), place)
        index.check_shard(Path(address), verify=verify)
    check_index(index)
    if entry and not _agree(entry, index):
        raise ShardError(
            f"{show(address)}: dataset.json and the shard's index disagree; pack the data set again, or index "
            "the shards again with --split"
        )
    return index


def _agree(entry: ShardEntry, index: ShardIndex) -> bool:
    same_index = entry.index is None or entry.index == index.sha256
    return same_index and (entry.sha256, entry.samples) == (index.info.sha256, index.info.samples)


def check_modalities(shard: str, split: str, modalities: Sequence[str], infos: list[IndexInfo]) -> None:
    """Every modality must be known to some shard."""
    held = sorted({name for info in infos for name in info.modalities})
    for name in modalities:
        if name not in held:
            raise ShardError(f"{shard}: no shard of split {split!r} knows {name!r}{nearest(name, held)}")


def presence(index: ShardIndex, modalities: Sequence[str]) -> NDArray[np.bool_]:
    """Bool [S, M] in recipe order; a sample that has other modalities alone has none here."""
    stored_SM = index.array("present")
    present_SM = np.zeros((index.info.samples, len(modalities)), np.bool_)
    for column, name in enumerate(modalities):
        if name in index.info.modalities:
            present_SM[:, column] = stored_SM[:, index.info.modalities.index(name)]
    return present_SM


def check_labels(
    index: ShardIndex, class_ids: dict[str, int], *, multi_label: bool, labelled: bool
) -> NDArray[np.int64]:
    """The recipe's number of each of the shard's classes; names are compared in NFC, ``2.0`` may be ``2``."""
    names = names_of(class_ids)
    found = [named(nfc(name), names) for name in index.info.classes]
    counts_S = np.diff(index.array("label_ends"), prepend=0)
    has_labels_S = index.array("labelled")
    for number, name in enumerate(index.info.classes):
        if found[number] is None:
            place = int(np.flatnonzero(index.array("label_ids") == number)[0])
            row = int(np.searchsorted(index.array("label_ends"), place, side="right"))
            raise ShardError(
                f"{index.shard}: sample {index.key(row)!r}: label {name!r} is not one of the recipe's classes"
                f"{nearest(name, class_ids)}"
            )
    if not multi_label and len(wrong := np.flatnonzero(has_labels_S & (counts_S != 1))):
        row = int(wrong[0])
        raise ShardError(
            f"{index.shard}: sample {index.key(row)!r}: has {counts_S[row]} labels, "
            "but task.kind = single_label wants one"
        )
    if labelled and len(missing := np.flatnonzero(~has_labels_S)):
        raise ShardError(
            f"{index.shard}: sample {index.key(int(missing[0]))!r}: has no label, nor have {len(missing) - 1} "
            "more of this shard; what is trained on or scored needs one: pack those without as their own split"
        )
    return np.array([class_ids[str(name)] for name in found], np.int64)
