"""``python -m u2a_plugin_features FILE...``: mean and std of vectors, as lines for a recipe's section."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from u2a.errors import BadSample
from u2a_plugin_features.decode import decode_vectors


def stats(files: list[Path]) -> str:
    """``size``, ``mean`` and ``std`` of all vectors of NPY files; a place that never changes has std 1.

    Raises:
        BadSample: a file cannot be used; it is named.
    """
    vectors = [values for file in files for values in _vectors(file)]
    sizes = {len(vector) for vector in vectors}
    if len(sizes) > 1:
        raise BadSample(f"the files hold vectors of {' and '.join(map(str, sorted(sizes)))} numbers")
    values_TF = np.stack(vectors).astype(np.float64)
    mean_F, std_F = values_TF.mean(0), values_TF.std(0)
    std_F[std_F < 1e-9 * np.maximum(1, np.abs(mean_F))] = 1
    lines = [f"size = {len(mean_F)}"]
    for name, numbers in (("mean", mean_F), ("std", std_F)):
        lines.append(f"{name} = [{', '.join(f'{number:.6g}' for number in numbers)}]")
    return "\n".join(lines)


def _vectors(file: Path) -> np.ndarray:
    try:
        member = file.read_bytes()
        return decode_vectors(member, None)
    except (OSError, BadSample) as error:
        raise BadSample(f"{file}: {error}") from None


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m u2a_plugin_features FILE.npy ...  (the training samples)")
    try:
        print(stats([Path(name) for name in sys.argv[1:]]))
    except BadSample as error:
        sys.exit(f"error: {error}")
