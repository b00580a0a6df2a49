"""The report as flat tables, for CSV and for the page; and as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from u2a.common.files import write_csv, write_json

Row = dict[str, Any]


def pattern_label(missing: Sequence[str], names: Sequence[str]) -> str:
    """What a pattern is called: by what it lacks, or by what is left where that is shorter."""
    left = [name for name in names if name not in missing]
    if not missing:
        return "complete"
    if len(missing) > 1 and len(left) == 1:
        return f"{left[0]} alone"
    if len(left) < len(missing):
        return f"{', '.join(left)} only"
    return f"without {', '.join(missing)}"


def worst_first(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The classes, those that lose most when one modality is missing first."""
    return sorted(report["classes"], key=lambda row: (-worst_loss(row), row["class"]))


def worst_loss(row: dict[str, Any]) -> float:
    """The largest drop of a class's score that one missing modality causes, on the samples that it leaves."""
    complete = row["complete_beside"]
    losses = (complete[name] - value for name, value in row["missing"].items() if value is not None)
    return max(losses, default=0.0)


def worst_missing(row: dict[str, Any]) -> str | None:
    """The modality whose absence causes `worst_loss`."""
    known = [name for name, value in row["missing"].items() if value is not None]
    return max(known, key=lambda name: row["complete_beside"][name] - row["missing"][name], default=None)


def class_is_lower(row: dict[str, Any], name: str | None) -> bool:
    """Whether the class's loss without the modality is beyond chance, among all classes and modalities."""
    high = row["change_interval"][name][1] if name else None
    return high is not None and high < 0


def csv_tables(report: Row) -> dict[str, list[Row]]:
    """The report's parts by file name, each as rows of plain cells."""
    tables = {
        "patterns": [_pattern(row) for row in report["patterns"]],
        "availability": _availability(report),
        "classes": [_class(row) for row in worst_first(report)],
        "tokens": _tokens(report),
        "contributions": _contributions(report),
        "calibration": [
            {"missing": row["missing"] or "", "n": row["n"], **_calibration(row), **b}
            for row in report["calibration"]
            for b in row["bins"]
        ],
        "rates": report["rates"]["cells"] if report["rates"] else [],
        "confusion": _confusion(report),
        "mistakes": [_mistake(row) for row in report["mistakes"]["samples"]],
        "training": _training(report),
    }
    return {name: rows for name, rows in tables.items() if rows}


def write_tables(report: Row, folder: Path) -> None:
    """``report.json`` and a CSV file for every table."""
    write_json(folder / "report.json", report)
    for name, rows in csv_tables(report).items():
        write_csv(folder / f"{name}.csv", rows)


def _pattern(row: Row) -> Row:
    cells = {"missing": " ".join(row["missing"]), "n": row["n"], "n_empty": row["n_empty"], **row["scores"]}
    cells |= _bounds("", row["interval"]) | {"bound": row["bound"]}
    cells |= {"complete": row["complete"], "difference": row["difference"]}
    cells |= _bounds("difference_", row["difference_interval"])
    cells |= _bounds("simultaneous_", row["simultaneous_interval"])
    return cells | {f"run {i}": score for i, score in enumerate(row["by_seed"], 1) if len(row["by_seed"]) > 1}


def without_tiles(report: Row) -> Row:
    """The report without what only the page shows of samples."""
    bare = [{k: v for k, v in row.items() if k != "tiles"} for row in report["mistakes"]["samples"]]
    return report | {"mistakes": report["mistakes"] | {"samples": bare}}


def _confusion(report: Row) -> list[Row]:
    found = report["confusion"]
    if found is None:
        return []
    return [
        {"truth": truth, "guess": guess, "count": count}
        for truth, row in zip(found["classes"], found["counts"], strict=True)
        for guess, count in zip(found["classes"], row, strict=True)
    ]


def _mistake(row: Row) -> Row:
    return {k: row[k] for k in ("key", "label", "probability", "confidence", "truth", "guess")}


def _training(report: Row) -> list[Row]:
    return [
        {"seed": run["seed"], "epoch": epoch, "loss": loss.get(epoch, ""), "score": score.get(epoch, "")}
        for run in report["training"]
        for loss in [dict(zip(run["epochs"], run["losses"], strict=True))]
        for score in [dict(zip(run["validated"], run["scores"], strict=True))]
        for epoch in sorted(loss | score)
    ]


def _bounds(name: str, interval: list[float | None]) -> Row:
    return dict(zip((f"{name}low", f"{name}high"), interval, strict=True))


def _calibration(row: Row) -> Row:
    cells = {part: row[part]["value"] for part in ("brier", "nll")}
    return cells | {part: row[part] for part in ("ece", "ece_calibrated", "ece_limit")}


def _availability(report: Row) -> list[Row]:
    parts = ("shares", "scores", "interval", "draw_sd")
    return [
        {"modality": curve["modality"], "share": share, "score": score}
        | _bounds("", interval)
        | {"draw_sd": deviation}
        for curve in report["availability"]
        for share, score, interval, deviation in zip(*(curve[part] for part in parts), strict=True)
    ]


def _class(row: Row) -> Row:
    cells = {"class": row["class"], "n": row["n"], "complete": row["complete"]}
    for name, value in row["missing"].items():
        cells[f"complete beside {name}"] = row["complete_beside"][name]
        cells[f"without {name}"] = value
        cells |= _bounds(f"change without {name} ", row["change_interval"][name])
        cells[f"without {name}, no mask tokens"] = row["missing_without_mask_tokens"][name]
    return cells


def _tokens(report: Row) -> list[Row]:
    rows = []
    for row in report["tokens"]:
        pair = {"source": row["source"], "target": row["target"]}
        rows.append({**pair, "class": "", "n": row["n"], "mse": row["mse"], "cosine": row["cosine"]})
        for name, mse, cosine in zip(
            report["classes_of_task"], row["class_mse"], row["class_cosine"], strict=True
        ):
            rows.append({**pair, "class": name, "n": "", "mse": mse, "cosine": cosine})
    return rows


def _contributions(report: Row) -> list[Row]:
    found = report["contributions"]

    def row(kind: str, who: str, values: Row, name: str = "") -> Row:
        low, high = values.get("interval", ("", ""))
        return {"kind": kind, "who": who, "class": name, "value": values["value"], "low": low, "high": high}

    rows = [row("shapley", name, values) for name, values in found["values"].items()]
    rows += [row("interaction", " ".join(values["pair"]), values) for values in found["pairs"]]
    for name, values in found["classes"].items():
        rows += [row("shapley", modality, {"value": value}, name) for modality, value in values.items()]
    return rows
