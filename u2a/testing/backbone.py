"""Conformance checks of how a backbone is built: on the meta device, without weights, with an identity."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from u2a.contract.modality import ModalityOptions
from u2a.errors import one_line
from u2a.runs.build import base_identity
from u2a.testing.case import Case, Findings, check

SPEC = "u2a/modality.py, ModalitySpec"
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".h5", ".onnx")


@check(
    "backbone(options, weights=False) to read nothing and to build the same tensors on the meta device", SPEC
)
def meta_device(case: Case) -> Findings:
    with torch.device("meta"):
        empty = case.spec.backbone(case.chosen, weights=False)
    real = {name: tuple(tensor.shape) for name, tensor in case.backbone().state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()} != real:
        yield "names or shapes differ from those with weights"
    if filled := [name for name, p in empty.named_parameters() if not p.is_meta]:
        yield f"{filled[0]} is not on the meta device"


@check("backbone(options, weights=False) to leave the checkpoint's weights alone", SPEC)
def weights_left_alone(case: Case) -> Findings:
    with tempfile.TemporaryDirectory() as folder:
        options, changed = _without_weights(case, Path(folder))
        if not changed:
            return
        try:
            with torch.device("meta"):
                case.spec.backbone(options, weights=False)
        except Exception as error:
            reason = one_line(error, 160)
            yield f"where {' and '.join(changed)} holds no weights it raises {type(error).__name__}: {reason}"


def _without_weights(case: Case, folder: Path) -> tuple[ModalityOptions, list[str]]:
    """The options with folders that hold weights replaced by ones without, and the names of such options."""
    changes: dict[str, str] = {}
    for name, value in case.chosen:
        path = Path(value) if isinstance(value, str | Path) and name != "kind" else None
        if path is None or not path.is_absolute() or not path.is_dir():
            continue
        copy = folder / name
        copy.mkdir()
        for file in path.iterdir():
            if file.suffix not in WEIGHTS:
                (copy / file.name).symlink_to(file)
        if len(list(copy.iterdir())) < len(list(path.iterdir())):
            changes[name] = type(value)(copy)
    return case.chosen.model_copy(update=changes), list(changes)


@check("a base identity (``u2a_base``) with id, revision and sha256, or none at all", SPEC)
def base_weights(case: Case) -> Findings:
    base = base_identity(case.backbone(), case.spec.chosen(case.chosen))
    if case.tune != "full" and (set(base) - {"files"} != {"id", "revision", "sha256"} or not base["sha256"]):
        yield f"the identity is {base}"
