"""torchaudio, which may be unable to be imported beside the torch that is installed."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any


@cache
def torchaudio() -> Any | None:
    """The library, or None where it is absent or its import fails.

    To be asked before transformers or peft is imported: transformers imports whichever torchaudio is installed,
    and fails with it. One whose import fails counts as not installed from here on, for transformers too. It
    makes constants on import, which must be on the CPU even where the caller builds on another device.
    """
    import torch

    try:
        with torch.device("cpu"):
            import_module("torchaudio.compliance.kaldi")
        return import_module("torchaudio")
    except (ImportError, OSError, RuntimeError, AttributeError):
        sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]  # importlib's word for "not there"
        if (transformers := sys.modules.get("transformers.utils.import_utils")) is not None:
            transformers.is_torchaudio_available.cache_clear()  # it may have looked before
        return None
