"""The folder of an export: graphs, how inputs are made, labels, calibration, a card, a program."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import u2a
from u2a.common.files import follow_umask, put_folder, sha256_file, write_json, write_text
from u2a.contract.modality import Example
from u2a.data.feeding.batches import Request, Sample, Samples
from u2a.data.reading.opening import evaluation_split
from u2a.encoders.quiet import quiet
from u2a.errors import U2AError
from u2a.evaluation.trained import Model, load
from u2a_export import tracing
from u2a_export.card import card
from u2a_export.graphs import Given, given

MANIFEST = "u2a_export.json"
PROGRAM = "run.py"
FORMAT = 1
NEEDS = ("onnx", "onnxscript", "onnxruntime")
#: An export computes in single precision on the CPU, whatever the run was trained in.
SETS = ("training.device=cpu", "training.precision=fp32")
#: Samples that graphs are traced with, and how many are looked through for them.
TRACED, LOOKED_AT = 3, 200


def check_ready(run: str, folder: Path, verify: bool) -> None:
    """What can be said at once.

    Raises:
        U2AError: a library is missing, or the folder holds something else.
    """
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise U2AError(f'u2a export needs {", ".join(missing)}: pip install "u2a[export]"')
    holds = folder.is_dir() and any(folder.iterdir())
    if (folder / MANIFEST).exists() and not verify:
        raise U2AError(
            f"{folder} holds an export already; give a new folder, or --verify to compare it with {run}"
        )
    if (holds or folder.is_file()) and not (folder / MANIFEST).exists():
        raise U2AError(f"{folder} holds something else; give a new folder")


def write_export(run: str, folder: Path, split: str, checkpoint: str, sets: Sequence[str]) -> dict[str, Any]:
    """Export a run; the folder is whole or not there.

    Args:
        split: two samples of it are traced with.

    Returns:
        The manifest.

    Raises:
        U2AError: an encoder has no graph, or the split cannot be read.
    """
    with quiet():
        model = load(run, checkpoint=checkpoint, sets=(*SETS, *sets))
    inputs = _inputs(model, split)
    programs = tracing.trace(model.network, inputs)
    folder = folder.absolute()
    work = folder.with_name(f".{folder.name}.writing-{secrets.token_hex(4)}")
    try:
        work.mkdir(parents=True)
        _write(model, checkpoint, inputs, programs, work)
        if folder.is_dir():
            folder.rmdir()
        put_folder(work, folder)
    except OSError as error:
        raise U2AError(f"{error.filename or folder}: {error.strerror or error}; nothing was exported") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def _inputs(model: Model, split: str) -> dict[str, Given]:
    examples = examples_of(model, split, TRACED)
    found = {}
    for name, preprocessor in model.preprocessors.items():
        if len(examples[name]) < 2:
            raise U2AError(
                f"{split}: fewer than two of its first samples have {name}; name another split: --split"
            )
        found[name] = given(name, preprocessor, examples[name])
    return found


def examples_of(model: Model, split: str, count: int) -> dict[str, list[Example]]:
    """The first so many preprocessed examples of every modality."""
    opened = evaluation_split(model.recipe, split)
    found: dict[str, list[Example]] = {name: [] for name in model.preprocessors}
    samples = Samples(opened, model.preprocessors, train=False)
    for i in range(min(len(opened), LOOKED_AT)):
        wanted = tuple(
            bool(there) and len(found[name]) < count
            for name, there in zip(model.network.names, opened.present_NM[i], strict=True)
        )
        if not any(wanted):
            if all(len(examples) >= count for examples in found.values()):
                break
            continue
        sample = samples[Request(i, wanted, 0)]
        for name, example in sample.examples.items() if isinstance(sample, Sample) else ():
            found[name].append(example)
    return found


def _write(
    model: Model, checkpoint: str, inputs: Mapping[str, Given], programs: Mapping[str, Any], work: Path
) -> None:
    for name, program in programs.items():
        keys = tuple(inputs[name].tensors) if name in inputs else tracing.HEAD_INPUTS
        tracing.write_program(program, work / f"{name}.pt2")
        tracing.write_onnx(name, program, keys, work / f"{name}.onnx")
    manifest = _manifest(model, checkpoint, inputs, work)
    write_text(work / "README.md", card(manifest))
    shutil.copyfile(Path(__file__).with_name("standalone.py"), work / PROGRAM)
    for path in work.iterdir():
        follow_umask(path)
    manifest["files"] = {path.name: sha256_file(path) for path in sorted(work.iterdir())}
    write_json(work / MANIFEST, manifest)


def _manifest(model: Model, checkpoint: str, inputs: Mapping[str, Given], work: Path) -> dict[str, Any]:
    task = model.recipe.task
    return {
        "format": FORMAT,
        "name": model.recipe.name,
        "u2a": u2a.__version__,
        "checkpoint": {"which": checkpoint, "step": model.meta["step"]},
        "task": {"kind": task.kind, "classes": list(task.classes), "metric": task.headline},
        "width": model.network.width,
        "modalities": {name: _modality(model, name, inputs[name], work) for name in model.network.names},
        "calibration": model.calibration.as_dict()["patterns"],
        "validation": model.meta.get("validation") or {},
    }


def _modality(model: Model, name: str, one: Given, work: Path) -> dict[str, Any]:
    preprocessor: Any = model.preprocessors[name]
    constants = preprocessor.constants() or {}
    for file, text in constants.pop("files", {}).items():
        write_text(work / f"{name}.{file}", text)
    saved = model.meta["modalities"][name]
    return {
        "kind": saved["kind"],
        "plugin": {"distribution": saved["distribution"], "version": saved["version"]},
        "base": saved["base"],
        "inputs": {
            key: {
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "shape": [None if dim in one.free[key] else size for dim, size in enumerate(tensor.shape)],
            }
            for key, tensor in one.tensors.items()
        },
        "frames": one.frames,
        "preprocessing": constants or None,
    }
