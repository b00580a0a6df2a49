"""What a report says of several runs together: means over seeds, and training against test rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from u2a.report.values.availability import Curve, curves
from u2a.report.values.expected import model_of_use
from u2a.report.values.mixing import Mix
from u2a.report.values.patterns import PatternValues, pattern_rows
from u2a.report.values.rates import Condition


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


def together(briefs: list[Brief], conditions: Sequence[Condition], higher: bool, seed: int) -> dict[str, Any]:
    """Patterns, headline, curves and so on of the first run's recipe, and the map of rates of all runs."""
    first = briefs[0]
    peers = [brief for brief in briefs if brief.is_of(first)]
    metric = next(iter(first.patterns[0].scores))
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
