"""All checks of the kit, in order, and `check_modality`, which runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    if failures := [failure for one in all_checks() for failure in one.failures(case)]:
        raise ConformanceError("\n".join(failures))


def all_checks() -> list[Check]:
    """The checks, in the order of a sample's way through a modality."""
    from u2a.testing import learning, record, tokens  # noqa: F401  (they register their checks)

    return CHECKS
