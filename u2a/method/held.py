"""What a frozen network would learn in passing: running statistics that training passes write into buffers.

Nobody saves the buffers of a frozen backbone, so a model that is loaded has the checkpoint's. Modules that
keep such statistics therefore stay in evaluation mode; dropout beside them follows `train()` as ever.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from torch import nn

#: Own buffers of batch norm, instance norm, spectral norm and moving averages, in torch and elsewhere.
_STATISTICS = re.compile(
    r"^(running_\w+|num_batches_tracked|cluster_size|_[uv]|weight_[uv]|ema_\w+|\w+_(ema|avg))$"
)


def hold_statistics(backbone: nn.Module) -> None:
    """Keep modules with running statistics in evaluation mode, whoever calls `train`."""
    for module in backbone.modules():
        if any(_STATISTICS.match(name) for name, _ in module.named_buffers(recurse=False)):
            # copies, and what is pickled, have one of their own
            module.train = partial(_train, module)  # type: ignore[method-assign]
            module.training = False


def _train(self: Any, mode: bool = True) -> Any:
    type(self).train(self, mode)  # of what lies inside
    self.training = False
    return self
