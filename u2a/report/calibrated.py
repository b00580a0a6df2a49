"""What calibration on validation data makes of every pattern of a run, for the report."""

from __future__ import annotations

from typing import Any

from u2a.evaluation.calibrated import calibration_of
from u2a.evaluation.calibration import Calibration, pattern_name
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scenarios import patterns
from u2a.evaluation.trained import Model
from u2a.evaluation.validation import rising_confidence


def calibrated_values(model: Model, encoded: Encoded) -> dict[str, Any] | None:
    """A row for each pattern (see `calibration_of`), and how often confidence rises when something is lost.

    Returns:
        ``patterns``, each with what is ``missing``; ``rises`` and ``rises_calibrated``: the share of samples
        and modalities taken away whose confidence rises. None where nothing was calibrated.
    """
    if not model.calibration.patterns:
        return None
    task, names = model.recipe.task, model.network.names
    rows = []
    for pattern in patterns(len(names)):
        if found := calibration_of(model.network, encoded, task, model.calibration, pattern):
            missing = [name for name, kept in zip(names, pattern, strict=True) if not kept]
            rows.append({"missing": missing, "pattern": pattern_name(names, pattern), **found})
    raw = Calibration(task.kind)
    rises = [rising_confidence(model.network, encoded, one) for one in (raw, model.calibration)]
    return {"patterns": rows, "rises": rises[0], "rises_calibrated": rises[1]}
