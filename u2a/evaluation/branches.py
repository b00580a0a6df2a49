"""One modality of a trained model by itself: for programs that want an encoder, not a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from u2a.common.values import is_missing
from u2a.errors import U2AError
from u2a.evaluation.encoding import BATCH_SIZE
from u2a.method.read_out import ReadTokens
from u2a.runs.peft_folders import save_peft
from u2a.runs.peft_reading import load_peft

if TYPE_CHECKING:
    from u2a.evaluation.predict import Predictor


class Branch:
    """One modality of a trained model.

    Args:
        predictor: of the model.
        name: the modality.

    Attributes:
        encoder: the pretrained network with the adapters in place (merged), on the model's device: a
            transformers model where the plugin uses one.
        base: the identity of its weights: id, revision, sha256.

    Raises:
        u2a.errors.U2AError: no such modality.
    """

    def __init__(self, predictor: Predictor, name: str) -> None:
        network = predictor.network
        if name not in network.names:
            raise U2AError(f"{name}: no such modality; this run has {', '.join(network.names)}")
        self.name, self._predictor = name, predictor
        self._index = network.names.index(name)
        self._branch = list(network.each_branch())[self._index]
        self.encoder: nn.Module = self._branch.backbone
        self.base = dict(self._branch.base)

    def inputs(self, values: Sequence[Any]) -> dict[str, Any]:
        """Values (paths, text, arrays), preprocessed and collated: what the encoder's embedding takes."""
        missing = next((i for i, value in enumerate(values) if is_missing(value)), None)
        if missing is not None:
            raise U2AError(f"{self.name}: value {missing} is missing")
        examples = [self._predictor.read({self.name: value}) for value in values]
        return dict(self._predictor.batch(examples).inputs[self.name])

    def tokens(self, values: Sequence[Any]) -> ReadTokens:
        """What the modality's encoder makes of values, before any selection.

        Returns:
            Class tokens ``cls_PH``, means of the tokens ``mean_PH`` and mask tokens ``mask_PKH``, on the CPU.
        """
        parts = []
        for i in range(0, len(values), BATCH_SIZE):
            inputs = {self.name: self.inputs(values[i : i + BATCH_SIZE])}
            with torch.inference_mode():
                parts.append(self._predictor.network.run_branch(self._index, inputs))
        if not parts:
            raise U2AError(f"{self.name}: no values")
        return ReadTokens(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))

    def save_peft(self, folder: str | Path) -> Path:
        """Write the adapters as a PEFT adapter folder, for ``PeftModel.from_pretrained`` on the bare encoder.

        Raises:
            u2a.errors.U2AError: the modality has no adapters, or the folder cannot be written.
        """
        save_peft(self._branch, Path(folder))
        return Path(folder)

    def load_peft(self, folder: str | Path) -> None:
        """Put a PEFT adapter folder's weights into this model (see `u2a.runs.peft_reading.load_peft`).

        Raises:
            u2a.errors.U2AError: they do not fit.
        """
        network = self._predictor.network
        network.unmerge_lora()
        try:
            load_peft(self._branch, Path(folder))
        finally:
            network.merge_lora()

    def __repr__(self) -> str:
        return f"Branch({self.name}: {type(self.encoder).__name__}, {self.base.get('id')})"
