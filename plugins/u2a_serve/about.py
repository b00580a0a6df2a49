"""What ``/model`` says of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.common.files import without_nan
from u2a.common.remote import show
from u2a.contract.paths import is_url
from u2a.runs.folder import versions

if TYPE_CHECKING:
    from u2a.evaluation.trained import Model


def of_model(model: Model) -> dict[str, Any]:
    """What ``/model`` says."""
    recipe, meta = model.recipe, model.meta
    specs = {name: recipe.plugins.spec(options.kind) for name, options in recipe.modalities.items()}
    modalities = {
        name: {
            "kind": options.kind,
            "extensions": list(specs[name].extensions),
            "text": "txt" in specs[name].extensions,
        }
        for name, options in recipe.modalities.items()
    }
    about = {
        "name": recipe.name,
        "run": Path(str(model.run)).name,
        "step": meta["step"],
        "task": recipe.task.kind,
        "classes": list(recipe.task.classes),
        "modalities": modalities,
        "calibrated": bool(model.calibration.patterns),
        "scores": {"validation": meta.get("validation") or None, "by_pattern": _by_pattern(model)},
        "recipe": _without_secrets(recipe.resolved()),
        "versions": versions(recipe),
        "notes": list(model.notes),
    }
    plain: dict[str, Any] = without_nan(about)
    return plain


def _by_pattern(model: Model) -> dict[str, Any] | None:
    """The scores of each availability pattern that `u2a report` found for this checkpoint, if it was run."""
    try:
        report = json.loads((model.run.folder / "report" / "report.json").read_text(encoding="utf-8"))
        if report["step"] != model.meta["step"]:
            return None
        names = model.network.names
        rows = {
            "+".join(name for name in names if name not in row["missing"]): {"n": row["n"], **row["scores"]}
            for row in report["patterns"]
        }
        return {"split": report["data"]["split"], "patterns": rows}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _without_secrets(value: Any) -> Any:
    """Addresses may be signed: without what may be a signature or a password."""
    if isinstance(value, dict):
        return {name: _without_secrets(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    if isinstance(value, str) and is_url(value):
        scheme, mark, rest = show(value).partition("://")
        place, slash, path = rest.partition("/")
        return scheme + mark + place.rpartition("@")[2] + slash + path
    return value
