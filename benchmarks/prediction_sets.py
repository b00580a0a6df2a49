"""Do prediction sets keep their promise in every availability pattern?

    python benchmarks/prediction_sets.py runs/quickstart

Validation and test samples of a run are pooled and split anew, 20 times, into as many for calibration as the
validation split has and the rest for testing. Beside the promise of a quantile for each pattern stands that of
one common quantile, and the expected calibration error before and after.
"""

from __future__ import annotations

import argparse

import numpy as np

import u2a
from u2a.evaluation.calibrated import expected_calibration_error, reached_coverage
from u2a.evaluation.calibration import Calibration, pattern_name
from u2a.evaluation.calibration_fit import fit_calibration
from u2a.evaluation.scenarios import Pattern
from u2a.evaluation.validation import pattern_logits

Scored = dict[Pattern, tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--coverage", type=float, default=0.9)
    options = parser.parse_args()
    model = u2a.load(options.run)
    names, kind = model.network.names, model.recipe.task.kind
    halves = [pattern_logits(model.network, model.encode(split)) for split in ("val", "test")]
    complete = tuple([True] * len(names))
    if any(len(half[complete][1]) != max(len(y) for _, y in half.values()) for half in halves):
        parser.error("the run's data is not complete: its patterns do not hold the same samples")
    n = len(halves[0][complete][1])
    pooled = {
        p: tuple(np.concatenate(part) for part in zip(*(half[p] for half in halves), strict=True))
        for p in halves[0]
    }
    rows: dict[Pattern, list[list[float]]] = {p: [] for p in pooled}
    for seed in range(options.splits):
        order = np.random.default_rng(seed).permutation(len(pooled[complete][1]))
        own = fit_calibration(names, {p: _rows(pooled[p], order[:n]) for p in pooled}, kind)
        common = Calibration(kind, {"any": own.patterns["any"]})
        for p, values in pooled.items():
            logits_NC, target = _rows(values, order[n:])
            name, M = pattern_name(names, p), len(names)
            row = []
            for calibration in (own, common):
                p_NC = calibration.probabilities(logits_NC, name, M)
                chosen_NC = p_NC >= calibration.cut(name, M, options.coverage)[0]
                row += [reached_coverage(chosen_NC, target), float(chosen_NC.sum(1).mean())]
            raw = Calibration(kind).probabilities(logits_NC, name, M)
            calibrated = own.probabilities(logits_NC, name, M)
            row += [expected_calibration_error(x, target, kind) for x in (raw, calibrated)]
            rows[p].append(row)
    print(f"{n} for calibration, {len(pooled[complete][1]) - n} for testing, {options.splits} splits\n")
    print("| available | a quantile each: coverage | size | one for all: coverage | size | ECE | calibrated |")
    print("|---|---|---|---|---|---|---|")
    for p, found in rows.items():
        own_c, own_s, one_c, one_s, raw_e, ece = np.mean(found, 0)
        print(
            f"| {pattern_name(names, p)} | {own_c:.1%} | {own_s:.2f} | {one_c:.1%} | {one_s:.2f} "
            f"| {raw_e:.3f} | {ece:.3f} |"
        )


def _rows(values: tuple[np.ndarray, ...], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits_NC, target = values
    return logits_NC[chosen], target[chosen]


if __name__ == "__main__":
    main()
