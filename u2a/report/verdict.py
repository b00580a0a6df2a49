"""Where a run is behind its baselines, in words, and what to try: the last words of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from u2a.errors import U2AError
from u2a.evaluation.metrics import higher_is_better
from u2a.evaluation.trained import load
from u2a.report.values.intervals import outside
from u2a.runs.folder import Run

#: How the table calls each baseline.
LABELS = {
    "majority": "majority class",
    "probe": "linear probe of exactly these modalities",
    "zero_filled": "one linear probe, zeros for what is missing",
    "mlp": "one small MLP with modality dropout",
    "dedicated": "u2a trained on exactly these modalities",
}
#: A training's verdict is fitted and judged on so many samples at most, drawn from the seed.
MOST_TRAIN, MOST_JUDGED = 4000, 1000


def training_verdict(run: Run, sets: Sequence[str] = ()) -> list[str]:
    """The verdict of a training that has ended, in lines; whatever fails is a line, too."""
    from u2a.report.baselines import compare_with_baselines

    try:
        model = load(run.folder, sets=sets)
        result = compare_with_baselines(model, None, most=(MOST_TRAIN, MOST_JUDGED), few=True)
    except (KeyboardInterrupt, MemoryError):
        return [f"verdict: left out; later: u2a baselines {run}"]
    except U2AError as error:
        return [f"verdict: none: {' '.join(str(error).split())}"]
    except Exception as error:  # the training is done and saved, whatever happens here
        return [f"verdict: none: {type(error).__name__}: {' '.join(str(error).split())}"]
    return summary(result)


def summary(result: dict[str, Any]) -> list[str]:
    """The verdict in few lines: what it rests on, then `verdict`'s words."""
    part = f"{result['n_train_used']:,} of {result['n_train']:,}" if result["part"] else ""
    notes = [f"baselines fitted on {part} training samples"] if part else []
    if result["split"] != "test":
        notes.append("these samples also chose the checkpoint")
    on = f"{result['n']:,} {result['split']} samples"
    lines = result["verdict"]
    return [f"verdict ({'; '.join([on, *notes])}): {'; '.join(lines)}"]


def verdict(result: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Where the run is behind a baseline beyond chance, all rows together, and what to try."""
    sign = 1 if higher_is_better(result["metric"]) else -1
    lines = []
    for row in result["patterns"]:
        behind = []
        for name in LABELS:
            beside = row.get(name)
            if beside and outside(beside["simultaneous_interval"]) and sign * beside["difference"] < 0:
                behind.append((abs(100 * beside["difference"]), LABELS[name]))
        if behind:
            left = " + ".join(one for one in names if one not in row["missing"])
            told = ", ".join(f"{points:.1f} points behind the {label}" for points, label in behind)
            lines.append(f"{left}: {told}")
    if not lines:
        return ["in no pattern significantly behind a baseline"]
    return [*lines, advice(result)]


def advice(result: dict[str, Any]) -> str:
    """What to try, by what the recipe does not use yet."""
    recipe, tries = result["recipe"], []
    if recipe["fusion"] == "sum":
        tries.append('model.fusion = "per_modality"')
    if not recipe["head_start"]:
        tries.append("training.head_start = true")
    if recipe["modality_dropout"] != "exhaustive":
        tries.append('training.modality_dropout = "exhaustive"')
    tries = tries or [
        "more training.epochs",
        "model.lora_rank = 4",
        "training.lr half and double of what it is",
    ]
    return "try: " + ", ".join(tries)
