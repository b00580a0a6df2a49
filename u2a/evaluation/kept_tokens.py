"""Frozen tokens of a run's data, kept beside the run: what the head start encoded need not be encoded again.

Shape suffixes: N samples, M modalities in recipe order, F class and mean token of one encoder side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from u2a.common.files import replacing
from u2a.evaluation.baselines import Features

#: Larger ones are not kept.
MOST_BYTES = 256 << 20


def features_of(columns: Sequence[Tensor], n_modalities: int) -> Features:
    """Features of what `u2a.evaluation.tokens.token_columns` gave for a split, float32."""
    *tokens, present_NM, target, _ = (column.cpu().numpy() for column in columns)
    read_NF = [
        np.concatenate([tokens[3 * m], tokens[3 * m + 1]], 1).astype(np.float32) for m in range(n_modalities)
    ]
    return Features(tuple(read_NF), present_NM, target)


def keep(folder: Path, name: str, side: Features, identity: str) -> None:
    """Write ``frozen-<name>.safetensors``, unless it grew too large; `identity` says of which data it is."""
    if sum(x.nbytes for x in side.read_NF) > MOST_BYTES:
        return
    tensors = {str(m): np.ascontiguousarray(x) for m, x in enumerate(side.read_NF)}
    tensors |= {"present": side.present_NM, "target": side.target}
    with replacing(_path(folder, name)) as stream:
        stream.write(save(tensors, {"identity": identity}))


def kept(folder: Path, name: str, identity: str) -> Features | None:
    """What `keep` wrote of the same data; None if there is none: it can be made again."""
    try:
        with safe_open(_path(folder, name), "np") as file:
            if (file.metadata() or {}).get("identity") != identity:
                return None
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        read_NF = tuple(found[str(m)] for m in range(len(found) - 2))
        return Features(read_NF, found["present"], found["target"])
    except (OSError, SafetensorError, KeyError):
        return None


def _path(folder: Path, name: str) -> Path:
    return folder / f"frozen-{name}.safetensors"
