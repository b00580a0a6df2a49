"""Global state of torch that the import of a plugin may change. Torch is not imported here."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from u2a.plugins.place import Place


def _read_flushing(_: ModuleType) -> bool:
    smallest = sys.float_info.min
    return smallest / 2 == 0


_SDP = ("flash_sdp", "mem_efficient_sdp", "math_sdp", "cudnn_sdp")


def _read_attention(torch: Any) -> list[bool]:
    return [getattr(torch.backends.cuda, f"{name}_enabled")() for name in _SDP]


def _write_attention(torch: Any, before: list[bool]) -> None:
    for name, value in zip(_SDP, before, strict=True):
        getattr(torch.backends.cuda, f"enable_{name}")(value)


_CUDNN = ("enabled", "benchmark", "deterministic", "allow_tf32")


def _write_cudnn(torch: Any, before: list[bool]) -> None:
    for name, value in zip(_CUDNN, before, strict=True):
        setattr(torch.backends.cudnn, name, value)


_MODULE_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


def _write_module_hooks(torch_module: Any, before: dict[str, dict[Any, Any]]) -> None:
    for name in _MODULE_HOOKS:
        hooks = getattr(torch_module, name)
        hooks.clear()
        hooks.update(before[name])


TORCH = (
    Place(
        "torch's default dtype",
        lambda m: m.get_default_dtype(),
        lambda m, x: m.set_default_dtype(x),
        "torch",
    ),
    Place(
        "torch's default device",
        lambda m: m.empty(0).device,  # get_default_device of torch 2.8 fails once a device was set and unset
        lambda m, x: m.set_default_device(None if x.type == "cpu" else x),
        "torch",
    ),
    Place("torch's gradient mode", lambda m: m.is_grad_enabled(), lambda m, x: m.set_grad_enabled(x), "torch"),
    Place("torch's threads", lambda m: m.get_num_threads(), lambda m, x: m.set_num_threads(x), "torch"),
    Place("torch's seed", lambda m: m.get_rng_state(), lambda m, x: m.set_rng_state(x), "torch"),
    Place(
        "torch's deterministic mode",
        lambda m: m.get_deterministic_debug_mode(),
        lambda m, x: m.set_deterministic_debug_mode(x),
        "torch",
    ),
    Place(
        "torch's matrix precision",
        lambda m: m.get_float32_matmul_precision(),
        lambda m, x: m.set_float32_matmul_precision(x),
        "torch",
    ),
    Place(
        "torch's anomaly mode",
        lambda m: m.is_anomaly_enabled(),
        lambda m, x: m.autograd.set_detect_anomaly(x),
        "torch",
    ),
    Place(
        "torch's autocast",
        lambda m: [m.is_autocast_enabled(device) for device in ("cpu", "cuda")],
        lambda m, x: [m.set_autocast_enabled(d, on) for d, on in zip(("cpu", "cuda"), x, strict=True)],
        "torch",
    ),
    Place("torch's attention kernels", _read_attention, _write_attention, "torch"),
    Place("cuDNN's flags", lambda m: [getattr(m.backends.cudnn, n) for n in _CUDNN], _write_cudnn, "torch"),
    Place(
        "torch's hooks on every module",
        lambda m: {name: dict(getattr(m, name)) for name in _MODULE_HOOKS},
        _write_module_hooks,
        "torch.nn.modules.module",
    ),
    Place("the flushing of denormal numbers", _read_flushing, lambda m, x: m.set_flush_denormal(x), "torch"),
    Place(
        "torch's way to share memory",
        lambda m: m.get_sharing_strategy(),
        lambda m, x: m.set_sharing_strategy(x),
        "torch.multiprocessing",
    ),
)
