"""How well the report's figures hold: known truths are simulated, and scored by the report's own functions.

    python -m benchmarks.coverage            # or: make coverage
    python -m benchmarks.coverage --reps 200 # quicker, coarser

Prints a Markdown table: how often each 95 % interval covers the truth, and how often rows without any effect
are called worse. With 1000 repetitions a share of 95 % has a standard error of 0.7 points.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from benchmarks.coverage.rows import calibration_errors, class_losses, comparisons, pattern_figures
from benchmarks.coverage.scores import paired_map, score_intervals, scores_in_use
from benchmarks.coverage.seeds import over_seeds

PARTS = [
    score_intervals,
    pattern_figures,
    paired_map,
    class_losses,
    comparisons,
    calibration_errors,
    scores_in_use,
    over_seeds,
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", type=int, nargs="*", help="which parts of the table, from 0; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    print("| figure | what | N | measured | |\n|---|---|---|---|---|")
    for number in range(len(PARTS)) if options.parts is None else options.parts:
        draw = np.random.default_rng([options.seed, number])  # whichever parts are run beside it
        for row in PARTS[number](draw, options.reps):
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"\n{options.reps} repetitions, seed {options.seed}, {time.monotonic() - began:.0f} s on one core")


if __name__ == "__main__":
    main()
