"""``u2a plugins new``: what it writes installs, passes the conformance kit and trains, as it stands."""

from __future__ import annotations

import os
import tomllib

import pytest
from click.testing import CliRunner
from distributions import install
from processes import python

from u2a.cli.main import main
from u2a.errors import U2AError
from u2a.plugins.loading import registry
from u2a.plugins.new import new_plugin

#: As `python -m pytest` does it where no other conftest.py is loaded already.
PYTEST = """import sys, pytest
for name in [name for name in sys.modules if name.endswith("conftest")]:
    del sys.modules[name]
sys.exit(pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider"]))
"""


@pytest.mark.parametrize("pretrained", [False, True])
def test_the_new_distribution_registers_passes_and_trains(tmp_path, pretrained):
    folder = new_plugin("wrist_sensor", registry(), tmp_path / "made", pretrained=pretrained)
    install(tmp_path / "site", "u2a-plugin-wrist-sensor", {"wrist_sensor": "u2a_plugin_wrist_sensor"})
    path = os.pathsep.join([str(folder), str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = python("-c", PYTEST, cwd=folder, env={"PYTHONPATH": path})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("more", [[], ["--pretrained"]])
def test_nothing_of_the_template_is_left(tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["plugins", "new", "wrist_sensor", *more])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "u2a-plugin-wrist-sensor"
    assert f"pip install -e {folder.name}" in result.output
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix() for path in files}
    assert {
        "pyproject.toml",
        "README.md",
        "u2a_plugin_wrist_sensor/spec.py",
        "tests/test_conformance.py",
    } <= names
    assert not [path for path in files if "mymodality" in (str(path) + path.read_text()).lower()]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "u2a-plugin-wrist-sensor"
    assert project["entry-points"]["u2a"] == {"wrist_sensor": "u2a_plugin_wrist_sensor"}
    assert "class WristSensorOptions" in (folder / "u2a_plugin_wrist_sensor" / "spec.py").read_text()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Depth", "is no name for a modality"),
        ("3d", "is no name for a modality"),
        ("../up", "is no name for a modality"),
        ("class", "this name is a word of Python"),
        ("image", "already registered by plugin 'image' of u2a"),
        ("label", "column of every manifest"),
    ],
)
def test_names_that_cannot_be_used(tmp_path, monkeypatch, name, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(U2AError, match=reason):
        new_plugin(name, registry())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(main, ["plugins", "new", "sensor", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "is there already and not empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
