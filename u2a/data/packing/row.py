"""One row of a manifest to a sample for a shard: read, re-encode, check. Runs in worker processes."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from u2a.common.forked import forking
from u2a.contract.modality import Preprocessor
from u2a.data.packing.sources import Cell, Row
from u2a.data.shards.samples import Sample
from u2a.errors import BadSample, NoContent, PluginError, U2AError, one_line
from u2a.media.partial import noting_losses
from u2a.media.recode import Recode

_LFS = b"version https://git-lfs"
_PREFETCH = 16


@dataclass(frozen=True)
class Packed:
    """A sample ready to be written.

    Attributes:
        absent: modalities that its files turned out not to hold, and why.
        damaged: modalities of which a part was lost, and how much.
    """

    row: Row
    sample: Sample
    members: dict[str, bytes]
    absent: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A sample that cannot be used, and why."""

    row: Row
    modality: str
    reason: str

    def __str__(self) -> str:
        content = self.row.cells[self.modality].content
        place = str(content) if isinstance(content, Path) else f"line {self.row.line}"
        return f"{place}: {self.modality}: {self.reason} (sample {self.row.key!r})"


@dataclass(frozen=True)
class Failed:
    """An error that ends the packing, told by a worker."""

    error: U2AError


@dataclass(frozen=True)
class RowPacker:
    """Turns rows into samples; picklable, never raises for bad data.

    Attributes:
        single_label: whether samples carry one label rather than a list.
        extensions: what each modality reads.
        preprocessors: if given, every member must get through its modality's own.
        recode: what to re-encode.
        keep_incomplete: a file that holds nothing of a modality (no audio stream) makes the modality
            missing, if the sample has another one; otherwise it refuses the sample.
    """

    single_label: bool
    extensions: Mapping[str, tuple[str, ...]]
    preprocessors: Mapping[str, Preprocessor] | None
    recode: Recode
    keep_incomplete: bool

    def __getitem__(self, row: Row) -> Packed | Refused | Failed:
        try:
            return self._pack(row)
        except OSError as error:
            return Failed(U2AError(f"{error.filename or row.key}: {error.strerror or error}"))
        except U2AError as error:
            return Failed(error)

    def _pack(self, row: Row) -> Packed | Refused:
        members: dict[str, bytes] = {}
        names: dict[str, str] = {}  # modality to its member
        stored: dict[Path, str] = {}
        absent: dict[str, str] = {}
        damaged: dict[str, str] = {}
        for modality, cell in row.cells.items():
            try:
                name = stored.get(cell.content) if isinstance(cell.content, Path) else None
                with noting_losses() as losses:  # re-encoding finds them, and leaves none for the check
                    if name is None:
                        extension, member = self._member(row, modality, cell)
                        name = f"{modality}.{extension}"
                    else:
                        member = members[name]
                    self._check(modality, member)
            except NoContent as error:
                absent[modality] = str(error)
                continue
            except (BadSample, PluginError) as error:
                return Refused(row, modality, str(error))
            except MemoryError:
                return Refused(row, modality, "needs more memory than there is to decode")
            if losses:
                damaged[modality] = losses[0]
            members[name], names[modality] = member, name
            if isinstance(cell.content, Path):
                stored[cell.content] = name
        if absent and (not names or not self.keep_incomplete):
            return Refused(row, *next(iter(absent.items())))
        return Packed(row, self._sample(row, names), members, absent, damaged)

    def _sample(self, row: Row, names: Mapping[str, str]) -> Sample:
        single = self.single_label and row.labels is not None
        return Sample(
            key=row.key,
            present=tuple(names),
            label=row.labels[0] if single and row.labels else None,
            labels=None if single else row.labels,
            members={m: name for m, name in names.items() if name.split(".")[0] != m},
            group=row.group,
        )

    def _member(self, row: Row, modality: str, cell: Cell) -> tuple[str, bytes]:
        data = cell.read()
        if not data:
            raise U2AError(
                f"line {row.line}: {modality}: {cell.content!r} became empty while it was being packed"
            )
        if data.startswith(_LFS):
            raise BadSample("is a Git LFS pointer, not the file itself; fetch it with: git lfs pull")
        if not self.recode:
            return cell.extension, data
        sharing = [m for m, other in row.cells.items() if other.content == cell.content]
        allowed = set.intersection(*(set(self.extensions[m]) for m in sharing))
        try:
            return self.recode(cell.extension, data, allowed)
        except U2AError:
            raise
        except Exception as error:  # of a codec, for one file: it must not stop the rest
            reason = one_line(error, 200)
            raise BadSample(f"cannot be re-encoded: {type(error).__name__}: {reason}") from error

    def _check(self, modality: str, member: bytes) -> None:
        if self.preprocessors is not None:
            self.preprocessors[modality](member, train=False, seed=0)


def packed_rows(rows: Iterable[Row], packer: RowPacker, workers: int) -> Iterator[Packed | Refused]:
    """The rows packed, in order, by so many processes (0: in this one).

    Raises:
        U2AError: a file cannot be read, or a worker died.
    """
    for result in map(packer.__getitem__, rows) if not workers else _in_workers(rows, packer, workers):
        if isinstance(result, Failed):
            raise result.error
        yield result


def _in_workers(rows: Iterable[Row], packer: RowPacker, workers: int) -> Iterator[Any]:
    import torch
    from torch.utils.data import DataLoader

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # as many as were asked for
        loader: DataLoader[Any] = DataLoader(
            packer,  # type: ignore[arg-type]
            sampler=rows,  # type: ignore[arg-type]
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            prefetch_factor=_PREFETCH,
            worker_init_fn=_init_worker,
            generator=torch.Generator().manual_seed(0),
        )
        with forking():
            results = iter(loader)
    try:
        yield from results
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise U2AError(
            "a worker process died: too little memory for --workers, or a file that crashes its decoder "
            "(--workers 1 tells which)"
        ) from error


def _as_it_is(result: Any) -> Any:
    return result


def _init_worker(worker: int) -> None:
    """One thread each; an interrupt is the main process's to handle."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Nobody reads what this process sends once the main one is killed: it would hold the lock for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
