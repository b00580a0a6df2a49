"""The report's content as plain values: one recipe in detail, from all its seeds, and several together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split
from u2a.errors import U2AError
from u2a.evaluation import trained as api
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.metrics import metric_names
from u2a.recipe.sections import Recipe
from u2a.report.baselines import run_baselines
from u2a.report.calibrated import calibrated_values
from u2a.report.samples import show_samples
from u2a.report.together import Brief, together
from u2a.report.values.analysis import Analysis
from u2a.report.values.details import Detail, told
from u2a.report.values.learning import class_counts, training_curve
from u2a.report.values.mistakes import surest_mistakes
from u2a.report.values.mixing import ON_PAGE, RANKS
from u2a.report.values.predictions import CLASS_LABELS, class_form
from u2a.report.values.rates import Condition, conditions_of, rate_map, train_condition
from u2a.report.values.recipes import signature
from u2a.runs.build import count_parameters

Say = Callable[[str], None]


def build_report(
    runs: Sequence[str | None],
    *,
    split: str = "test",
    checkpoint: str = "best",
    sets: Sequence[str] = (),
    seed: int = 0,
    beside_baselines: bool = False,
    with_samples: bool = True,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Encode the split once for every run and tell all that follows; plain values for JSON.

    Args:
        runs: run folders, None for the newest; the recipe of the first is told in detail, from all its seeds.
        seed: of resamples and of the missing tables that the rates are tested with.
        beside_baselines: score baselines on the first run's frozen encoders, too.
        with_samples: show the samples of the first run's surest mistakes.
        say: is told what is being done.

    Raises:
        U2AError: a run that cannot be loaded, or runs that are not about the same task and data.
    """
    from u2a.runs.folder import find_run

    found = [find_run(run) for run in runs]
    conditions = conditions_of([run.recipe(tuple(sets)) for run in found])
    report: dict[str, Any] = {}
    briefs: list[Brief] = []
    details: list[Detail] = []
    notes: list[str] = []
    for run in found:
        model = api.load(run.folder, checkpoint=checkpoint, sets=sets)
        notes += model.notes
        say(f"{run}: encoding split {split}")
        opened = bare_split(model.recipe, split)
        encoded = model.encode(opened)
        analysis = Analysis(model.network, encoded, model.recipe.task, encoded.keys, seed=seed)
        if briefs:
            _check_same(report, model, opened, encoded)
        say(f"{run}: scoring {len(encoded.keys)} samples")
        brief = _brief(model, analysis, opened, conditions, seed, len(found))
        if not briefs or brief.is_of(briefs[0]):
            details.append(analysis.detail())
        briefs.append(brief)
        if len(briefs) == 1:
            report = _detail(model, opened, analysis)
            report["calibrated"] = calibrated_values(model, encoded)
            report["baselines"] = _baselines(model, split, seed, say) if beside_baselines else None
            report["mistakes"] = _mistakes(model, analysis, opened, with_samples)
    parts = told(details, report["modalities"], report["classes_of_task"], seed)
    return (
        report
        | {"notes": notes}
        | parts
        | together(briefs, conditions, report["metric"]["higher_is_better"], seed)
    )


def bare_split(recipe: Recipe, split: str) -> Split:
    """A split with the presence that its shards declare, whatever ``data.missing`` would take away."""
    data = recipe.data.model_copy(update={"missing": None})
    return evaluation_split(recipe.model_copy(update={"data": data}), split)


def _detail(model: api.Model, opened: Split, analysis: Analysis) -> dict[str, Any]:
    task, encoded = model.recipe.task, analysis.encoded
    metrics = {name: task.spec(name) for name in metric_names(task)}
    return {
        "format": 1,
        "u2a": version("u2a"),
        "modalities": list(model.network.names),
        "classes_of_task": list(task.classes),
        "task": task.kind,
        "class_counts": class_counts(model.recipe, opened.name, analysis.complete.truth_NC.sum(0)),
        "metric": {
            "name": task.headline,
            "label": metrics[task.headline].label or task.headline,
            "labels": {name: spec.label or name for name, spec in metrics.items()},
            "class_label": CLASS_LABELS[class_form(task, task.headline)],
            "form": metrics[task.headline].form,
            "higher_is_better": task.spec().higher_is_better,
        },
        "data": {
            "split": opened.name,
            "n": len(encoded.keys),
            "n_incomplete": int((~encoded.present_NM.all(1)).sum()),
            "n_unreadable": len(encoded.unreadable),
            "never": analysis.never,
            "fingerprint": opened.fingerprint,
        },
    }


def _mistakes(model: api.Model, analysis: Analysis, opened: Split, with_samples: bool) -> dict[str, Any]:
    found = surest_mistakes(analysis.complete, analysis.keys, model.recipe.task.classes)
    if not with_samples:
        return found
    place_N = analysis.encoded.place_N
    return found | {"samples": show_samples(found["samples"], place_N, opened, model.recipe)}


def _baselines(model: api.Model, split: str, seed: int, say: Say) -> dict[str, Any] | None:
    say(f"{model.run}: fitting baselines")
    try:
        return run_baselines(model, split=split, seed=seed)
    except U2AError as error:
        say(f"{model.run}: without baselines: {error}")
        return None


def _brief(
    model: api.Model,
    analysis: Analysis,
    opened: Split,
    conditions: Sequence[Condition],
    seed: int,
    n_runs: int,
) -> Brief:
    # To lose what no sample has is no pattern of its own.
    patterns = [one for one in analysis.patterns() if not set(one.missing) & set(analysis.never)]
    parameters = count_parameters(model.network)
    about = {
        "run": str(model.run),
        "recipe": model.recipe.name,
        "seed": model.recipe.seed,
        "step": model.meta["step"],
        "parameters": sum(part.total for part in parameters),
        "learnable": sum(part.learnable for part in parameters),
        "training_data": model.meta["data_fingerprint"],
    }
    return Brief(
        about,
        signature(model.recipe),
        train_condition(model.recipe),
        patterns,
        analysis.availability(),
        rate_map(analysis, opened, conditions, seed),
        analysis.mix(patterns, ON_PAGE // n_runs, RANKS // len(patterns)),
        training_curve(model.run, model.recipe.task.headline, model.meta["step"]),
    )


def _check_same(report: dict[str, Any], model: api.Model, opened: Split, encoded: Encoded) -> None:
    for what, mine, first in (
        ("modalities", list(model.network.names), report["modalities"]),
        ("classes", list(model.recipe.task.classes), report["classes_of_task"]),
        ("metric", model.recipe.task.headline, report["metric"]["name"]),
        ("data", opened.fingerprint, report["data"]["fingerprint"]),
        ("number of samples that can be read", len(encoded.keys), report["data"]["n"]),
    ):
        if mine != first:
            raise U2AError(f"{model.run}: has other {what} than the first run; report on them one by one")
