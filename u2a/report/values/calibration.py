"""Whether a model's confidence can be believed: expected calibration error and reliability curve."""

from __future__ import annotations

from typing import Any

import torch

from u2a.report.values.predictions import Predictions

BINS = 15


def calibration(predictions: Predictions) -> dict[str, Any]:
    """Expected calibration error and the curve behind it, over `BINS` equal bins of confidence.

    Single-label: the confidence is the largest probability, and the outcome whether that class is right.
    Multi-label: every sample and class is a case; the confidence is its probability, the outcome whether the
    sample has the label. The error is the mean distance of confidence and outcome over the bins, weighted by
    their cases.

    Returns:
        ``ece`` in 0..1 and, for each bin that holds a case, ``confidence``, ``outcome`` (means) and ``count``.
    """
    if predictions.multi_label:
        confidence_K = predictions.probability_NC.flatten().double()
        right_K = predictions.truth_NC.flatten().double()
    else:
        confidence_K = predictions.probability_NC.max(1).values.double()
        right_K = (predictions.guess_NC & predictions.truth_NC).any(1).double()
    bin_K = (confidence_K * BINS).ceil().long().sub(1).clamp(0, BINS - 1)  # (0, 1/15], (1/15, 2/15], ...
    count, confidence, right = (
        torch.zeros(BINS, dtype=torch.double).index_add(0, bin_K, values)
        for values in (torch.ones_like(right_K), confidence_K, right_K)
    )
    bins = [
        {"confidence": float(c / n), "outcome": float(r / n), "count": int(n)}
        for n, c, r in zip(count, confidence, right, strict=True)
        if n
    ]
    return {"ece": float((confidence - right).abs().sum() / count.sum()), "bins": bins}
