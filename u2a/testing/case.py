"""For plugin authors: `check_modality` holds a modality against the whole contract, check by check.

In a test, with the pytest plugin that u2a installs (each check becomes a test of its own)::

    @pytest.fixture(scope="module")
    def modality():
        return Case(DEPTH, {"encoder": "..."}, members=[...], bad=[...])

    def test_conformance(u2a_check, modality):
        u2a_check(modality)

or in one go: ``check_modality(spec, options, members)``. Use a tiny checkpoint: the checks run the encoder
a few dozen times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from u2a.contract.blame import Owner, reason_of
from u2a.contract.modality import Example, Inputs, ModalityOptions, ModalitySpec, Preprocessor, Tokens, Tune
from u2a.method.branch import UnimodalBranch
from u2a.runs.build import base_identity
from u2a.testing.order import AFTER

OWNER = Owner("under test", "this distribution", "0")


@dataclass
class Case:
    """A modality with options and data to try it on.

    Args:
        spec: the record that the plugin registers.
        options: the fields of a recipe section, without ``kind``.
        members: contents of files that the preprocessor reads: at least two, with different content, and
            of different lengths if the modality pads.
        bad: contents that it must refuse with `u2a.errors.BadSample`, on top of those every check tries.
        values: what ``spec.to_member`` takes, if there is one; or pairs ``(value, member)`` of such a value and
            the file that holds the same.
    """

    spec: ModalitySpec
    options: Mapping[str, Any]
    members: Sequence[bytes]
    bad: Sequence[bytes] = ()
    values: Sequence[Any] = ()
    found: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def chosen(self) -> ModalityOptions:
        """The validated options."""
        return self.spec.options.model_validate({"kind": self.spec.name, **self.options})

    @property
    def tune(self) -> str:
        """What is trained of the backbone with these options."""
        return str(self.spec.chosen(self.chosen).tune)

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that the record's parts were written in; u2a's own do not count."""
        parts = (self.spec.options, self.spec.preprocessor, self.spec.backbone, self.spec.embedding)
        names = [str(getattr(part, "__module__", "")).partition(".")[0] for part in parts]
        return tuple(dict.fromkeys(name for name in names if name and name != "u2a"))

    @cached_property
    def preprocessor(self) -> Preprocessor:
        """The modality's preprocessor."""
        return self.spec.preprocessor(self.chosen)

    def examples(self, *, train: bool = False, seed: int = 0) -> list[Example]:
        """Every member preprocessed."""
        return [self.preprocessor(member, train=train, seed=seed) for member in self.members]

    @cached_property
    def inputs(self) -> Inputs:
        """All members as one batch, preprocessed for evaluation."""
        return self.preprocessor.collate(self.examples())

    def backbone(self) -> nn.Module:
        """A fresh backbone with its weights; a modality trained from scratch starts from a fixed seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.spec.backbone(self.chosen, weights=True)

    def branch(
        self,
        backbone: nn.Module | None = None,
        *,
        name: str = "under_test",
        n_mask_tokens: int = 1,
        seed: int = 0,
        tune: Tune | None = None,
    ) -> UnimodalBranch:
        """The branch that a training builds, in evaluation mode, with mask tokens drawn from `seed`."""
        backbone = self.backbone() if backbone is None else backbone
        spec = self.spec.chosen(self.chosen) if tune is None else replace(self.spec, tune=tune)
        base = base_identity(backbone, spec)  # before LoRA is put in
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = self.spec.width(self.chosen)
            lora = {"rank": 1, "alpha": 1.0, "dropout": 0.1}
            branch = UnimodalBranch(
                name,
                spec,
                self.chosen,
                OWNER,
                backbone,
                width=width,
                n_mask_tokens=n_mask_tokens,
                lora=lora,
            )
        branch.base = base
        return branch.eval()

    def tokens_of(self, backbone: nn.Module) -> Tokens:
        """What the embedding makes of `inputs` with a backbone, before any mask token."""
        with torch.no_grad():
            return self.spec.embedding(backbone, self.inputs)

    @cached_property
    def tokens(self) -> Tokens:
        """What the embedding makes of `inputs`, before any mask token."""
        return self.tokens_of(self.backbone().eval())


Findings = Iterator[str]
"""What a check found wrong, one sentence each; nothing if all is well."""


@dataclass(frozen=True)
class Check:
    """One part of the contract: what it wants, where that is written, and the code that tries it."""

    name: str
    wants: str
    where: str
    run: Callable[[Case], Findings]

    def failures(self, case: Case) -> list[str]:
        """Every finding as ``name: finding; the contract wants ... (where)``."""
        try:
            found = list(self.run(case))
        except (Exception, SystemExit) as error:  # an author's code: anything can come out of it
            found = [reason_of(error)]
        nobody = f"modality 'under_test' ({OWNER}): "  # not its author's name for it
        return [f"{self.name}: {text.replace(nobody, '')}{self.wanted}" for text in found]

    @property
    def wanted(self) -> str:
        """How each failure ends."""
        return f"; the contract wants {self.wants} ({self.where})"

    def new_failures(self, case: Case) -> list[str]:
        """Failures that no check before this one explains; none where it was not tried (`explained_by`)."""
        if self.name not in case.found:
            case.found[self.name] = []
            if self.explained_by(case) is None:
                told = {_cause(text) for several in case.found.values() for text in several}
                failures = self.failures(case)
                case.found[self.name] = [
                    one for one in failures if not _broke_down(one) or _cause(one) not in told
                ]
        return case.found[self.name]

    def explained_by(self, case: Case) -> str | None:
        """The check whose failure would bring this one's about, if there is one."""
        checks = {check.name: check for check in CHECKS}
        for name in AFTER.get(self.name, ()):
            if checks[name].new_failures(case):
                return name
            if (further := checks[name].explained_by(case)) is not None:
                return further
        return None

    def __call__(self, case: Case) -> None:
        """Run the check, as a test of its own.

        Raises:
            ConformanceError: with every failure, one a line.
        """
        if failures := self.new_failures(case):
            raise ConformanceError("\n".join(failures))
        if (cause := self.explained_by(case)) is not None:
            import pytest

            pytest.skip(f"not tried, because of: {cause}")


#: How `Check.failures` tells of an exception: by its class, behind the check's name.
_BROKE_DOWN = re.compile(r"[^:]*: ([a-z_]+: )?[A-Z]\w*: ")


def _broke_down(failure: str) -> bool:
    return _BROKE_DOWN.match(failure) is not None


def _cause(failure: str) -> str:
    """An exception's class and text, without the check and the part that it came out of."""
    match = _BROKE_DOWN.match(failure)
    text = failure[match.end(1) if match and match[1] else failure.find(": ") + 2 :]
    return text.partition("; the contract wants")[0]


class ConformanceError(AssertionError):
    """A modality broke the contract; one line a failure."""


CHECKS: list[Check] = []


def check(wants: str, where: str) -> Callable[[Callable[[Case], Findings]], Check]:
    """Make a generator function a check of the kit; it yields what it finds wrong."""

    def register(run: Callable[[Case], Findings]) -> Check:
        CHECKS.append(Check(run.__name__.replace("_", " "), wants, where, run))
        return CHECKS[-1]

    return register
