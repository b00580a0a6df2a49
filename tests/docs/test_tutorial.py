"""docs/plugins.md: its code passes, its commands run as printed, and it is as short as it says."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest
from fresh import Environment, build_wheel

from scripts.reference.plugins import reference
from u2a.testing.checks import check_modality

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(\w+) ?([\w./-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 60


def blocks() -> list[tuple[str, str, str]]:
    """Language, file name (or nothing) and content of every block, in order."""
    return [(m[1], m[2], m[3]) for m in _BLOCK.finditer((DOCS / "plugins.md").read_text())]


def module_source() -> str:
    return next(text for _, name, text in blocks() if name == "u2a_plugin_dna.py")


def test_a_minimal_modality_has_at_most_sixty_lines_of_code():
    lines = [line for line in module_source().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert "u2a_register_modalities" in module_source()
    assert 20 < len(lines) <= MOST_LINES


def test_the_tutorials_modality_conforms(tmp_path, monkeypatch):
    path = tmp_path / "u2a_plugin_dna.py"
    path.write_text(module_source())
    spec = importlib.util.spec_from_file_location("u2a_plugin_dna", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "u2a_plugin_dna", module)  # pickling looks there
    spec.loader.exec_module(module)
    check_modality(module.DNA, {"width": 16}, [b"ACGT", b"GATTACA", b"CCC"], bad=[b"", b"ACGU"])


def test_every_block_is_run_or_named():
    kinds = {(language, bool(name)) for language, name, _ in blocks()}
    assert kinds == {("toml", True), ("python", True), ("sh", False), ("console", False)}
    for language, name, text in blocks():
        if language == "python":
            ast.parse(text, name)


def test_the_reference_is_made_from_the_docstrings():
    made = reference()
    assert (DOCS / "plugins-reference.md").read_text() == made, (
        "run: python -m scripts.reference.plugins > docs/plugins-reference.md"
    )
    for name in ("u2a_register_modalities", "ModalitySpec", "Preprocessor", "Tokens", "| padding |"):
        assert name in made


@pytest.mark.slow
def test_the_tutorials_blocks_run_as_printed(tmp_path):
    environment = Environment(tmp_path / "venv", build_wheel(tmp_path))
    folder = tmp_path / "u2a-plugin-dna"
    outputs = []
    for language, name, text in blocks():
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        elif language == "sh":
            outputs.append(environment.run(text, folder).stdout)
    install_and_test, train = outputs
    assert re.search(r"dna +txt +u2a-plugin-dna +0.1.0 +ok", install_and_test)
    assert "failed:" not in install_and_test
    assert "most bases of a sequence" in install_and_test
    assert " passed" in install_and_test
    accuracy = re.search(r"^ *complete +([01]\.\d+)", train, re.MULTILINE)
    assert accuracy is not None, train
    assert float(accuracy[1]) > 0.7
