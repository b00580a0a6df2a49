"""Conformance checks of a modality's record, options and preprocessor."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points

import numpy as np
import tomli_w
import torch
from PIL import Image

from u2a.contract.hookspecs import GROUP
from u2a.contract.modality import Description
from u2a.errors import BadSample, one_line
from u2a.plugins.modality_checks import check_spec
from u2a.testing.case import Case, Findings, check
from u2a.testing.compare import same

SPEC = "u2a/modality.py, ModalitySpec"
PREPROCESSOR = "u2a/modality.py, Preprocessor"
#: Bytes that are no file of any format: nothing, noise, text, and a cut PNG.
NO_FILES = (b"", bytes(range(256)), b"\0" * 64, b"neither this nor that", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")

_HEAVY = "sorted({'torch', 'transformers'} & set(sys.modules))"


@check("a complete ModalitySpec whose parts are callable and whose width is a positive int", SPEC)
def record(case: Case) -> Findings:
    check_spec(case.spec)
    width = case.spec.width(case.chosen)
    if type(width) is not int or width <= 0:
        yield f"width gave {width!r}"


@check(
    "options that TOML can hold and that validate again to the same values", "u2a/modality.py, ModalityOptions"
)
def options_round_trip(case: Case) -> Findings:
    values = case.chosen.model_dump(mode="json", exclude_none=True)
    tomli_w.dumps(values)  # a run folder keeps its recipe as TOML
    if case.spec.options.model_validate(values) != case.chosen:
        yield f"the dumped options {values} validate to other ones"


@check("a description for every option, for `u2a plugins show`", "u2a/modality.py, ModalityOptions")
def options_described(case: Case) -> Findings:
    for name, field in case.spec.options.model_fields.items():
        if not field.description:
            yield f"option {name!r} has no Field(description=...)"


@check("imports without torch or transformers, so that `u2a plugins list` is quick", "u2a/hookspecs.py")
def light_import(case: Case) -> Findings:
    for entry in entry_points(group=GROUP):  # a record made inside a test has none
        if entry.module.partition(".")[0] in case.packages:
            code = f"import sys, {entry.module}; sys.exit(' and '.join({_HEAVY}) or None)"
            found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            if found.returncode:
                yield f"importing {entry.module} imports {found.stderr.strip().splitlines()[-1]}"


@check(
    "the same example from the same bytes and seed, in training and in evaluation", PREPROCESSOR + ".__call__"
)
def deterministic_examples(case: Case) -> Findings:
    for train in (False, True):
        first, second = case.examples(train=train, seed=1), case.examples(train=train, seed=1)
        if not all(map(same, first, second)):
            yield f"two calls with train={train} and one seed differ"
    if not all(map(same, case.examples(seed=1), case.examples(seed=2))):
        yield "evaluation depends on the seed"


@check("random numbers from ``seed`` alone, no global generator touched", PREPROCESSOR + ".__call__")
def own_random_numbers(case: Case) -> Findings:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    case.examples(train=True, seed=3)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()
    names = ("torch", "random", "numpy.random")
    changed = [n for n, a, b in zip(names, before, after, strict=True) if not same({"": a}, {"": b})]
    if changed:
        yield f"it draws from the global generator of {', '.join(changed)}"


@check("a picklable preprocessor and picklable examples, because data workers get copies", PREPROCESSOR)
def picklable(case: Case) -> Findings:
    copy = pickle.loads(pickle.dumps(case.preprocessor))  # bytes made right here, by the author's own code
    for member, example in zip(case.members, case.examples(train=True, seed=5), strict=True):
        if not same(pickle.loads(pickle.dumps(copy(member, train=True, seed=5))), example):
            yield "a pickled copy gives another example"


@check("BadSample, and no other error, for bytes that cannot be used", PREPROCESSOR + ".__call__")
def bad_bytes(case: Case) -> Findings:
    halves = [member[: len(member) // 2] for member in case.members]
    for content in (*case.bad, *NO_FILES, *halves):
        shown = f"{content[:12]!r}... ({len(content)} bytes)"
        try:
            case.preprocessor(content, train=False, seed=0)
        except BadSample as error:
            if not str(error).strip():
                yield f"{shown} raises BadSample without a reason"
        except (Exception, SystemExit) as error:
            yield f"{shown} raises {type(error).__name__}: {one_line(error, 120)}"
        else:
            if content in case.bad:
                yield f"{shown} is accepted"


@check("collate to take one example or many and to give names and tensors", PREPROCESSOR + ".collate")
def collated_inputs(case: Case) -> Findings:
    for train in (False, True):
        for count in (1, len(case.members)):
            inputs = case.preprocessor.collate(case.examples(train=train)[:count])
            if not isinstance(inputs, Mapping) or not all(isinstance(name, str) for name in inputs):
                yield f"collate gave {type(inputs).__name__} instead of names to tensors"
            elif not any(isinstance(value, torch.Tensor) for value in inputs.values()):
                yield "collate gave no tensor"


@check("to_member to give bytes that the preprocessor reads, and that lose nothing", SPEC)
def to_member(case: Case) -> Findings:
    if case.spec.to_member is not None:
        for value in case.values:
            pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], bytes)
            value, member = value if pair else (value, None)
            example = case.preprocessor(case.spec.to_member(value), train=False, seed=0)
            if member is not None and not same(example, case.preprocessor(member, train=False, seed=0)):
                yield f"the value {str(value)[:40]!r} gives another example than the file that holds it"


@check("describe and preview to take every member, and to refuse a damaged one with BadSample alone", SPEC)
def described_and_shown(case: Case) -> Findings:
    for part, more, kinds in (("describe", (), Description), ("preview", (90,), Image.Image | str)):
        call = getattr(case.spec, part)
        for content in (*case.members, *case.bad, *NO_FILES) if call else ():
            try:
                found = call(case.chosen, content, *more)
            except BadSample as error:
                if content in case.members:
                    yield f"{part} refuses {content[:12]!r}...: {error}"
            except (Exception, SystemExit) as error:
                reason = one_line(error, 120)
                yield f"{part} raises {type(error).__name__} for {content[:12]!r}...: {reason}"
            else:
                if not isinstance(found, kinds):
                    yield f"{part} gave {type(found).__name__}"
