"""An export beside u2a, on real samples in every pattern: its graphs, and what its own program reads and says.

Shape suffixes: N samples, M modalities in recipe order, D width, C classes.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from u2a.common.files import sha256_file
from u2a.common.terminal import console
from u2a.data.feeding.batches import Collator, Request, Sample, Samples, unwrap
from u2a.data.reading.opening import evaluation_split
from u2a.encoders.quiet import quiet
from u2a.errors import U2AError
from u2a.evaluation.calibration import pattern_name
from u2a.evaluation.trained import Model, load
from u2a.media.texts import decode_text
from u2a.method.selection import subsets
from u2a_export.bundle import MANIFEST, PROGRAM, SETS
from u2a_export.graphs import MASK, as_given, with_mask

TOLERANCE = 1e-4
#: Pillow's and torchvision's resampling may round a pixel otherwise; a text is read alike.
READ_TOLERANCE = {"image": 1.5, "wordpiece": 0.0}


def check_export(run: str, folder: Path, split: str, count: int, sets: Sequence[str] = ()) -> dict[str, Any]:
    """Compare an export with the run that it was made of.

    Returns:
        By pattern the largest difference of logits (as a share of the largest one, where that is above 1), of
        the ONNX graphs and of torch's, and of calibrated probabilities; and of each reader the largest
        difference of what it makes of the same files.

    Raises:
        U2AError: a file was changed, the run is another one, or a difference is larger than 1e-4.
    """
    program = load_program(folder)
    exported = program.Exported(folder)
    _check_files(folder, exported.spec)
    with quiet():
        model = load(run, checkpoint=exported.spec["checkpoint"]["which"], sets=(*SETS, *sets))
    _check_same(run, folder, model, exported.spec)
    samples = _samples(model, split, count)
    batch = unwrap(_collator(model)(samples))
    theirs = _Graphs(exported, folder, batch)
    with torch.inference_mode():
        tokens = model.network.encode(batch.inputs, batch.present_BM)
    patterns = {}
    for pattern in subsets(len(model.network.names)):
        present_NM = batch.present_BM & torch.tensor(pattern)
        some_N = present_NM.any(1)
        if some_N.any():
            name = pattern_name(model.network.names, pattern)
            patterns[name] = _compare(model, program, exported, tokens, theirs, present_NM, some_N)
    readers = _readers(model, exported, split, samples)
    lines = [
        *_pattern_lines(patterns),
        *(f"{name} read by {PROGRAM}: {said}" for name, said in readers.items()),
    ]
    worst = max(one[key] for one in patterns.values() for key in one if key != "n")
    if not worst <= TOLERANCE:
        raise U2AError(
            "\n".join([*lines, f"{folder}: differs from {run} by {worst:.2g}, more than {TOLERANCE}"])
        )
    lines.append(
        f"equal to u2a within {TOLERANCE} in {len(patterns)} patterns (largest difference {worst:.2g})"
    )
    return {"patterns": patterns, "readers": readers, "largest": worst, "lines": lines}


def load_program(folder: Path) -> Any:
    """The export's own program, as this version of u2a writes it: what lies in the folder is not run."""
    own = Path(__file__).with_name("standalone.py")
    if (folder / PROGRAM).read_bytes() != own.read_bytes():
        console.print(f"{folder / PROGRAM} was changed; u2a's own is compared", markup=False, highlight=False)
    spec = importlib.util.spec_from_file_location("u2a_export_standalone", own)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check_files(folder: Path, spec: Mapping[str, Any]) -> None:
    for name, sha in spec["files"].items():
        path = folder / Path(name).name
        if not path.is_file():
            raise U2AError(f"{path} is not there; export again")
        if path.suffix in (".onnx", ".pt2", ".json") and sha256_file(path) != sha:
            raise U2AError(f"{path}: checksum mismatch; the file was changed or damaged")


def _check_same(run: str, folder: Path, model: Model, spec: Mapping[str, Any]) -> None:
    if list(spec["modalities"]) != list(model.network.names) or spec["task"]["classes"] != list(
        model.recipe.task.classes
    ):
        raise U2AError(f"{folder / MANIFEST}: is of another run than {run}")
    if spec["checkpoint"]["step"] != model.meta["step"]:
        step = spec["checkpoint"]["step"]
        raise U2AError(f"{folder} is of step {step}, and {run} is at {model.meta['step']} now; export it again")


def _samples(model: Model, split: str, count: int) -> list[Sample]:
    opened = evaluation_split(model.recipe, split)
    read = Samples(opened, model.preprocessors, train=False)
    asked = (
        read[Request(i, tuple(map(bool, opened.present_NM[i])), 0)] for i in range(min(count, len(opened)))
    )
    return [sample for sample in asked if isinstance(sample, Sample)]


def _collator(model: Model) -> Collator:
    task = model.recipe.task
    return Collator(model.preprocessors, len(task.classes), multi_label=task.kind == "multi_label")


