"""``u2a predict``: one option a modality of the run, or a manifest of many samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from u2a.cli.base import Command, checkpoint_option, json_text, print_json, set_option
from u2a.cli.engines import chosen, engine_options

if TYPE_CHECKING:
    from u2a.data.packing.sources import Row
    from u2a.recipe.sections import Recipe


# Without -h for --help, which click would also find in a text that begins with a dash.
@click.command(cls=Command, context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument(
    "words", nargs=-1, type=click.UNPROCESSED, metavar="[RUN] [FILE]... [--MODALITY FILE_OR_TEXT]..."
)
@click.option("--manifest", metavar="FILE", help="A table of many samples; neither keys nor labels needed.")
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many classes to print."
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Add prediction sets that hold the true class with this probability, e.g. 0.9.",
)
@checkpoint_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@engine_options
@set_option
def predict(
    words: tuple[str, ...],
    manifest: str | None,
    top: int,
    coverage: float | None,
    checkpoint: str,
    as_json: bool,
    engine: str | None,
    workers: int | None,
    sets: tuple[str, ...],
) -> None:
    """Predict with RUN (the newest if none is named) from any subset of its modalities.

    u2a predict --image a.png --text "a red boat"

    A text is the text itself; --text-path FILE reads one. A FILE goes to the one modality that reads its kind.
    """
    from u2a.evaluation.rows import RowPredictor, predict_rows
    from u2a.evaluation.trained import load
    from u2a.runs.folder import find_run

    run, files, values = parse_words(words)
    if manifest and (values or files):
        other = f"--{next(iter(values))}" if values else files[0]
        raise click.UsageError(f"{other} beside --manifest: a JSON line a sample is printed; > FILE keeps them")
    if not (values or files or manifest):
        raise click.UsageError("give one option a modality (e.g. --image a.png), or --manifest FILE")
    cluster = chosen(engine, workers)
    if cluster and not manifest:
        raise click.UsageError("--engine is for many samples: --manifest FILE")
    if cluster:
        found = find_run(run)
        recipe, begin = found.recipe(sets), RowPredictor.of(found, checkpoint, sets, top, coverage)
        go = partial(cluster.map, begin, workers=workers or 1, device=recipe.training.device)
        _print_rows(recipe, Path(str(manifest)), lambda rows: go(list(rows)))
        return
    model = load(run, checkpoint=checkpoint, sets=sets)
    if run is None:
        click.echo(f"run {model.run}", err=True)
    for file in files:
        name = _reads(model, file)
        if name in values or f"{name}_path" in values:
            raise click.UsageError(f"{name} is given twice")
        values[f"{name}_path"] = file
    if manifest:
        one_by_one = partial(map, partial(predict_rows, model, top=top, coverage=coverage))
        _print_rows(model.recipe, Path(manifest), one_by_one)
        return
    prediction = model.predict(values, coverage=coverage)
    if as_json:
        print_json({**prediction.as_dict(top), **({"notes": model.notes} if model.notes else {})})
        return
    for name, p in islice(prediction.probabilities.items(), top):
        click.echo(f"{p:7.2%}  {name}" + ("  *" if name in prediction.labels else ""))
    if prediction.set is not None:
        click.echo(f"{coverage:.0%} set: {', '.join(prediction.set) or 'empty'} (from {prediction.set_from})")
    click.echo(f"used {', '.join(prediction.used)}; filled in {', '.join(prediction.filled) or 'none'}")


def _reads(model: Any, file: str) -> str:
    """The one modality of a run that reads files of this extension."""
    from u2a.errors import U2AError
    from u2a.plugins.loading import registry

    options = model.recipe.modalities.items()
    fitting = [
        n
        for n, o in options
        if file.lower().endswith(tuple(f".{e}" for e in registry().spec(o.kind).extensions))
    ]
    if len(fitting) == 1:
        return fitting[0]
    names = " or ".join(f"--{name} {file}" for name in fitting or model.recipe.modalities)
    raise U2AError(
        f"{file}: {'several modalities read' if fitting else 'no modality reads'} such files; write {names}"
    )


def parse_words(words: Sequence[str]) -> tuple[str | None, list[str], dict[str, str]]:
    """``RUN a.png --text=hello`` to the run, files, and the values by modality."""
    run, files, values, rest = None, [], {}, iter(words)
    for word in rest:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            if not equals:
                value = next(rest, None)  # type: ignore[assignment]
            if value is None or not name:
                raise click.UsageError(f"{word} needs a value")
            if name in values:
                raise click.UsageError(f"--{name} is given twice")
            values[name] = value
        elif os.path.isfile(word):
            files.append(word)
        elif run is None:
            run = word
        else:
            raise click.UsageError(f"unexpected argument {word!r}")
    return run, files, values


def _print_rows(
    recipe: Recipe, manifest: Path, predict: Callable[[Iterator[list[Row]]], Iterator[list[dict[str, Any]]]]
) -> None:
    """A JSON line a sample, in the manifest's order; a sample that cannot be read gets an ``error``."""
    from u2a.data.packing.manifest import Manifest
    from u2a.data.packing.pack import read_extensions
    from u2a.errors import U2AError
    from u2a.evaluation.rows import batches

    problems: list[str] = []
    table = Manifest(manifest, read_extensions(recipe), default_split="predict")
    failed = 0
    for lines in predict(batches(table.rows(problems))):
        for line in lines:
            failed += "error" in line
            click.echo(json_text(line))
    for note in table.told():
        click.echo(f"note: {note}", err=True)
    if problems or failed:
        for problem in problems:
            click.echo(f"{manifest}: {problem}", err=True)
        raise U2AError(f"{manifest}: {failed + len(problems)} samples could not be read; the others are done")
