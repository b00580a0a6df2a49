"""What calibration on validation data makes of every pattern of a run, for the report."""

from __future__ import annotations

from typing import Any

from u2a.evaluation.calibrated import calibration_of
from u2a.evaluation.calibration import pattern_name
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scenarios import missing, patterns
from u2a.evaluation.trained import Model


def calibrated_values(model: Model, encoded: Encoded) -> list[dict[str, Any]] | None:
    """A row for each pattern: what is ``missing``, the ``pattern``'s name, and what `calibration_of` says.

    None where nothing was calibrated.
    """
    if not model.calibration.patterns:
        return None
    task, names = model.recipe.task, model.network.names
    rows = []
    for pattern in patterns(len(names)):
        if found := calibration_of(model.network, encoded, task, model.calibration, pattern):
            rows.append({"missing": missing(names, pattern), "pattern": pattern_name(names, pattern), **found})
    return rows or None
