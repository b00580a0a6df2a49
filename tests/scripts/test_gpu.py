"""The GPU's table, as far as a CPU can tell: every row is made, and what disagrees stops it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu


@pytest.mark.slow
def test_every_row_is_made_on_a_cpu(tmp_path: Path) -> None:
    lines = list(gpu.report(tmp_path, torch.device("cpu"), small=True))
    assert sum(line.startswith("| ") for line in lines) == 7  # a head and six rows
    assert sum("logits differ" in line for line in lines) == 2


@pytest.mark.slow
def test_a_device_that_disagrees_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "TOLERANCE_BF16", 1e-9)
    with pytest.raises(AssertionError, match="bf16 on cpu disagrees"):
        list(gpu.agreement(tmp_path, [gpu.dinov2_small(28, 2), gpu.minilm(8, 2)], torch.device("cpu")))
