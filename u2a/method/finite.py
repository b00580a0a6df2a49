"""Where values that are not finite come from: an input, a block of an encoder, a mask token, the head.

NaN spreads: it makes a label of every logit and a score of every label. So what is computed is looked at, and
only where it is not finite is the network run once more, with an ear to every module.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from u2a.contract.modality import Inputs
from u2a.errors import U2AError
from u2a.method.branch import UnimodalBranch
from u2a.method.model import U2A


def refuse_non_finite(
    values: Sequence[Tensor], model: U2A, inputs: Mapping[str, Inputs], present_BM: Tensor, keys: Sequence[str]
) -> None:
    """Go on only with finite values.

    Args:
        values: tensors ``[B, ...]`` that the model computed from these inputs.
        keys: how to call each of the B samples.

    Raises:
        U2AError: says for which sample, where the first such value arose, and what to do.
    """
    bad_B = torch.stack([~value.isfinite().flatten(1).all(1) for value in values]).any(0)
    if bad_B.any():
        first = int(bad_B.nonzero()[0])
        which = f"sample {keys[first]}" + (f" and {int(bad_B.sum()) - 1} more" if bad_B.sum() > 1 else "")
        raise U2AError(f"{which}: the result is not a number: {explain_non_finite(model, inputs, present_BM)}")


def explain_non_finite(model: U2A, inputs: Mapping[str, Inputs], present_BM: Tensor) -> str:
    """Where the first value that is not finite arises when the model runs on these inputs, and what to do."""
    for branch in model.each_branch():
        if branch.name not in inputs:
            continue
        if found := _in_inputs(branch.name, inputs[branch.name]) or _in_weights(branch):
            return found
        if found := _in_branch(model, branch, inputs[branch.name]):
            return f"{branch.name}: {found}{_advice(model)}"
    return explain_head(model)


def explain_head(model: U2A) -> str:
    """What is wrong with a head that makes such values of finite ones."""
    for name, parameter in model.head.named_parameters():
        if not parameter.isfinite().all():
            return (
                f"the head's {name} is not finite: its training diverged; train again with a lower training.lr"
            )
    return f"in the head; its values overflow{_advice(model)}"


def _in_inputs(name: str, inputs: Inputs) -> str | None:
    for key, value in inputs.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            return (
                f"{name}: its input ({key}) holds values that are not finite; look at the file and its plugin"
            )
    return None


def _in_weights(branch: UnimodalBranch) -> str | None:
    for name, parameter in branch.learnable():
        if not parameter.isfinite().all():
            what = f"the learned {name} is not finite"
            return f"{branch.name}: {what}: its training diverged; train again with a lower training.lr"
    tensors: list[tuple[str, Tensor]] = [*branch.backbone.named_parameters(), *branch.backbone.named_buffers()]
    for name, tensor in tensors:
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return f"{branch.name}: the encoder's {name} is not finite; use another checkpoint"
    return None


def explain_batches(model: U2A, batches: Sequence[Any]) -> str:
    """Why a step's loss is not finite, from its batches (with ``inputs`` and ``present_BM``)."""
    for batch in batches:
        with torch.no_grad():
            logits_BC = model(batch.inputs, batch.present_BM).logits_BC
        if not logits_BC.isfinite().all():
            return explain_non_finite(model, batch.inputs, batch.present_BM)
    return "a loss is not finite, though every logit of this process is"


def _advice(model: U2A) -> str:
    if model.autocast:
        return "; its weights and input are finite: use training.precision = fp32"
    return "; its weights and input are finite, so values overflow: look at the input's scale and normalisation"


def _in_branch(model: U2A, branch: UnimodalBranch, inputs: Inputs) -> str | None:
    """The first module of the encoder that gives such a value, in the order in which they finish."""
    listener = _Listener()
    device = branch.mask_tokens_KD.device.type
    with (
        listener.on(branch.backbone),
        torch.no_grad(),
        torch.autocast(device, torch.bfloat16, enabled=model.autocast),
    ):
        read = branch(inputs)
    if listener.first is not None:
        return f"first in {listener.first} of its encoder"
    if not all(part.isfinite().all() for part in read):
        return "first behind its encoder's last block"
    return None


class _Listener:
    """Notes the first module whose output is not finite; of this thread's calls only."""

    def __init__(self) -> None:
        self.first: str | None = None
        self.thread = threading.get_ident()

    def on(self, module: nn.Module) -> ExitStack:
        """Listen to a module and all in it, until the block ends."""
        stack = ExitStack()
        for name, part in module.named_modules():
            hook = part.register_forward_hook(
                lambda module, args, output, name=name: self._note(name or "the whole", output)
            )
            stack.callback(hook.remove)
        return stack

    def _note(self, name: str, output: Any) -> None:
        if self.first is None and threading.get_ident() == self.thread and not _finite(output):
            self.first = name


def _finite(output: Any) -> bool:
    if isinstance(output, Tensor):
        return not output.is_floating_point() or bool(output.isfinite().all())
    if isinstance(output, Mapping):
        return all(map(_finite, output.values()))
    return all(map(_finite, output)) if isinstance(output, tuple | list) else True
