"""A data set is made in a folder beside its place, shard by shard, and moved there when it is complete.

An interrupted run leaves that folder with its finished shards and a journal; the same run goes on from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from u2a.common.files import put_folder, write_text
from u2a.data.shards.dataset import FILE_NAME, LOCK_NAME, ShardEntry, read_dataset
from u2a.data.shards.index import index_path
from u2a.data.storage.locks import EXCLUSIVE, NOW, Lock
from u2a.errors import U2AError

JOURNAL = "journal.json"
LOCK = ".lock"
#: What may stand in a data set's folder beside its shards.
SKIPPED, PART = "skipped.jsonl", "part.json"
REPORTS = (SKIPPED, PART, "summary.json", "problems.jsonl", "classes.txt")


class SplitJournal(BaseModel):
    """How far a split has come: finished shards, and the rows of the source that they cover.

    `skipped` are keys of covered rows that were left out, `absent` keys of samples that were packed without
    the modalities named, `damaged` keys of samples that lost a part of one; each with the reason.
    """

    model_config = ConfigDict(extra="forbid")

    entries: list[ShardEntry] = []
    rows: int = 0
    skipped: dict[str, tuple[str, str]] = {}
    absent: dict[str, dict[str, str]] = {}
    damaged: dict[str, dict[str, str]] = {}


class Journal(BaseModel):
    """``journal.json``: the plan that the shards belong to (a digest of all that decides their bytes)."""

    model_config = ConfigDict(extra="forbid")

    plan: str
    splits: dict[str, SplitJournal] = {}


class Stage:
    """The folder in which a data set grows."""

    def __init__(self, folder: Path, plan: str) -> None:
        self.folder = folder
        self.journal = _read_journal(folder, plan)

    def save(self) -> None:
        """Record the shards that are finished."""
        write_text(self.folder / JOURNAL, self.journal.model_dump_json())

    @property
    def finished(self) -> int:
        """Finished shards."""
        return sum(len(split.entries) for split in self.journal.splits.values())

    def clear(self) -> None:
        """Remove what the journal does not know: halves of shards, shards of another plan."""
        entries = [entry.name for split in self.journal.splits.values() for entry in split.entries]
        known = {LOCK, *entries, *(index_path(Path(name)).name for name in entries)}
        if entries:
            known.add(JOURNAL)
        for path in self.folder.iterdir():
            if path.name not in known:
                path.unlink()


def _read_journal(folder: Path, plan: str) -> Journal:
    try:
        journal = Journal.model_validate_json((folder / JOURNAL).read_bytes())
    except (OSError, ValidationError):
        return Journal(plan=plan)
    entries = [entry for split in journal.splits.values() for entry in split.entries]
    whole = all(_size(folder / entry.name) == entry.bytes for entry in entries)
    return journal if journal.plan == plan and whole else Journal(plan=plan)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() and index_path(path).is_file() else -1


@contextmanager
def staged(target: Path, plan: str, overwrite: bool) -> Iterator[Stage]:
    """A `Stage` beside `target` that takes its place if the block succeeds.

    If it fails, finished shards stay for the next run with the same plan.

    Raises:
        U2AError: another process is at it, or what stands at `target` by then may not be replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}.packing")
    with _hold(folder, target) as lock:
        try:
            stage = Stage(folder, plan)
            stage.clear()
            yield stage
            check_target(target, overwrite)  # again: packing takes hours
            shutil.rmtree(put_folder(folder, target), ignore_errors=True)
            for name in (JOURNAL, LOCK):  # not before: a run that is killed until then is continued
                (target / name).unlink(missing_ok=True)
        finally:
            if lock.at(folder / LOCK):  # not in place, nor the next process's folder
                if (folder / JOURNAL).exists():
                    (folder / LOCK).unlink()
                else:
                    shutil.rmtree(folder, ignore_errors=True)


def _hold(folder: Path, target: Path) -> Lock:
    """Make the folder and lock it; one that was put in place or removed meanwhile is made again."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            lock = Lock(folder / LOCK, EXCLUSIVE | NOW)
        except BlockingIOError:
            raise U2AError(f"{target}: another process is packing it") from None
        except FileNotFoundError:
            continue
        if lock.at(folder / LOCK):
            return lock
        lock.close()


def check_target(target: Path, overwrite: bool) -> None:
    """Only an absent or empty folder, or a data set and nothing else, may be written over.

    Raises:
        U2AError: says what stands in the way.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise U2AError(f"{target}: is not a folder")
    held = {path.name for path in target.iterdir()}
    if not held:
        return
    if not held & {FILE_NAME, PART}:
        raise U2AError(f"{target}: is not empty and holds no data set; give another folder with --out")
    if not overwrite:
        raise U2AError(
            f"{target}: already holds a data set; give --overwrite (overwrite=True) to replace it, or another "
            "--out"
        )
    splits = read_dataset(str(target)).splits if FILE_NAME in held else {}  # a part may have no sample at all
    shards = [entry.name for split in splits.values() for entry in split]
    ours = {
        FILE_NAME,
        LOCK_NAME,
        JOURNAL,
        LOCK,
        *REPORTS,
        *shards,
        *(index_path(Path(name)).name for name in shards),
    }
    if strangers := sorted(held - ours):
        raise U2AError(
            f"{target}: --overwrite would delete {strangers[0]!r}, which is not part of the data set"
        )
