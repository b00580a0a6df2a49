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
from u2a.common.seeds import stable_seed
from u2a.evaluation.baselines import Features

#: A file holds no more than this; beyond it, samples are drawn.
MOST_BYTES = 256 << 20


def features_of(columns: Sequence[Tensor], n_modalities: int) -> Features:
    """Features of what `u2a.evaluation.tokens.token_columns` gave for a split, float32."""
    *tokens, present_NM, target, _ = (column.cpu().numpy() for column in columns)
    read_NF = [
        np.concatenate([tokens[3 * m], tokens[3 * m + 1]], 1).astype(np.float32) for m in range(n_modalities)
    ]
    return Features(tuple(read_NF), present_NM, target)


def part_of(side: Features, most: int, seed: int) -> Features:
    """At most so many samples, drawn from the seed if there are more."""
    if len(side.target) <= most:
        return side
    draw = np.random.default_rng(stable_seed("baselines", seed))
    return rows_of(side, np.sort(draw.permutation(len(side.target))[:most]))


def rows_of(side: Features, rows: np.ndarray) -> Features:
    """The chosen samples only (bool or places)."""
    return Features(tuple(x[rows] for x in side.read_NF), side.present_NM[rows], side.target[rows])


def keep(folder: Path, name: str, side: Features, identity: str) -> None:
    """Write ``frozen-<name>.safetensors``; `identity` says of which data it is."""
    width = sum(x.shape[1] for x in side.read_NF)
    kept = part_of(side, MOST_BYTES // (4 * width), 0)
    tensors = {str(m): np.ascontiguousarray(x) for m, x in enumerate(kept.read_NF)}
    tensors |= {"present": kept.present_NM, "target": kept.target}
    about = {"identity": identity, "samples": str(len(side.target))}
    with replacing(_path(folder, name)) as stream:
        stream.write(save(tensors, about))


def kept(folder: Path, name: str, identity: str, *, part: bool) -> Features | None:
    """What `keep` wrote of the same data; None if there is none, or only a `part` of it where all is wanted."""
    try:
        with safe_open(_path(folder, name), "np") as file:
            about = file.metadata() or {}
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        read_NF = tuple(found[str(m)] for m in range(len(found) - 2))
        side = Features(read_NF, found["present"], found["target"])
        whole = about.get("samples") == str(len(side.target))
    except (OSError, SafetensorError, KeyError):
        return None  # it can be made again
    return side if about.get("identity") == identity and (whole or part) else None


def count(folder: Path, name: str) -> int:
    """How many samples a file of `keep` stands for."""
    with safe_open(_path(folder, name), "np") as file:
        return int(file.metadata()["samples"])


def _path(folder: Path, name: str) -> Path:
    return folder / f"frozen-{name}.safetensors"