class _Graphs:
    """What the export's graphs make of a batch, encoded once by each kind; also with one sample alone."""

    def __init__(self, exported: Any, folder: Path, batch: Any) -> None:
        self.exported = exported
        self.inputs = {
            name: _arrays(name, one, exported.spec["modalities"][name]["inputs"])
            for name, one in batch.inputs.items()
        }
        self.present = batch.present_BM.numpy()
        self.programs = {
            name: torch.export.load(folder / f"{name}.pt2").module() for name in (*exported.names, "head")
        }
        onnx = {name: exported.run(name, one) for name, one in self.inputs.items()}
        self.tokens = {"onnx": self._placed(onnx), "torch": self._placed(self._by_torch())}
        for name, one in self.inputs.items():
            alone = exported.run(name, {key: value[:1] for key, value in one.items()})
            if max(np.abs(a[0] - b[0]).max() for a, b in zip(alone, onnx[name], strict=True)) > TOLERANCE:
                raise U2AError(f"{folder / name}.onnx: one sample alone differs from the same in a batch")

    def _by_torch(self) -> dict[str, list[np.ndarray]]:
        with torch.inference_mode():
            return {
                name: [out.numpy() for out in self.programs[name](*map(torch.from_numpy, one.values()))]
                for name, one in self.inputs.items()
            }

    def _placed(self, made: Mapping[str, Sequence[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        (N, M), D = self.present.shape, self.exported.spec["width"]
        cls, mask = np.zeros((N, M, D), np.float32), np.zeros((N, M, M, D), np.float32)
        for m, name in enumerate(self.exported.names):
            if name in made:
                cls[self.present[:, m], m], mask[self.present[:, m], m] = made[name]
        return cls, mask

    def logits(self, kind: str, present: np.ndarray) -> np.ndarray:
        cls, mask = self.tokens[kind]
        if kind == "onnx":
            return self.exported.run("head", {"cls": cls, "mask": mask, "present": present})[0]
        with torch.inference_mode():
            return self.programs["head"](*map(torch.from_numpy, (cls, mask, present))).numpy()


def _arrays(name: str, inputs: Any, stated: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A batch's inputs in the graph's order.

    Raises:
        U2AError: they are others than those that it was traced with.
    """
    tensors, _ = as_given(name, inputs)
    series = [key for key, one in stated.items() if key != MASK and None in one["shape"][1:2]]
    if MASK in stated and series:
        tensors = with_mask(tensors, series[0])
    if tensors.keys() != stated.keys():
        raise U2AError(
            f"{name}: these samples have the inputs {', '.join(tensors)}, and the graph takes "
            f"{', '.join(stated)}: it was traced with samples of one length; export again with another --split"
        )
    return {key: tensors[key].numpy() for key in stated}


def _compare(
    model: Model,
    program: Any,
    exported: Any,
    tokens: Any,
    theirs: _Graphs,
    present_NM: torch.Tensor,
    some_N: torch.Tensor,
) -> dict[str, float]:
    with torch.inference_mode():
        right_NC = model.network.classify(*tokens, present_NM)[some_N].numpy()
    present, M = present_NM[some_N].numpy(), len(model.network.names)
    found = {kind: theirs.logits(kind, present_NM.numpy())[some_N.numpy()] for kind in ("onnx", "torch")}
    many = model.recipe.task.kind == "multi_label"
    far = 0.0
    for right, made, there in zip(right_NC, found["onnx"], present, strict=True):
        name = pattern_name(model.network.names, there)
        wanted = model.calibration.probabilities(right[None], name, M)[0]
        fit = exported.fit(there.tolist())
        far = max(far, float(np.abs(wanted - program.calibrated(made, fit, many)).max()))
    scale = max(1.0, float(np.abs(right_NC).max()))  # single precision has so many digits, and no more
    differences = {kind: float(np.abs(logits - right_NC).max()) / scale for kind, logits in found.items()}
    return {"n": int(some_N.sum()), **differences, "probabilities": far}


def _pattern_lines(patterns: Mapping[str, Mapping[str, float]]) -> list[str]:
    width = max(map(len, patterns))
    return [
        f"{name.ljust(width)}  N {one['n']:3d}  ONNX {one['onnx']:.1e}  torch {one['torch']:.1e}  "
        f"probabilities {one['probabilities']:.1e}"
        for name, one in patterns.items()
    ]


def _readers(model: Model, exported: Any, split: str, samples: Sequence[Sample]) -> dict[str, str]:
    """How far what the export's program reads of the same files is from what u2a reads."""
    opened = evaluation_split(model.recipe, split)
    found = {}
    for name in model.network.names:
        reader = (exported.spec["modalities"][name]["preprocessing"] or {}).get("reader")
        if reader in READ_TOLERANCE:
            having = [one for one in samples if name in one.examples][:16]
            found[name] = _reader(exported, opened, name, reader, having)
    return found


def _reader(exported: Any, opened: Any, name: str, reader: str, samples: Sequence[Sample]) -> str:
    constants = exported.spec["modalities"][name]["preprocessing"]
    worst, wrong = 0.0, 0
    for sample in samples:
        member = opened.members(sample.index, [name])[name]
        if reader == "image":
            ours = sample.examples[name]["pixel_values"].numpy()
            theirs = exported.read(name, io.BytesIO(member))["pixel_values"][0]
            levels = np.abs(ours - theirs) * np.array(constants["std"])[:, None, None] / constants["rescale"]
            worst = max(worst, float(levels.max()))
        else:
            ids = exported.read(name, decode_text(member))["input_ids"][0].tolist()
            wrong += ids != sample.examples[name]["input_ids"].tolist()
    if reader == "image":
        return f"pixels within {worst:.2f} of 255 levels, of {len(samples)} files"
    return f"{len(samples) - wrong} of {len(samples)} texts token by token the same"
