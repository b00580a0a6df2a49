"""The pytest plugin: a test that asks for ``u2a_check`` runs once for each check of the conformance kit.

pytest loads this module wherever u2a is installed, so it imports nothing heavy by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

FIXTURE = "u2a_check"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``u2a_check`` every `u2a.testing.case.Check` in turn."""
    if FIXTURE in metafunc.fixturenames:
        from u2a.testing.checks import all_checks

        checks = all_checks()
        metafunc.parametrize(FIXTURE, checks, ids=[check.name.replace(" ", "-") for check in checks])
