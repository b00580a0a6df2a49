"""Whether confidence rises when a modality is taken away, which it should not (Ma et al., ICML 2023).

Shape suffixes: N samples, M modalities in recipe order.
"""

from __future__ import annotations

import numpy as np
import torch

from u2a.evaluation.calibration import Calibration, pattern_name
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scoring import classify
from u2a.method.model import U2A


def rising_confidence(
    model: U2A, encoded: Encoded, calibration: Calibration, pattern: tuple[bool, ...]
) -> float | None:
    """Share of (sample, modality taken away last) with this pattern's confidence above that before the loss.

    The confidence is the highest probability, calibrated; ``Calibration(kind)`` without patterns leaves it raw.
    None for the complete pattern, and where no sample has a modality more.
    """
    own_N = _confidence(model, encoded, calibration, pattern)
    rises = pairs = 0
    for m, kept in enumerate(pattern):
        before = tuple(has or i == m for i, has in enumerate(pattern))
        has_all_N = (encoded.present_NM | ~torch.tensor(before)).all(1).numpy()
        if kept or not has_all_N.any():
            continue
        higher_N = own_N > _confidence(model, encoded, calibration, before) + 1e-9
        rises += int(higher_N[has_all_N].sum())
        pairs += int(has_all_N.sum())
    return rises / pairs if pairs else None


def _confidence(
    model: U2A, encoded: Encoded, calibration: Calibration, pattern: tuple[bool, ...]
) -> np.ndarray:
    logits_NC = classify(model, encoded, encoded.present_NM & torch.tensor(pattern)).numpy()
    name = pattern_name(model.names, pattern)
    return calibration.probabilities(logits_NC, name, len(model.names)).max(1)
