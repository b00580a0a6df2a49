"""How results look in a notebook: small tables, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from u2a.runs.checkpoint import learnable

if TYPE_CHECKING:
    from u2a.evaluation.trained import Model


def table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """An HTML table of texts."""
    head = "".join(f"<th style='text-align:left'>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    said = f"<caption style='text-align:left'>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def model_rows(model: Model) -> list[tuple[str, str]]:
    """What a model says of itself."""
    learned = sum(p.numel() for _, p in learnable(model.network))
    scores = model.meta.get("validation") or {}
    return [
        ("run", str(model.run)),
        ("modalities", ", ".join(f"{n} ({o.kind})" for n, o in model.recipe.modalities.items())),
        ("classes", ", ".join(model.recipe.task.classes[:20])),
        ("learned parameters", f"{learned:,}"),
        *((f"validation {n}", f"{v:.4f}") for n, v in scores.items()),
    ]
