"""From a manifest to a data set of shards: check everything, write beside the target, then put it in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from u2a.common.cores import cores
from u2a.common.files import write_text
from u2a.common.terminal import console
from u2a.contract.modality import Preprocessor
from u2a.data.packing.manifest import Manifest, ManifestOptions
from u2a.data.packing.parts import Part
from u2a.data.packing.plan import MAX_PROBLEMS, PackOptions, Plan, plan_rows, planned_rows
from u2a.data.packing.row import Packed, Refused, RowPacker, packed_rows
from u2a.data.packing.sources import RowSource
from u2a.data.packing.staging import PART, SplitJournal, Stage, check_target, staged
from u2a.data.packing.summary import SplitSummary, Summary, describe, odd_data, write_skipped
from u2a.data.preprocessors import build_preprocessors
from u2a.data.shards.dataset import write_dataset
from u2a.data.shards.names import odd_splits
from u2a.data.shards.twins import split_indexes, twin_notes
from u2a.data.shards.writer import SplitWriter
from u2a.errors import U2AError
from u2a.recipe.sections import Recipe
from u2a.recipe.task import TaskSection

#: Fewer rows than this for each worker process are not worth its start.
ROWS_PER_WORKER = 100

Progress = Callable[[int, int], None]
"""Called with the samples dealt with so far and their total."""


def pack_manifest(
    recipe: Recipe,
    manifest: str | Path | Manifest,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
    tell: Callable[[str], None] = lambda note: console.print(f"note: {note}", markup=False),
    reading: ManifestOptions | None = None,
    **how: Any,
) -> Summary:
    """Write the samples of a manifest as a data set for a recipe; equal input gives equal bytes.

    An interrupted packing is continued by the next one of the same files to the same place.

    Args:
        recipe: names the modalities and the classes.
        manifest: see `u2a.data.packing.manifest`; or one that is open, which `reading` does not change.
        out: the folder to make.
        overwrite: replace the data set that `out` holds, once the new one is complete.
        progress: called as samples are written.
        tell: called with what a person should know, a line each; printed on stderr by default.
        reading: how the manifest is read.
        how: fields of `PackOptions`.

    Raises:
        U2AError: every fault of the manifest, one a line; or `out` cannot be used. `out` is as it was.
    """
    target = Path(os.path.realpath(out))
    check_target(target, overwrite)
    options = PackOptions(**how)
    source = manifest
    if not isinstance(source, Manifest):
        source = Manifest(Path(source), read_extensions(recipe), options=reading)
    plan = plan_rows(source, recipe.task, options)
    told = [*source.told(), *plan.rule.told()]
    keys = source.words.keys.copy()
    summary = pack_rows(recipe, source, plan, target, options, overwrite=overwrite, progress=progress)
    if options.part is None:
        told += [*odd_splits(summary), *odd_data(summary, recipe), *twin_notes(split_indexes(target))]
    for note in told:
        tell(note)
    for name, words in keys.items():
        summary.missing_words[name] = words
    return summary


def read_extensions(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """The recipe's modalities and the file extensions that each reads."""
    return {name: recipe.plugins.spec(options.kind).extensions for name, options in recipe.modalities.items()}


def pack_rows(
    recipe: Recipe,
    source: RowSource,
    plan: Plan,
    target: Path,
    options: PackOptions,
    *,
    overwrite: bool,
    progress: Progress,
    finish: Callable[[Path, Summary], None] = lambda folder, summary: None,
) -> Summary:
    """Write planned rows to `target`; `finish` may add reports before the data set is put in place.

    Raises:
        U2AError: undecodable files, files that changed since they were planned, or a full disk.
    """
    packer = RowPacker(
        single_label=recipe.task.kind == "single_label",
        extensions=source.extensions,
        preprocessors=_preprocessors(recipe) if options.check else None,
        recode=options.recode,
        keep_incomplete=options.keep_incomplete,
    )
    stage = None
    number, of = options.part or (1, 1)
    part = Part(whole=plan.digest, number=number, of=of, splits=plan.splits)
    try:
        with staged(target, f"{plan.digest} {number}/{of}", overwrite) as stage:
            work = _Work(source, plan, part, packer, options, stage, progress)
            summary = Summary({name: work.write_split(name) for name in plan.splits if work.rows(name)})
            _write_dataset(stage, source, recipe.task, summary, whole=options.part is None)
            write_skipped(stage.folder, summary)
            if options.part is not None:
                write_text(stage.folder / PART, part.model_dump_json(indent=1) + "\n")
            finish(stage.folder, summary)
    except OSError as error:
        kept = "; run it again to go on from the finished shards" if stage and stage.finished else ""
        reason = f"{error.filename or target}: {error.strerror or error}"
        raise U2AError(f"{reason}; {target} was not changed{kept}") from error
    return summary


