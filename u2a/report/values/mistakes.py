"""What a model gets wrong: which class it takes for which, and where it is surest of what is false.

Shape suffixes: N samples, C classes, S runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from u2a.report.values.predictions import Predictions

#: Mistakes that are shown with their samples, and confusions in the table.
SHOWN, PAIRS = 12, 12


def confusion(runs: Sequence[Predictions], classes: Sequence[str]) -> dict[str, Any] | None:
    """How often each class is taken for which: means over runs, which differ in their seed alone.

    Returns:
        ``classes`` that occur or are guessed; ``counts``, a row a true class, a column a guess; ``pairs``, the
        most frequent confusions: ``truth``, ``guess``, ``count`` and ``share`` of the true class. None for
        multi-label tasks, where no label is taken for another.
    """
    if runs[0].multi_label:
        return None
    count_CC = np.mean([run.truth_NC.double().T @ run.guess_NC.double() for run in runs], 0)
    n_C = count_CC.sum(1)
    met = np.flatnonzero((n_C > 0) | (count_CC.sum(0) > 0)).tolist()
    wrong_CC = count_CC - np.diag(np.diag(count_CC))
    order = np.argsort(-wrong_CC, axis=None, kind="stable")[:PAIRS]
    pairs = [(t, g) for t, g in zip(*np.unravel_index(order, wrong_CC.shape), strict=True) if wrong_CC[t, g]]
    return {
        "classes": [classes[c] for c in met],
        "counts": count_CC[np.ix_(met, met)].tolist(),
        "pairs": [
            {
                "truth": classes[t],
                "guess": classes[g],
                "count": float(wrong_CC[t, g]),
                "share": float(wrong_CC[t, g] / n_C[t]),
            }
            for t, g in pairs
        ],
    }


def surest_mistakes(predictions: Predictions, keys: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """The wrong predictions of one run that it is surest of, at most `SHOWN`, the surest first.

    Single-label: the guessed class's probability tells. Multi-label: of each sample the label that is furthest
    on the wrong side of one half.

    Returns:
        ``n_wrong``: samples with a mistake; ``samples``: ``place``, ``key``, ``truth`` and ``guess`` (lists of
        classes), ``label`` (the class that it is surest of and wrong about), ``probability`` (that the model
        gives it) and ``confidence`` (in its mistake).
    """
    p_NC, wrong_NC = predictions.probability_NC.double(), predictions.guess_NC ^ predictions.truth_NC
    if not predictions.multi_label:
        wrong_NC = predictions.guess_NC & ~predictions.truth_NC
    sure_NC = torch.where(predictions.guess_NC, p_NC, 1 - p_NC).masked_fill(~wrong_NC, -1)
    sure_N, label_N = sure_NC.max(1)
    order = sorted(torch.nonzero(sure_N >= 0).flatten().tolist(), key=lambda i: (-float(sure_N[i]), i))
    return {
        "n_wrong": len(order),
        "samples": [
            {
                "place": i,
                "key": keys[i],
                "truth": _names(predictions.truth_NC[i], classes),
                "guess": _names(predictions.guess_NC[i], classes),
                "label": classes[int(label_N[i])],
                "probability": float(p_NC[i, label_N[i]]),
                "confidence": float(sure_N[i]),
            }
            for i in order[:SHOWN]
        ],
    }


def constant_answer(predictions: Predictions) -> dict[str, Any] | None:
    """What the same answer to every sample scores: ``score`` and ``answer``, in words.

    The most frequent class of these samples; where ranks are judged, no rank at all. None where no constant
    answer is worth naming.
    """
    if not len(predictions):
        return None
    truth_NC = predictions.truth_NC
    if predictions.form == "class_precision":
        same = replace(predictions, probability_NC=torch.zeros_like(predictions.probability_NC))
        return {"score": same.score(), "answer": "no ranking at all"}
    if predictions.multi_label:
        return None
    guess_NC = torch.zeros_like(truth_NC)
    guess_NC[:, int(truth_NC.sum(0).argmax())] = True
    score = replace(predictions, probability_NC=guess_NC.float(), guess_NC=guess_NC).score()
    return {"score": score, "answer": "always the most frequent class"}


def _names(chosen_C: torch.Tensor, classes: Sequence[str]) -> list[str]:
    return [classes[c] for c in torch.nonzero(chosen_C).flatten().tolist()]
