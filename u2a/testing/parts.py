"""The first conformance check: does every part run at all? What cannot be run is told once, by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from u2a.contract.blame import reason_of
from u2a.plugins.modality_checks import check_spec
from u2a.testing.case import Case, Findings, check


@check("parts that run on the members", "u2a/modality.py")
def parts(case: Case) -> Findings:
    steps: dict[str, Callable[[], Any]] = {
        "record": lambda: check_spec(case.spec),
        "options": lambda: case.chosen,
        "preprocessor": lambda: case.preprocessor,
        "example": lambda: case.examples(),
        "collate": lambda: case.inputs,
        "width": lambda: case.spec.width(case.chosen),
        "backbone": lambda: case.backbone(),
        "embedding": lambda: case.tokens,
        "encoder": lambda: _forward(case),
    }
    steps["lora_targets"] = lambda: case.tune == "lora" and case.spec.lora_targets(case.backbone())
    steps["with a mask token"] = lambda: _branch(case)
    for part, step in steps.items():
        try:
            step()
        except (Exception, SystemExit) as error:  # an author's code: anything can come out of it
            yield f"{part}: {reason_of(error)}"
            return


def _forward(case: Case) -> None:
    backbone = case.backbone().eval()
    with torch.no_grad():
        case.spec.encoder(backbone, case.tokens_of(backbone))


def _branch(case: Case) -> None:
    with torch.no_grad():
        case.branch()(case.inputs)
