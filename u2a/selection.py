"""Token selection (paper eq. 4) and modality dropout: the public name of `u2a.method.selection`."""

from u2a.method.selection import (
    draw_kept,
    drop_modalities,
    per_target,
    select_tokens,
    subsets,
)

__all__ = [
    "draw_kept",
    "drop_modalities",
    "per_target",
    "select_tokens",
    "subsets",
]
