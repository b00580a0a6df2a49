"""What a GPU makes of a step: correctness first, then ratios.

    python -m benchmarks.gpu [--device cuda] [--small]

No GPU was at hand where this was written: `--device cpu --small` is what its test runs, and no figure of it is
published. Print its table with the device's name beside it.

Shape suffixes as in `u2a.modality`.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speed.models import CLASSES, Encoder, Inputs, Ours, bert_base, clip_base, dinov2_small, minilm
from benchmarks.speed.timing import HEAD, Row, beside, machine

#: Largest difference of logits between devices, and of bf16 from fp32, relative to the logits' deviation.
TOLERANCE, TOLERANCE_BF16 = 1e-3, 0.1


def main() -> None:
    """Check, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--small", action="store_true", help="tiny encoders and two turns: whether it works at all"
    )
    options = parser.parse_args()
    print(*machine(), sep="\n")
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        for line in report(Path(folder), device, small=options.small):
            print(line, flush=True)


def report(folder: Path, device: torch.device, *, small: bool) -> Iterator[str]:
    """The lines: agreement, then the table."""
    encoders = [dinov2_small(28, 2), minilm(8, 2)] if small else [clip_base(), bert_base()]
    n, repeats = (2, 2) if small else (32, 7)
    yield from agreement(folder, encoders, device)
    yield HEAD
    for row in rows(folder, encoders, n, device, repeats):
        yield str(row)


def agreement(folder: Path, encoders: list[Encoder], device: torch.device) -> Iterator[str]:
    """Logits on the device beside the CPU's, in both precisions.

    Raises:
        AssertionError: they are too far apart.
    """
    torch.manual_seed(2)
    inputs, present_BM = (
        [encoder.inputs(4) for encoder in encoders],
        torch.ones(4, len(encoders), dtype=torch.bool),
    )
    present_BM[0, 0], present_BM[1, 1] = False, False
    some = [{k: v[present_BM[:, m]] for k, v in one.items()} for m, one in enumerate(inputs)]
    found = {}
    for name, place, precision in (("cpu", "cpu", "fp32"), ("fp32", device, "fp32"), ("bf16", device, "bf16")):
        ours = Ours(encoders, folder, f"training.precision={precision}")
        _adapt(ours)
        ours.model.to(place).eval()
        with torch.inference_mode():
            given = _moved(ours.named(some), torch.device(place))
            found[name] = ours.model(given, present_BM.to(place)).logits_BC.float().cpu()
    deviation = found["cpu"].std()
    for name, tolerance in (("fp32", TOLERANCE), ("bf16", TOLERANCE_BF16)):
        difference = float((found[name] - found["cpu"]).abs().max() / deviation)
        yield f"{device}, {name}: logits differ from the CPU's by {difference:.1e} of their deviation"
        assert difference < tolerance, f"{name} on {device} disagrees with the CPU"


def rows(folder: Path, encoders: list[Encoder], n: int, device: torch.device, repeats: int) -> Iterator[Row]:
    """Steps and passes, each beside the plain one."""
    torch.manual_seed(3)
    target = torch.randint(0, len(CLASSES), (n,), device=device)
    plain = _on(folder, encoders, device)
    inputs = _moved(plain.named([encoder.inputs(n) for encoder in encoders]), device)
    present_BM = torch.ones(n, len(encoders), dtype=torch.bool, device=device)

    def step(ours: Ours) -> None:
        ours.step(inputs, target, present_BM)

    def compared(what: str, other: Ours) -> Row:
        return beside(what, lambda: step(other), "the plain step", lambda: step(plain), "", repeats=repeats)

    yield compared("step in bf16", _on(folder, encoders, device, "training.precision=bf16"))
    yield compared("step with adapt_blocks = 1", _on(folder, encoders, device, "model.adapt_blocks=1"))
    fused = _on(folder, encoders, device)
    fused.optimizer = torch.optim.AdamW(fused.learned, lr=1e-4, fused=True)
    yield compared("step with fused AdamW", fused)
    last = _on(folder, encoders, device)
    last.model.to(memory_format=torch.channels_last)
    yield compared("step with channels last", last)
    compiled = _on(folder, encoders, device)
    for branch in compiled.model.each_branch():
        branch.backbone.compile(dynamic=True)
    yield compared("step with each backbone compiled", compiled)
    yield from _passes(plain, inputs, present_BM, repeats)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step(plain)
        peak = torch.cuda.max_memory_allocated() / 1e6
        frozen = sum(p.numel() * p.element_size() for p in plain.model.parameters()) / 1e6
        yield Row("peak memory of a step", "the weights", "", peak, frozen, (peak / frozen,), "MB")


def _passes(ours: Ours, inputs: dict[str, Inputs], present_BM: Tensor, repeats: int) -> Iterator[Row]:
    merged = copy.copy(ours)
    merged.model = copy.deepcopy(ours.model).eval()
    merged.model.merge_lora()

    def encode(model: torch.nn.Module) -> None:
        with torch.inference_mode():
            model.eval()(inputs, present_BM)

    yield beside(
        "pass without gradients, adapters merged",
        lambda: encode(merged.model),
        "adapters beside the weights",
        lambda: encode(ours.model),
        "",
        repeats=repeats,
    )
    ours.model.train()


def _on(folder: Path, encoders: list[Encoder], device: torch.device, *sets: str) -> Ours:
    ours = Ours(encoders, folder, *sets)
    ours.objective.to(device)
    return ours


def _adapt(ours: Ours) -> None:
    """Adapters that change something; drawn on the CPU, the same each time."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in ours.learned:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


def _moved(inputs: dict[str, Inputs], device: torch.device) -> dict[str, Inputs]:
    return {name: {k: v.to(device) for k, v in one.items()} for name, one in inputs.items()}


if __name__ == "__main__":
    main()
