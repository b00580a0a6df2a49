"""A library that is too old: what to install, instead of a traceback from its inside."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner

from u2a.cli.base import Command


def ended(*words: str, error: type[Exception] | None = None) -> tuple[int, str, BaseException | None]:
    def fails() -> NoReturn:
        raise (error or ImportError)("cannot import name 'initialization'\nfrom somewhere deep")

    done = CliRunner().invoke(Command("work", callback=fails), words)
    return done.exit_code, done.stderr, done.exception


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "transformers-4.57.6.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.57.6\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("old")
def test_an_old_library_is_named_with_what_fits() -> None:
    code, said, _ = ended()
    assert code == 2
    first, second = said.splitlines()
    assert first.startswith(
        "error: u2a does not run with what is installed: transformers is 4.57.6: pip install 'tra"
    )
    assert ">=5" in first
    assert second == (
        "error: ImportError: cannot import name 'initialization' from somewhere deep; --debug shows where"
    )


@pytest.mark.usefixtures("old")
def test_with_debug_the_traceback_is_shown() -> None:
    assert isinstance(ended("--debug")[2], ImportError)


@pytest.mark.usefixtures("old")
def test_what_a_person_typed_stays_their_mistake() -> None:
    assert "No such option" in ended("--nonsense")[1]
    code, said, _ = ended(error=click.UsageError)
    assert (code, "installed" in said) == (2, False)


def test_where_all_fits_an_error_is_u2as_own() -> None:
    assert isinstance(ended()[2], ImportError)
