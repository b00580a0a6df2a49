"""The tables of docs/evidence.md, from what `benchmarks.evidence.study` kept.

    python -m benchmarks.evidence.tables --work runs/evidence > tables.md

Scores are in percent: accuracy, or mean average precision for several labels. Beside an arm's mean over its
seeds stands its difference from the default on the same test samples, with a 95 % interval that counts samples
and, with more than one seed, seeds (`u2a.report.values.comparison`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.coverage.truths import task_of
from benchmarks.evidence.arms import ARMS
from benchmarks.evidence.sets import SETS, DataSet
from benchmarks.evidence.study import pattern_key, result_path
from u2a.evaluation.scenarios import patterns
from u2a.report.values.comparison import compare_recipes
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import PseudoValues, of_score

METRIC = {"single_label": ("accuracy", "accuracy"), "multi_label": ("map", "mAP")}
BASELINES = {
    "probe": "linear probe of exactly these",
    "zero_filled": "one linear probe, zeros",
    "mlp": "MLP with dropout",
}
Kept = dict[str, Any]


def main() -> None:
    """Print every set's table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/evidence"))
    work = parser.parse_args().work.resolve()
    for data in SETS:
        arms = dict(_arms(data, work))
        if "default" in arms:
            print("\n".join([*_table(data, arms), *_beside(data, arms["default"]), ""]))


def _arms(data: DataSet, work: Path) -> Iterator[tuple[str, list[Kept]]]:
    for arm in ARMS:
        paths = [result_path(work, data.name, arm.name, seed) for seed in data.seeds]
        if found := [_read(path) for path in paths if path.is_file()]:
            yield arm.name, found
            if arm.zeros:
                yield arm.zeros, [_zeros(kept) for kept in found]


def _read(path: Path) -> Kept:
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    return kept | {"facts": json.loads(str(kept["facts"]))}


def _zeros(kept: Kept) -> Kept:
    keep = {"target", "present_NM", "facts"}
    return {
        name.removeprefix("zeros "): value for name, value in kept.items() if name in keep or "zeros" in name
    }


def _whole(kept: Kept) -> str:
    """The complete pattern's key."""
    return max((key for key in kept if key not in {"facts", "target", "present_NM"}), key=len).removeprefix(
        "zeros "
    )


def _patterns(kept: Kept) -> list[str]:
    """The complete pattern first; of more than two modalities those that lack one, and those that have one."""
    names = _whole(kept).split("+")
    shown = {1, len(names) - 1, len(names)}
    return [pattern_key(names, pattern) for pattern in patterns(len(names)) if sum(pattern) in shown]


def _values(kept: Kept, key: str, kind: str) -> PseudoValues:
    names = _whole(kept).split("+")
    there_N = kept["present_NM"][:, [names.index(name) for name in key.split("+")]].any(1)
    logits_NC, target = kept[key], torch.from_numpy(kept["target"][there_N])
    # a dedicated model was asked about these alone
    logits_NC = torch.from_numpy(logits_NC if len(logits_NC) == len(target) else logits_NC[there_N])
    p_NC = logits_NC.sigmoid() if kind == "multi_label" else logits_NC.softmax(1)
    return of_score(Predictions.of_probabilities(p_NC, target, task_of(kind, p_NC.shape[1]), METRIC[kind][0]))


def _table(data: DataSet, arms: dict[str, list[Kept]]) -> Iterator[str]:
    keys = _patterns(arms["default"][0])
    counts = f"{len(arms['default'][0]['target'])} test samples, {METRIC[data.kind][1]} in percent"
    yield from ("", f"### {data.name}", "", f"{counts}; differences from the default in brackets.", "")
    yield f"| arm | seeds | {' | '.join(keys)} | mean | seconds |"
    yield "|---" * (len(keys) + 4) + "|"
    values = {name: {key: _all(kept, key, data.kind) for key in keys} for name, kept in arms.items()}
    for name, kept in arms.items():
        cells = [_cell(values["default"][key], values[name][key], name == "default") for key in keys]
        mean = np.mean([v.score for key in keys for v in values[name][key] or [NONE]])
        seconds = np.mean([one["facts"]["seconds"] for one in kept])
        yield f"| {name} | {len(kept)} | {' | '.join(cells)} | {_percent(mean)} | {seconds:.0f} |"


NONE = PseudoValues(float("nan"), np.zeros(0), 0)


def _all(kept: Sequence[Kept], key: str, kind: str) -> list[PseudoValues]:
    return [_values(one, key, kind) for one in kept if key in one]


def _cell(default: Sequence[PseudoValues], mine: Sequence[PseudoValues], first: bool) -> str:
    if not mine:
        return ""
    score = np.mean([one.score for one in mine])
    spread = f" ± {100 * np.std([one.score for one in mine], ddof=1):.1f}" if len(mine) > 1 else ""
    if first or len(mine[0].value_N) != len(default[0].value_N):
        return f"**{_percent(score)}**{spread}"
    row = compare_recipes([default[: len(mine)], mine], True)[1]
    low, high = row["difference_interval"]
    return f"{_percent(score)} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _beside(data: DataSet, default: Sequence[Kept]) -> Iterator[str]:
    """The defaults beside baselines on the same frozen tokens (`u2a baselines`), a seed after another."""
    found = [kept["facts"]["baselines"] for kept in default if kept["facts"].get("baselines")]
    if not found:
        return
    yield from (
        "",
        "Default less each baseline (mean over seeds; 95 % over other test samples, first seed):",
        "",
    )
    yield f"| available | default | {' | '.join(BASELINES.values())} |"
    yield "|---" * (len(BASELINES) + 2) + "|"
    for r, row in enumerate(found[0]["patterns"]):
        rows = [one["patterns"][r] for one in found]
        cells = [_difference(rows, name) for name in BASELINES]
        missing = f"without {', '.join(row['missing'])}" if row["missing"] else "complete"
        yield f"| {missing} | {_percent(np.mean([one['score'] for one in rows]))} | {' | '.join(cells)} |"


def _difference(rows: Sequence[dict[str, Any]], name: str) -> str:
    mean = np.mean([row[name]["difference"] for row in rows])
    low, high = rows[0][name]["interval"]
    score = np.mean([row[name]["score"] for row in rows])
    return f"{_percent(score)}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


if __name__ == "__main__":
    main()
