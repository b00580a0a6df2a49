"""Graphs of a model by torch.export, all of them before any is written, and ONNX from these."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from u2a.errors import PluginError, U2AError, one_line
from u2a.method.model import U2A
from u2a_export.graphs import BranchGraph, Given, HeadGraph

HEAD = "head"
OUTPUTS = {HEAD: ("logits",)}
BRANCH_OUTPUTS = ("cls", "mask")
HEAD_INPUTS = ("cls", "mask", "present")


def trace(model: U2A, inputs: Mapping[str, Given]) -> dict[str, ExportedProgram]:
    """The model's graphs by name: of every modality, and `HEAD`.

    Raises:
        U2AError: every modality whose encoder has no graph, a line each.
    """
    model.merge_lora()
    made: dict[str, ExportedProgram] = {}
    faults = []
    for m, branch in enumerate(model.each_branch()):
        one = inputs[branch.name]
        graph = BranchGraph(model, m, list(one.tensors), one.frames)
        dims = tuple(dict.fromkeys(one.free[key], Dim.DYNAMIC) for key in one.tensors)
        try:
            made[branch.name] = _traced(graph, tuple(one.tensors.values()), (dims,))
        except Exception as error:  # of many classes, from deep inside torch
            who = f"modality {branch.name!r} ({branch.owner})"
            faults.append(f"{who} cannot be exported: {_reason(error)}")
    if faults:
        raise U2AError("\n".join(faults))
    made[HEAD] = _traced(HeadGraph(model), _head_inputs(model), tuple({0: Dim.DYNAMIC} for _ in HEAD_INPUTS))
    return made


def _traced(graph: nn.Module, arguments: tuple[Any, ...], dims: tuple[Any, ...]) -> ExportedProgram:
    with torch.no_grad(), _still():
        return torch.export.export(graph.eval(), arguments, dynamic_shapes=dims, strict=False)


def _head_inputs(model: U2A) -> tuple[torch.Tensor, ...]:
    M, D = len(model.names), model.width
    return torch.zeros(2, M, D), torch.zeros(2, M, M, D), torch.ones(2, M, dtype=torch.bool)


def _reason(error: BaseException) -> str:
    """In words for people, where the cause is a usual one."""
    text = f"{error} {error.__cause__ or ''}"
    if "data-dependent" in text or "DataDependent" in text:
        return "its encoder computes with the values of its inputs (lengths, say), which a graph cannot do"
    if "Constraints violated" in text:
        return "its encoder fixes the number of samples, or their length, while it runs"
    plain = error.__cause__ if isinstance(error, PluginError) and error.__cause__ else error
    return one_line(plain, 200)


def write_program(program: ExportedProgram, path: Path) -> None:
    """A graph for torch: ``torch.export.load`` reads it."""
    with _still():
        torch.export.save(program, path)


def write_onnx(name: str, program: ExportedProgram, keys: Sequence[str], path: Path) -> None:
    """A graph for ONNX runtimes.

    Raises:
        U2AError: ONNX has no operator for one that it uses.
    """
    outputs = OUTPUTS.get(name, BRANCH_OUTPUTS)
    try:
        with _still():
            made: Any = torch.onnx.export(
                program, (), dynamo=True, input_names=list(keys), output_names=list(outputs), verbose=False
            )
            made.save(path)
    except Exception as error:  # of many classes
        raise U2AError(f"{name}: torch.onnx cannot write its graph: {one_line(error, 300)}") from None


@contextlib.contextmanager
def _still() -> Iterator[None]:
    """Without torch's and onnxscript's words: what goes wrong is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
