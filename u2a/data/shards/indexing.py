"""Writing indexes beside shards, this package's own or made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from u2a.common.cores import cores
from u2a.data.shards.foreign import ForeignReader
from u2a.data.shards.index import IndexInfo, Mapping, check_ours, index_path, write_index
from u2a.data.shards.label_rule import LabelRule
from u2a.data.shards.names import MemberNames
from u2a.data.shards.scan import read_samples
from u2a.errors import ShardError, U2AError


def index_shards(
    shards: Sequence[Path],
    mapping: Mapping | None = None,
    classes: Sequence[str] = (),
    on_shard: Callable[[Path, IndexInfo], None] = lambda shard, info: None,
    *,
    folder: Path | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> list[IndexInfo]:
    """Write an index beside each shard; without a mapping they are this package's own.

    Args:
        shards: tar files.
        mapping, classes: what the person declared about shards made elsewhere.
        on_shard: called as each index is written.
        folder: where the indexes go instead.
        tell: called with what a person should know, a line each.

    Raises:
        ShardError: the first shard that cannot be trusted; those before it have their index.
    """
    paths = _index_paths(shards, folder)
    rule = LabelRule(classes, mapping.numbers if mapping else None)
    left_out: list[str] = []

    def one(shard: Path, path: Path) -> tuple[IndexInfo, list[str]]:
        if mapping is None:
            return write_index(shard, path=path), []
        names = _member_names(mapping)
        reader = ForeignReader(mapping, rule)
        order = tuple(mapping.modalities)
        info = write_index(shard, order, reader=reader, mapping=mapping, names=names, path=path)
        return info, names.left_out

    for path in paths:
        check_ours(path)
    if mapping is not None and mapping.label and classes:
        _decide(shards, mapping, rule)
    infos = []
    with ThreadPoolExecutor(cores()) as pool:
        for shard, (info, names) in zip(shards, pool.map(one, shards, paths), strict=True):
            on_shard(shard, info)
            infos.append(info)
            left_out += names
    for note in (*rule.told(), *_left_out(left_out)):
        tell(note)
    return infos


def _index_paths(shards: Sequence[Path], folder: Path | None) -> list[Path]:
    if folder is None:
        return [index_path(shard) for shard in shards]
    paths = [folder / index_path(shard).name for shard in shards]
    if len(set(paths)) != len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise U2AError(f"{twice}: would be the index of two shards; give each folder's shards an --index-dir")
    folder.mkdir(parents=True, exist_ok=True)
    return paths


def _member_names(mapping: Mapping) -> MemberNames:
    return MemberNames(mapping.ignored, bool(mapping.last_dot))


def _decide(shards: Sequence[Path], mapping: Mapping, rule: LabelRule) -> None:
    """Look at all labels before any index is written: what numbers are shows in all of them together."""
    reader = ForeignReader(mapping, rule, look=True)
    for shard in shards:
        for _ in read_samples(shard, reader, _member_names(mapping)):
            pass
    try:
        rule.decide()
    except ValueError as error:
        raise ShardError(f"{shards[0]}{' ...' * (len(shards) > 1)}: {error}") from None


def _left_out(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(map(repr, names[:3])) + (" ..." if len(names) > 3 else "")
    return [f"{len(names)} files that belong to no sample were left out: {shown}"]
