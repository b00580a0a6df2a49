"""Comparisons and sweeps as tables in the terminal."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from u2a.terminal import print_table

out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def print_comparison(result: dict[str, Any]) -> None:
    """A row a run: score and difference to the first, both in percent with 95 % intervals."""
    missing = f", without {', '.join(result['dropped'])}" if result["dropped"] else ""
    out.print(f"split {result['split']}{missing}, N {result['n']}, n_empty {result['n_empty']}", markup=False)
    table = Table("run", f"{result['metric']} % (95 %)", "difference (95 %)", "better in", box=None)
    for row in result["runs"]:
        cells = [_escape(row["run"]), _value(row["score"], row["interval"], "{:.2f}")]
        if "difference" in row:
            cells.append(_value(row["difference"], row["difference_interval"], "{:+.2f}"))
            cells.append(f"{100 * row['better']:.1f} % of resamples")
        table.add_row(*cells)
    print_table(table)


def print_sweep(result: dict[str, Any]) -> None:
    """A row a cell of the grid: mean ± standard deviation over seeds in percent, with all that the data has."""
    if not result["cells"]:
        return out.print("no training is finished")
    keys, metrics = result["cells"][0]["values"], result["cells"][0]["patterns"][0]["mean"]
    table = Table(*keys, "seeds", *(f"{metric} %" for metric in metrics), box=None)
    for cell in result["cells"]:
        complete = cell["patterns"][0]
        scores = [_mean_sd(complete["mean"][metric], complete["sd"][metric]) for metric in metrics]
        table.add_row(*map(_escape, cell["values"].values()), str(len(cell["seeds"])), *scores)
    return print_table(table)


def _mean_sd(mean: float, sd: float | None) -> str:
    return f"{100 * mean:.2f}" if sd is None else f"{100 * mean:.2f} ± {100 * sd:.2f}"


def _value(value: float, interval: list[float], form: str) -> str:
    low, high = (form.format(100 * bound) for bound in interval)
    return f"{form.format(100 * value)} ({low} to {high})"


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
