"""The report's content as plain values: one recipe in detail, from all its seeds, and several together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split
from u2a.errors import U2AError
from u2a.evaluation import trained as api
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.metrics import higher_is_better
from u2a.recipe.sections import Recipe
from u2a.report.baselines import run_baselines
from u2a.report.calibrated import calibrated_values
from u2a.report.samples import show_samples
from u2a.report.values.analysis import Analysis
from u2a.report.values.availability import Curve, curves
from u2a.report.values.details import Detail, told
from u2a.report.values.expected import model_of_use
from u2a.report.values.learning import class_counts, training_curve
from u2a.report.values.mistakes import surest_mistakes
from u2a.report.values.mixing import ON_PAGE, RANKS, Mix
from u2a.report.values.patterns import PatternValues, pattern_rows
from u2a.report.values.predictions import metric_labels
from u2a.report.values.rates import Condition, conditions_of, rate_map, train_condition
from u2a.report.values.recipes import signature
from u2a.runs.build import count_parameters

Say = Callable[[str], None]


@dataclass(frozen=True)
class Brief:
    """What is kept of every run, of whatever recipe."""

    about: dict[str, Any]
    signature: dict[str, Any]
    condition: Condition
    patterns: list[PatternValues]
    availability: list[Curve]
    rates: dict[Condition, float]
    mix: Mix | None
    training: dict[str, Any]

    def is_of(self, other: Brief) -> bool:
        """Whether both differ in their seed alone."""
        # The condition, too: a signature does not tell at which rate a table was drawn.
        return (self.signature, self.condition) == (other.signature, other.condition)


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
            report = _detail(model, opened, encoded) | {
                "calibrated": calibrated_values(model, analysis.encoded)
            }
            report["baselines"] = _baselines(model, split, seed, say) if beside_baselines else None
            report["mistakes"] = _mistakes(model, analysis, opened, with_samples)
    parts = told(details, report["modalities"], report["classes_of_task"], seed)
    return report | {"notes": notes} | parts | _together(briefs, conditions, seed)


def bare_split(recipe: Recipe, split: str) -> Split:
    """A split with the presence that its shards declare, whatever ``data.missing`` would take away."""
    data = recipe.data.model_copy(update={"missing": None})
    return evaluation_split(recipe.model_copy(update={"data": data}), split)


def _detail(model: api.Model, opened: Split, encoded: Encoded) -> dict[str, Any]:
    task = model.recipe.task
    label, class_label = metric_labels(task)
    return {
        "format": 1,
        "u2a": version("u2a"),
        "modalities": list(model.network.names),
        "classes_of_task": list(task.classes),
        "task": task.kind,
        "class_counts": class_counts(model.recipe, opened),
        "metric": {
            "name": task.headline,
            "label": label,
            "class_label": class_label,
            "higher_is_better": higher_is_better(task.headline),
        },
        "data": {
            "split": opened.name,
            "n": len(encoded.keys),
            "n_incomplete": int((~encoded.present_NM.all(1)).sum()),
            "n_unreadable": len(encoded.unreadable),
            "fingerprint": opened.fingerprint,
        },
    }


def _mistakes(model: api.Model, analysis: Analysis, opened: Split, with_samples: bool) -> dict[str, Any]:
    found = surest_mistakes(analysis.complete, opened.keys(), model.recipe.task.classes)
    if not with_samples:
        return found
    return found | {"samples": show_samples(found["samples"], opened, model.recipe)}


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
    patterns = analysis.patterns()
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
        training_curve(model.run.metrics_file, model.recipe.task.headline, model.meta["step"]),
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


def _together(briefs: list[Brief], conditions: Sequence[Condition], seed: int) -> dict[str, Any]:
    first = briefs[0]
    peers = [brief for brief in briefs if brief.is_of(first)]
    metric = next(iter(first.patterns[0].scores))
    higher = higher_is_better(metric)
    rows = pattern_rows([brief.patterns for brief in peers], higher, seed)
    complete = 2 ** len(first.patterns[0].present) - 1 == len(rows)
    return {
        "runs": [
            brief.about | {"trained": brief.condition.label(), "seeds_of_first": brief in peers}
            for brief in briefs
        ],
        "patterns": rows,
        "headline": _headline(rows, metric, 1 if higher else -1),
        "training": [brief.training | {"seed": brief.about["seed"]} for brief in peers],
        "availability": curves([brief.availability for brief in peers]),
        "in_use": _in_use(peers, higher, seed) if complete else None,
        "over_seeds": _over_seeds(rows, len(peers)) if len(peers) > 1 else None,
        "rates": _rates(briefs, conditions) if len({brief.condition for brief in briefs}) > 1 else None,
    }


def _in_use(peers: Sequence[Brief], higher: bool, seed: int) -> dict[str, Any]:
    mixes = [brief.mix for brief in peers if brief.mix]
    use = model_of_use([brief.patterns for brief in peers], higher, seed, Mix.joined(mixes) if mixes else None)
    return use | {"mix": use["mix"] and use["mix"].plain()}


def _headline(rows: list[dict[str, Any]], metric: str, sign: int) -> dict[str, Any]:
    """The complete score, the worst pattern, and what it costs on the samples that it leaves."""
    worst = min(rows, key=lambda row: _nan_last(sign * row["scores"][metric]))
    return {
        "complete": rows[0]["scores"][metric],
        "interval": rows[0]["interval"],
        "worst": {
            "missing": worst["missing"],
            "n": worst["n"],
            "score": worst["scores"][metric],
            "complete": worst["complete"],
            "interval": worst["interval"],
            "bound": worst["bound"],
            "beyond_chance": worst["beyond_chance"],
        },
        "drop_points": -100 * sign * worst["difference"],
        "drop_interval": sorted(-100 * sign * x for x in worst["simultaneous_interval"]),
    }


def _nan_last(score: float) -> tuple[bool, float]:
    """Sorts scores; one that is undefined is not the worst."""
    return bool(np.isnan(score)), score


def _over_seeds(rows: list[dict[str, Any]], n: int) -> dict[str, Any]:
    """Mean and sample standard deviation over runs that differ in their seed alone."""
    scores = np.array([row["by_seed"] for row in rows]).T
    return {"n": n, "patterns": {"mean": _mean(scores), "sd": _sd(scores)}}


def _rates(briefs: list[Brief], conditions: Sequence[Condition]) -> dict[str, Any]:
    cells, rows = [], sorted({brief.condition for brief in briefs})
    for trained in rows:
        runs = [brief for brief in briefs if brief.condition == trained]
        for tested in conditions:
            values = [brief.rates[tested] for brief in runs]
            cell = {"trained": trained.label(), "tested": tested.label(), "n_runs": len(values)}
            cells.append(cell | {"mean": _mean(values), "sd": _sd(values) if len(values) > 1 else None})
    return {
        "trained": [condition.label() for condition in rows],
        "tested": [condition.label() for condition in conditions],
        "cells": cells,
    }


def _mean(values: Any) -> Any:
    return np.mean(values, axis=0).tolist()


def _sd(values: Any) -> Any:
    return np.std(values, axis=0, ddof=1).tolist()
