"""Which checks explain which: one mistake fails many of them, and its author is to read of it once."""

from __future__ import annotations

_RUNS = ("parts",)
_SOUND = ("parts", "token shapes", "hidden shapes", "deterministic outputs")

#: A check's name to those whose failure would bring its own about.
AFTER: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("record", "deterministic examples", "own random numbers", "bad bytes", "described and shown"), _RUNS
    ),
    **dict.fromkeys(
        ("collated inputs", "to member", "meta device", "weights left alone", "base weights"), _RUNS
    ),
    "picklable": ("parts", "deterministic examples"),
    **dict.fromkeys(("token shapes", "checkpoint read", "all blocks adapted", "sharing", "lora count"), _RUNS),
    "class position": ("parts", "token shapes"),
    "hidden shapes": ("parts", "token shapes"),
    "deterministic outputs": ("parts", "token shapes", "hidden shapes"),
    **dict.fromkeys(("final norm", "bfloat16", "mask token", "padding", "shared weights"), _SOUND),
    **dict.fromkeys(("buffers kept", "lora effect", "save and load"), _SOUND),
    "class token reads": (*_SOUND, "class position"),
    "mask token positions": (*_SOUND, "mask token"),
    "batches": (*_SOUND, "padding", "mask token positions"),
    "missing samples": (*_SOUND, "padding", "batches"),
    "gradients": (*_SOUND, "lora effect"),
}
