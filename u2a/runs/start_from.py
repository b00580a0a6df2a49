"""Beginning with what another run has learned: the tensors of its adapter that fit."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from u2a.encoders.identity import difference
from u2a.errors import CheckpointError, U2AError
from u2a.method.model import U2A
from u2a.runs.checkpoint import adapter_state, current, verify
from u2a.runs.folder import find_run


def take_adapter(place: str, model: U2A, classes: list[str]) -> tuple[str, bool]:
    """Put the fitting tensors of a run's best checkpoint into a model that begins.

    What belongs to a modality is taken if both have it under one name, the head if the classes are the same.

    Args:
        place: a run folder, or an address of a run.
        classes: those of the recipe that begins.

    Returns:
        A line that says what was taken, and whether that was everything.

    Raises:
        CheckpointError: no checkpoint, other base weights, or nothing that fits.
    """
    try:
        run = find_run(place)
    except U2AError as error:
        raise CheckpointError(f"training.start_from: {error}") from None
    folder = current(run.checkpoints, "BEST")
    meta = verify(folder)
    for branch in model.each_branch():
        saved = meta["modalities"].get(branch.name)
        if saved and (part := difference(saved["base"], branch.base)):
            raise CheckpointError(
                f"training.start_from: {place}: its {branch.name} has another {part} of the encoder"
            )
    stored, wanted = _stored(folder, list(meta["modalities"]), list(model.names)), adapter_state(model)
    same = meta["classes"] == classes
    fits = {
        name: stored[name]
        for name, tensor in wanted.items()
        if name in stored and stored[name].shape == tensor.shape and (same or not name.startswith("head."))
    }
    if not fits:
        raise CheckpointError(f"training.start_from: {place}: none of its tensors fits this recipe's model")
    with torch.no_grad():
        for name, tensor in fits.items():
            wanted[name].copy_(tensor)
    left = sorted({name.split(".")[0] for name in wanted.keys() - fits.keys()})
    rest = f"; begun anew: {', '.join(left)}" if left else ""
    return f"started from {place} ({folder.name}): {len(fits)} of {len(wanted)} tensors{rest}", not left


def _stored(folder: Path, held: list[str], names: list[str]) -> dict[str, Tensor]:
    """A checkpoint's tensors for a model of these modalities: what stands in their order, in the model's."""
    stored = load_file(folder / "adapter.safetensors")
    if "head.decay_M" in stored:
        stored["head.decay_M"] = stored["head.decay_M"][[held.index(name) for name in names if name in held]]
    if held == names:
        return stored
    return {name: tensor for name, tensor in stored.items() if not _by_target(name, tensor)}


def _by_target(name: str, tensor: Tensor) -> bool:
    """Whether a tensor has rows for the other modalities, in their order (``mask_tokens = "per_target"``)."""
    by_target = name.endswith(".mask_tokens") or name.startswith("read_outs.sources.")
    return by_target and len(tensor) > 1
