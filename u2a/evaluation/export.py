"""Every sample's probabilities in every scored pattern, as rows of a file.

Shape suffixes: N samples, M modalities in recipe order, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from u2a.common.files import replacing, write_csv, write_text
from u2a.errors import U2AError
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.metrics import probabilities
from u2a.evaluation.scoring import classify
from u2a.method.model import U2A
from u2a.recipe.sections import TaskSection

ENDINGS = (".csv", ".jsonl", ".parquet")
Row = dict[str, Any]


def check_predictions(file: Path) -> None:
    """Refuse, before anything is computed, a file that could not be written.

    Raises:
        U2AError: an ending of no known kind, a folder that is not there, or Parquet without pyarrow.
    """
    if file.suffix.lower() not in ENDINGS:
        raise U2AError(f"--predictions {file}: give a file that ends in {', '.join(ENDINGS)}")
    if not file.absolute().parent.is_dir():
        raise U2AError(f"--predictions {file}: there is no folder {file.parent}")
    if file.is_dir():
        raise U2AError(f"--predictions {file}: is a folder")
    if file.suffix.lower() == ".parquet":
        _pyarrow(file)


def prediction_rows(model: U2A, encoded: Encoded, task: TaskSection, kept: Sequence[Tensor]) -> Iterator[Row]:
    """A row a sample and pattern, the patterns one after another; samples that a pattern empties are left out.

    Args:
        kept: each pattern as what samples may keep, bool, ``[M]`` or ``[N, M]``.

    Yields:
        ``key``; ``missing``: what the pattern takes from this sample; ``available``: what is left of it;
        ``label`` and ``prediction``: a class, in multi-label tasks a list of classes (those of probability 0.5
        and more); and ``p(CLASS)`` of each class, float: softmax or sigmoid, before any calibration, as the
        scores of ``u2a eval`` take them.
    """
    names, present_NM = model.names, encoded.present_NM
    for kept_M in kept:
        left_NM = present_NM & kept_M
        gone_NM = present_NM & ~kept_M
        usable_N = left_NM.any(1)
        if not usable_N.any():
            continue
        p_NC = probabilities(classify(model, encoded, left_NM), task)
        for i in torch.nonzero(usable_N).flatten().tolist():
            yield {
                "key": encoded.keys[i],
                "missing": _names(gone_NM[i], names),
                "available": _names(left_NM[i], names),
                "label": _label(encoded.target[i], task),
                "prediction": _guess(p_NC[i], task),
                **{f"p({c})": p for c, p in zip(task.classes, p_NC[i].tolist(), strict=True)},
            }


def write_predictions(file: Path, rows: Iterator[Row]) -> int:
    """Write the rows by the file's ending; returns how many. Lists are JSON text in CSV.

    Raises:
        U2AError: the file cannot be written.
    """
    found = list(rows)
    kind = file.suffix.lower()
    try:
        if kind == ".parquet":
            _write_parquet(file, found)
        elif kind == ".csv":
            write_csv(file, found)
        else:
            write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found))
    except OSError as error:
        raise U2AError(f"--predictions {file}: cannot be written: {error.strerror}") from None
    return len(found)


def _names(chosen: Tensor, names: Sequence[str]) -> list[str]:
    return [name for name, there in zip(names, chosen.tolist(), strict=True) if there]


def _label(target: Tensor, task: TaskSection) -> Any:
    if task.kind == "single_label":
        return task.classes[int(target)]
    return _names(target > 0, task.classes)


def _guess(p_C: Tensor, task: TaskSection) -> Any:
    return task.classes[int(p_C.argmax())] if task.kind == "single_label" else _names(p_C >= 0.5, task.classes)


def _write_parquet(file: Path, rows: list[Row]) -> None:
    pyarrow = _pyarrow(file)
    import pyarrow.parquet as parquet

    with replacing(file) as stream:
        parquet.write_table(pyarrow.Table.from_pylist(rows), stream)


def _pyarrow(file: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise U2AError(f'--predictions {file}: writing it needs pyarrow: pip install "u2a[parquet]"') from None
    return pyarrow
