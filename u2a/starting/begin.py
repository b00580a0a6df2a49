"""``u2a init``: look at a source, decide, write recipe and manifest, say what was decided."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from u2a.common.files import write_text
from u2a.common.values import looks_like_file
from u2a.errors import U2AError
from u2a.plugins.registry import Registry
from u2a.recipe.file import load_recipe
from u2a.starting import mixed
from u2a.starting.columns import Column, assign_roles
from u2a.starting.content import Content, Finder
from u2a.starting.echoes import without_echoes, without_twins
from u2a.starting.files import Files
from u2a.starting.groups import group_column
from u2a.starting.hot import LABELS, comma_names, with_hot
from u2a.starting.labels import Labels
from u2a.starting.manifest import write_manifest
from u2a.starting.named import with_files
from u2a.starting.recipe_text import recipe_text
from u2a.starting.samples import Samples
from u2a.starting.source import open_source
from u2a.starting.split_names import told
from u2a.starting.splits import divided, ordered

#: Share of train that validates where there is a test split and no val.
HOLDOUT = 0.15
#: Classes that are told by name.
SHOWN = 4


@dataclass(frozen=True)
class Choices:
    """What the person decides.

    Attributes:
        out: the folder to write into.
        name: of recipe and runs; the source's by default.
        size: ``tiny``, ``small`` or ``base``.
        given: options by modality or kind.
        kinds: modality kinds by column.
        ignore: columns that are left out.
        divide_anew: whether the splits that are there are forgotten.
        named: words for nothing that are classes.
    """

    out: Path = Path()
    name: str | None = None
    size: str = "small"
    root: Path | None = None
    label: str | None = None
    group: str | None = None
    split_column: str | None = None
    seed: int = 0
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    ignore: Sequence[str] = ()
    divide_anew: bool = False
    named: Sequence[str] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class Started:
    """What was written, and what the person should know of it."""

    recipe: Path
    manifest: Path
    lines: list[str]
    commands: list[str]


def begin(path: Path, choices: Choices, plugins: Registry) -> Started:
    """Write a recipe and a manifest for a person's files.

    Raises:
        U2AError: what cannot be used or decided; nothing was written.
    """
    name = recipe_name(path, choices.name)
    recipe = choices.out / f"{name}.toml"
    if recipe.exists() and not choices.overwrite:
        raise U2AError(f"{recipe} exists already; --overwrite replaces it, --name NAME writes another one")
    files = Files(source_root(path, choices.root))
    opened = open_source(path, choices.root)
    if several := comma_names(choices.label, opened):
        opened, choices = with_hot(opened, several), replace(choices, label=LABELS)
    source, columns, total, notes = with_files(opened, files)
    if lists := mixed.choices_of(columns, total):
        source, columns, total, notes = with_files(replace(opened, lists=lists), files)
    if not total:
        raise U2AError("; ".join((f"{path}: holds no samples", *source.notes.values())))
    _check_names(path, columns, choices, files)
    columns = {n: c for n, c in columns.items() if n not in choices.ignore}
    roles = assign_roles(
        columns, str(path), label=choices.label, split=choices.split_column, group=choices.group
    )
    if choices.divide_anew or (roles.split and len(columns[roles.split].counts or ()) < 2):
        columns.pop(roles.split or "", None)
        roles.split, roles.splits = None, {}
    notes += mixed.told(str(path), columns, total, roles.label)
    labels = Labels(columns[roles.label], str(path), choices.named)
    roles.group = roles.group or group_column(source, columns, labels, notes)
    finder = Finder(plugins, files, choices.size, choices.kinds, choices.given, str(path), notes)
    rest = [c for n, c in columns.items() if n not in roles.taken or (n == roles.key and finder.names_files(c))]
    rest = without_echoes(source, columns, roles, rest, finder.notes)
    contents = finder.find(without_twins(rest, files, choices.kinds, finder.notes))
    samples = Samples(source, roles, contents, labels, files, choices.size)
    plan = divided(samples, choices.seed, draw=roles.split is None)
    classes = {label: labels.counts[label] for label in labels.classes()}
    lines = [
        f"{path}: {source.what}, {len(plan.splits)} samples",
        f"label: {'' if roles.label == 'label' else f'column {roles.label!r}, '}{len(classes)} classes "
        f"({_few(classes)}), "
        f"{' to '.join(dict.fromkeys(str(end(classes.values())) for end in (min, max)))} samples each"
        + (", several a sample" if labels.many else ""),
        *labels.told(),
        *(_told(content) for content in contents),
        *samples.told(),
        *(
            [f"{files.by_name} files were found by their name or the end of their path, below {files.root}"]
            if files.by_name
            else []
        ),
        *source.notes.values(),
        *finder.notes,
        *told(roles.splits),
        *plan.lines,
    ]
    manifest = write_manifest(choices.out / name, samples, plan.splits, many=labels.many)
    counts = Counter(plan.splits)
    commands = [
        pack_command(recipe, manifest, files.root),
        train_command(recipe),
        score_commands(recipe, counts)[1],
    ]
    holdout = HOLDOUT if counts["test"] and not counts["val"] else None
    text = recipe_text(
        name,
        kind="multi_label" if labels.many else "single_label",
        classes=classes,
        contents=contents,
        holdout=holdout,
        splits=ordered(counts),
        commands=commands,
    )
    write_text(recipe, text)
    load_recipe(recipe)
    return Started(recipe, manifest, lines, commands)


def _check_names(path: Path, columns: Mapping[str, Column], choices: Choices, files: Files) -> None:
    if data := next((name for name in columns if looks_like_file(name) and files.find(name)), None):
        raise U2AError(f"{path}: has no header: its first line holds {data!r}, a file; write one above it")
    if 1 < (unnamed := sum(name.startswith("(column ") for name in columns)) >= len(columns) / 2:
        raise U2AError(
            f"{path}: its first line names {len(columns) - unnamed} of {len(columns)} columns; if it "
            "is a title, delete what stands above the names of the columns"
        )
    for option, names in (("--ignore", choices.ignore), ("--kind", choices.kinds)):
        for name in names:
            if name not in columns:
                known = ", ".join(map(repr, columns))
                raise U2AError(f"{path}: has no column {name!r} ({option}); its columns are {known}")


def _few(names: Iterable[str]) -> str:
    """The first names of several, for a person to see what they are."""
    shown = [name[:24] for name in islice(names, SHOWN + 1)]
    return ", ".join(shown if len(shown) <= SHOWN else [*shown[:SHOWN], "..."])


def _told(content: Content) -> str:
    where = ", ".join(map(repr, content.columns))
    given = ", ".join(f"{k} = {v}" for k, v in content.suggestion.options.items())
    how = "the text itself" if content.inline else "files"
    return f"modality {content.name}: kind {content.spec.name}, {where} ({how}); {given}"


def recipe_name(path: Path, given: str | None) -> str:
    """What recipe and runs are called."""
    raw = given or (path.resolve().name if path.is_dir() else path.stem)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", raw).strip("-_") or "mine"


def source_root(path: Path, given: Path | None) -> Path:
    """The folder that a source's files are below."""
    return Path(os.path.realpath(given or (path if path.is_dir() else path.parent)))


def pack_command(recipe: Path, manifest: Path, root: Path) -> str:
    """How the samples get into shards."""
    quoted = [shlex.quote(os.path.relpath(path)) for path in (recipe, manifest, root)]
    inside = os.path.realpath(manifest.parent) == str(root)
    return f"u2a data pack {quoted[0]} --manifest {quoted[1]}" + ("" if inside else f" --root {quoted[2]}")


def train_command(recipe: Path) -> str:
    """How the recipe is trained."""
    return f"u2a train {shlex.quote(os.path.relpath(recipe))} --run runs/{recipe.stem}"


def score_commands(recipe: Path, splits: Container[str]) -> list[str]:
    """How the run is scored and reported."""
    score = next((split for split in ("test", "val") if split in splits), "train")
    split = "" if score == "test" else f" --split {score}"
    return [f"u2a eval runs/{recipe.stem} --sweep{split}", f"u2a report runs/{recipe.stem}{split}"]
