"""From a manifest to a data set of shards: check everything, write beside the target, then put it in place."""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from u2a.data.dataset import FILE_NAME, DatasetFile, fingerprint, read_dataset
from u2a.data.files import replacing
from u2a.data.index import index_path
from u2a.data.manifest import Cell, Manifest, Row
from u2a.data.samples import Sample, nearest
from u2a.data.shards import SplitWriter
from u2a.errors import U2AError
from u2a.files import sync_folder
from u2a.plugins import Registry, registry
from u2a.recipe import Recipe, TaskSection

SHARD_SIZE = 1000
MAX_PROBLEMS = 20

Progress = Callable[[int, int], None]
"""Called with the samples written so far and their total."""


@dataclass
class SplitSummary:
    """What a manifest holds of one split; `presence` counts samples by the modalities that they have."""

    samples: int = 0
    unlabelled: int = 0
    bytes: int = 0
    presence: Counter[tuple[str, ...]] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)


Summary = dict[str, SplitSummary]


def pack_manifest(
    recipe: Recipe,
    manifest: str | Path,
    out: str | Path,
    *,
    shard_size: int = SHARD_SIZE,
    overwrite: bool = False,
    plugins: Registry | None = None,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Write the samples of a manifest as a data set for a recipe; equal input gives equal bytes.

    Args:
        recipe: names the modalities and the classes.
        manifest: see `u2a.data.manifest`.
        out: the folder to make.
        shard_size: samples of a shard.
        overwrite: replace the data set that `out` holds, once the new one is complete.
        plugins: where the recipe's modalities come from; the installed ones by default.
        progress: called as samples are written.

    Raises:
        U2AError: every fault of the manifest, one a line; or `out` cannot be used. `out` is as it was.
    """
    target = Path(os.path.realpath(out))
    _check_target(target, overwrite)
    specs = plugins or registry()
    extensions = {name: specs.spec(options.kind).extensions for name, options in recipe.modalities.items()}
    source = Manifest(Path(manifest), extensions)
    summary = check_manifest(source, recipe.task)
    try:
        with _staged(target) as folder:
            _write(folder, source, recipe.task, summary, shard_size, progress)
    except OSError as error:
        raise U2AError(f"{error.filename or target}: {error.strerror or error}; nothing was changed") from error
    return summary


def modalities_without_samples(summary: Summary, recipe: Recipe) -> list[str]:
    """Modalities of the recipe that no sample has: perhaps a misnamed column."""
    held = {name for split in summary.values() for pattern in split.presence for name in pattern}
    return [name for name in recipe.modalities if name not in held]


def check_manifest(source: Manifest, task: TaskSection) -> Summary:
    """Read a whole manifest and count what it holds.

    Raises:
        U2AError: every fault found (at most 20), one a line.
    """
    summary: Summary = defaultdict(SplitSummary)
    problems: list[str] = []
    seen: dict[str, tuple[int, str]] = {}
    for row in source.rows(problems):
        problems += [f"line {row.line}: {fault}" for fault in _row_faults(row, task, seen)]
        seen.setdefault(row.key, (row.line, row.split))
        _count(summary[row.split], row)
        if len(problems) > MAX_PROBLEMS:
            break
    _raise_problems(source.path, problems)
    if not summary:
        raise U2AError(f"{source.path}: holds no samples")
    return dict(summary)


def _row_faults(row: Row, task: TaskSection, seen: dict[str, tuple[int, str]]) -> Iterator[str]:
    if row.key in seen:
        line, split = seen[row.key]
        where = f"line {line}" + ("" if split == row.split else f" (split {split!r}; here {row.split!r})")
        yield f"key {row.key!r} is already on {where}"
    if row.labels is None:
        return
    for label in row.labels:
        if label not in task.classes:
            yield f"label {label!r} is not one of the recipe's classes{nearest(label, task.classes)}"
    if task.kind == "single_label" and len(row.labels) != 1:
        yield f"has {len(row.labels)} labels, but task.kind = single_label wants one"


def _raise_problems(path: Path, problems: Collection[str]) -> None:
    if problems:
        more = [f"and more; the first {MAX_PROBLEMS} are shown"] if len(problems) > MAX_PROBLEMS else []
        shown = [f"{path}: {problem}" for problem in list(problems)[:MAX_PROBLEMS]]
        raise U2AError("\n".join(shown + more))


def _count(split: SplitSummary, row: Row) -> None:
    split.samples += 1
    split.unlabelled += row.labels is None
    split.presence[tuple(row.cells)] += 1
    split.labels.update(row.labels or ())


def _write(
    folder: Path, source: Manifest, task: TaskSection, summary: Summary, shard_size: int, progress: Progress
) -> None:
    total = sum(split.samples for split in summary.values())
    problems: list[str] = []
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(SplitWriter(folder, name, tuple(source.extensions), shard_size))
            for name in summary
        }
        for done, row in enumerate(source.rows(problems), 1):
            writers[row.split].add(row.key, *_sample(row, task))
            progress(done, total)
        _raise_problems(source.path, problems)  # files that changed since the check
    for name, writer in writers.items():
        summary[name].bytes = sum(entry.bytes for entry in writer.entries)
    _write_dataset(folder, source, task, summary, writers)


def _write_dataset(
    folder: Path, source: Manifest, task: TaskSection, summary: Summary, writers: dict[str, SplitWriter]
) -> None:
    names = sorted({label for split in summary.values() for label in split.labels})
    found = DatasetFile(
        modalities=tuple(source.extensions),
        task_kind=task.kind,
        splits={name: tuple(writer.entries) for name, writer in writers.items()},
        classes={c: {name: split.labels[c] for name, split in summary.items()} for c in names},
        fingerprint=fingerprint(entry.sha256 for writer in writers.values() for entry in writer.entries),
    )
    with replacing(folder / FILE_NAME) as stream:
        stream.write(found.model_dump_json(indent=1).encode() + b"\n")
    sync_folder(folder)


def _sample(row: Row, task: TaskSection) -> tuple[Sample, dict[str, bytes]]:
    """The declaration and members of a row; modalities that name the same file share one member."""
    members: dict[str, bytes] = {}
    shared: dict[str, str] = {}
    stored: dict[Path, str] = {}
    for modality, cell in row.cells.items():
        if isinstance(cell.content, Path) and cell.content in stored:
            shared[modality] = stored[cell.content]
            continue
        suffix = f"{modality}.{cell.extension}"
        members[suffix] = _read(row, modality, cell)
        if isinstance(cell.content, Path):
            stored[cell.content] = suffix
    single = task.kind == "single_label" and row.labels is not None
    sample = Sample(
        key=row.key,
        present=tuple(row.cells),
        label=row.labels[0] if single and row.labels else None,
        labels=None if single else row.labels,
        members=shared,
    )
    return sample, members


def _read(row: Row, modality: str, cell: Cell) -> bytes:
    if data := cell.read():
        return data
    raise U2AError(f"line {row.line}: {modality}: {cell.content!r} became empty while it was being packed")


def _check_target(target: Path, overwrite: bool) -> None:
    """Only an absent or empty folder, or a data set and nothing else, may be written over."""
    if not target.exists():
        return
    if not target.is_dir():
        raise U2AError(f"{target}: is not a folder")
    held = {path.name for path in target.iterdir()}
    if not held:
        return
    if FILE_NAME not in held:
        raise U2AError(f"{target}: is not empty and holds no data set; give another folder with --out")
    if not overwrite:
        raise U2AError(f"{target}: already holds a data set; give --overwrite to replace it, or another --out")
    shards = [entry.name for split in read_dataset(str(target)).splits.values() for entry in split]
    ours = {FILE_NAME, *shards, *(index_path(Path(name)).name for name in shards)}
    if strangers := sorted(held - ours):
        raise U2AError(
            f"{target}: --overwrite would delete {strangers[0]!r}, which is not part of the data set"
        )


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place if the block succeeds; else it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    fresh, old = (target.with_name(f".{target.name}.{what}-{mark}") for what in ("packing", "old"))
    fresh.mkdir()
    try:
        yield fresh
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(fresh, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
        sync_folder(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
