"""What the page says of one sample, whatever is switched off: plain values, all from one encoding."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from u2a.evaluation.calibration import pattern_name
from u2a.evaluation.explain import Explanation, Subsets

if TYPE_CHECKING:
    from u2a.evaluation.trained import Model

#: So many classes are shown, and so many patterns; of more, those that lack one modality or have only one.
CLASSES, PATTERNS = 6, 31


@dataclass(frozen=True)
class Row:
    """One availability pattern of the sample.

    Attributes:
        present: the modalities that take part.
        label: the most probable class, and its probability.
        p_shown: the probability of the class that the page explains.
        is_now: whether it is what the switches say.
    """

    present: tuple[str, ...]
    label: str
    probability: float
    p_shown: float
    is_now: bool


@dataclass(frozen=True)
class View:
    """What there is to see.

    Attributes:
        ranked: classes and their calibrated probabilities, the most probable first.
        labels: those that are predicted.
        truth: the classes that the sample has, where that is known.
        used: modalities that take part; filled: all others, which these stand in for.
        explanation: of the most probable class, or of the one asked for.
        rows: every pattern of what was given, the largest first.
    """

    ranked: tuple[tuple[str, float], ...]
    labels: tuple[str, ...]
    truth: tuple[str, ...]
    used: tuple[str, ...]
    filled: tuple[str, ...]
    explanation: Explanation
    rows: tuple[Row, ...]


def view_of(
    model: Model, subsets: Subsets, on: Collection[str], truth: Sequence[str] = (), label: str | None = None
) -> View | None:
    """What the page shows of a sample; None if everything that it has is switched off.

    Args:
        subsets: of all that was given.
        on: the modalities that are switched on.
        truth: the sample's classes, where they are known.
        label: the class to explain; the most probable one if None.
    """
    names, classes = model.network.names, list(model.recipe.task.classes)
    present = [name in subsets.names and name in on for name in names]
    used = tuple(name for name, there in zip(names, present, strict=True) if there)
    if not used:
        return None
    part = subsets.of(used)
    p_C = part.p_SC[-1]
    order = np.argsort(-p_C, kind="stable")
    explanation = part.explanation(classes, label)
    return View(
        tuple((classes[c], float(p_C[c])) for c in order),
        _labels(model, p_C, pattern_name(names, present), order),
        tuple(truth),
        used,
        tuple(name for name in names if name not in used),
        explanation,
        _rows(subsets, classes, classes.index(explanation.label), used),
    )


def _labels(model: Model, p_C: np.ndarray, pattern: str, order: np.ndarray) -> tuple[str, ...]:
    classes = model.recipe.task.classes
    if model.recipe.task.kind == "single_label":
        return (classes[order[0]],)
    cuts_C = model.calibration.thresholds(pattern, len(model.network.names), len(classes))
    return tuple(classes[c] for c in order if p_C[c] >= cuts_C[c])


def _rows(subsets: Subsets, classes: Sequence[str], shown: int, used: tuple[str, ...]) -> tuple[Row, ...]:
    M, found = len(subsets.names), []
    for number in range(1, len(subsets.p_SC)):
        bits = [number >> bit & 1 for bit in range(M)]
        present = tuple(name for name, bit in zip(subsets.names, bits, strict=True) if bit)
        few = len(subsets.p_SC) - 1 <= PATTERNS or len(present) in (1, M - 1, M)
        if few or present == used:
            p_C = subsets.p_SC[number]
            best = int(p_C.argmax())
            found.append(Row(present, classes[best], float(p_C[best]), float(p_C[shown]), present == used))
    return tuple(
        sorted(found, key=lambda row: (-len(row.present), [n not in row.present for n in subsets.names]))
    )