def _preprocessors(recipe: Recipe) -> dict[str, Preprocessor]:
    try:
        return build_preprocessors(recipe)
    except U2AError as error:
        raise U2AError(f"{error} (checking every file needs it; --no-check packs without)") from None


@dataclass
class _Work:
    """One packing: where rows come from and where samples go."""

    source: RowSource
    plan: Plan
    part: Part
    packer: RowPacker
    options: PackOptions
    stage: Stage
    progress: Progress
    done: int = 0

    @property
    def total(self) -> int:
        return sum(len(self.rows(name)) for name in self.plan.splits)

    def rows(self, name: str) -> range:
        """The places of a split's rows that are packed here."""
        return self.part.rows(name, self.options.shard_size)

    def write_split(self, name: str) -> SplitSummary:
        """All samples of a split; shards that an earlier run finished stay as they are."""
        journal = self.stage.journal.splits.setdefault(name, SplitJournal())
        summary = SplitSummary(
            skipped=journal.skipped.copy(), absent=journal.absent.copy(), damaged=journal.damaged.copy()
        )
        mine, shards = self.rows(name), self.part.shards(name, self.options.shard_size)
        everything = planned_rows(self.source, self.plan, name)
        rows = everything if len(mine) == self.plan.splits[name] else islice(everything, mine.start, mine.stop)
        for row in islice(rows, journal.rows):
            if row.key not in summary.skipped:
                summary.count(row, tuple(m for m in row.cells if m not in summary.absent.get(row.key, ())))
            self._step()
        covered = journal.rows
        modalities = tuple(self.source.extensions)
        results = packed_rows(rows, self.packer, self._workers())
        with SplitWriter(
            self.stage.folder, name, modalities, self.options.shard_size, journal.entries, shards.start
        ) as writer:
            for result in results:
                covered += 1
                self._add(writer, summary, result, results)
                if len(writer.entries) > len(journal.entries):
                    journal = self._record(name, writer, summary, covered)
                self._step()
        self._record(name, writer, summary, covered)
        summary.bytes = sum(entry.bytes for entry in writer.entries)
        return summary

    def _add(
        self,
        writer: SplitWriter,
        summary: SplitSummary,
        result: Packed | Refused,
        others: Iterator[Packed | Refused],
    ) -> None:
        key = result.row.key
        if isinstance(result, Packed):
            writer.add(key, result.sample, result.members)
            summary.count(result.row, result.sample.present)
            if result.absent:
                summary.absent[key] = result.absent
            if result.damaged:
                summary.damaged[key] = result.damaged
        elif self.options.on_error == "skip":
            summary.skipped[key] = (result.modality, result.reason)
        else:
            rest = islice((other for other in others if isinstance(other, Refused)), MAX_PROBLEMS)
            _raise_refused([result, *rest])

    def _record(self, name: str, writer: SplitWriter, summary: SplitSummary, covered: int) -> SplitJournal:
        found = {"skipped": summary.skipped, "absent": summary.absent, "damaged": summary.damaged}
        journal = SplitJournal(entries=writer.entries.copy(), rows=covered, **found)
        self.stage.journal.splits[name] = journal
        self.stage.save()
        return journal

    def _workers(self) -> int:
        if self.packer.preprocessors is None and not self.packer.recode:
            return 0  # nothing to compute: another process would only be in the way
        most = self.options.workers
        if most is None:
            most = min(cores(), self.total // ROWS_PER_WORKER)
        return most if most > 1 else 0

    def _step(self) -> None:
        self.done += 1
        self.progress(self.done, self.total)


def _raise_refused(refused: Collection[Refused]) -> None:
    more = [f"and more; the first {MAX_PROBLEMS} are shown"] if len(refused) > MAX_PROBLEMS else []
    hint = "no data set was made; --on-error skip leaves such samples out and lists them in skipped.jsonl"
    raise U2AError("\n".join([*map(str, list(refused)[:MAX_PROBLEMS]), *more, hint]))


def _write_dataset(
    stage: Stage, source: RowSource, task: TaskSection, summary: Summary, *, whole: bool
) -> None:
    """dataset.json; none where a part has no samples."""
    journals = stage.journal.splits
    splits = {name: tuple(journals[name].entries) for name in summary if journals[name].entries}
    if whole and (none := [name for name in summary if name not in splits]):
        raise U2AError(
            f"{source.path}: no sample of split {none[0]!r} can be used; skipped.jsonl would name all"
        )
    if splits:
        write_dataset(stage.folder, describe(summary, splits, tuple(source.extensions), task.kind))
