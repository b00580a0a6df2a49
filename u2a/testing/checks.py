"""All checks of the kit, in order, and `check_modality`, which runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from u2a.contract.modality import ModalitySpec
from u2a.testing.case import CHECKS, Case, Check, ConformanceError


def check_modality(
    spec: ModalitySpec,
    options: Mapping[str, Any],
    members: Sequence[bytes],
    *,
    bad: Sequence[bytes] = (),
    values: Sequence[Any] = (),
) -> None:
    """Hold a modality against every check of the kit; see `Case` for the arguments.

    Raises:
        ConformanceError: with every failure of every check: what the contract wants and where it says so.
    """
    case = Case(spec, options, members, bad, values)
    if failures := [failure for _, several in run_checks(case) for failure in several]:
        raise ConformanceError("\n".join(failures))


def run_checks(case: Case) -> Iterator[tuple[Check, list[str]]]:
    """Each check with its failures, but those that a failure before them explains: one cause, one failure."""
    for one in all_checks():
        yield one, one.new_failures(case)


def all_checks() -> list[Check]:
    """The checks, in the order of a sample's way through a modality."""
    for part in ("parts", "registration", "record", "backbone", "tokens", "position", "frozen", "learning"):
        import_module(f"u2a.testing.{part}")  # each registers its checks
    return CHECKS
