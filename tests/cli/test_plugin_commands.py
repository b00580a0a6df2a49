"""Commands that plugins bring: found, listed, kept apart from u2a's own, and named where they fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from distributions import install, visible

import u2a
from u2a.cli.main import OWN, main
from u2a.contract.blame import Owner
from u2a.contract.names import COMMANDS
from u2a.errors import PluginError
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry

CODE = """
import click
import u2a

@click.command()
@click.argument("word")
def greet(word):
    "Say WORD."
    if word == "mistake":
        raise u2a.U2AError("greet: no such word")
    if word == "bug":
        raise KeyError("what nobody\\nforesaw")
    click.echo(f"hello {word}")

def broken():
    raise ImportError("a library is not there")

@u2a.hookimpl
def u2a_register_commands(register):
    register(u2a.CommandSpec("greet", lambda: greet, help="says a word"))
    register(u2a.CommandSpec("count", lambda: greet, group="data"))
    register(u2a.CommandSpec("torn", broken))
    register(u2a.CommandSpec("odd", lambda: "no command"))
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path) -> Iterator[None]:
    install(tmp_path, "u2a-plugin-greet", {"greet": "plugin_greet"}, code=CODE)
    with visible(tmp_path):
        yield


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_it_runs_where_it_was_put() -> None:
    assert run("greet", "you").output == "hello you\n"
    assert run("data", "count", "you").output == "hello you\n"
    for elsewhere in (("data", "greet", "you"), ("count", "you"), ("recipe", "count", "you")):
        assert run(*elsewhere).exit_code == 2
        assert "No such command" in run(*elsewhere).stderr


def test_help_and_list_name_it() -> None:
    top, below = run("--help").output, run("data", "--help").output
    assert "greet" in top
    assert "Say WORD." in top
    assert "quickstart" in top
    assert "count" in below
    assert "prepare" in below
    assert "count" not in top
    assert "u2a data count" in run("plugins", "list").output


def test_what_goes_wrong_is_one_line() -> None:
    mistake, bug = run("greet", "mistake"), run("greet", "bug")
    assert (mistake.exit_code, mistake.stderr) == (2, "error: greet: no such word\n")
    assert bug.exit_code == 2
    assert bug.stderr.count("\n") == 1
    assert "command 'greet' (plugin 'greet' of u2a-plugin-greet 1.0) failed: KeyError" in bug.stderr
    for name, reason in (("torn", "a library is not there"), ("odd", "load gave str")):
        failed = run(name, "--whatever")
        assert failed.exit_code == 2
        assert "plugin 'greet' of u2a-plugin-greet 1.0" in failed.stderr
        assert reason in failed.stderr
    assert run("greet", "you").exit_code == 0


def test_a_plugin_that_says_what_it_brings_is_imported_where_that_is_asked_for(tmp_path: Path) -> None:
    says = (("quiet_modality", "modalities"), ("quiet_command", "commands"))
    for name, kind in says:
        code = CODE if kind == "commands" else "raise ImportError('asked for')"
        code = code.replace('"greet", lambda', f'"{name}", lambda').replace("data", "recipe")
        code = code.replace('"torn"', '"torn_too"').replace('"odd"', '"odd_too"')
        install(tmp_path / "more", f"u2a-plugin-{name}", {name: f"plugin_{name}"}, code=code, brings=kind)
    with visible(tmp_path / "more"):
        listed = run("--help").output
        assert "quiet_command" in listed
        assert "greet" in listed  # of a plugin that does not say
        assert registry("commands").failures == []
        assert run("quiet_command", "you").output == "hello you\n"
        assert "plugin 'quiet_modality' of u2a-plugin-quiet-modality 1.0: failed: ImportError: asked for" in (
            run("plugins", "list").output
        )


def test_the_list_of_commands_imports_nothing_that_it_does_not_list() -> None:
    unwanted = ("torch", "pydantic", "rich", "u2a_image", "u2a_metrics", "u2a.cli.train")
    code = f"""
import sys
from u2a.cli import main
main(["--help"], standalone_mode=False)
print("imported:", *(name for name in {unwanted} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "quickstart" in done.stdout
    assert done.stdout.endswith("imported:\n"), "or u2a was not installed anew after its entry points changed"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (
            "modalities",
            "implements u2a_register_commands, and its entry points name other kinds alone",
        ),
        ("metrics commands", "stands in the group u2a.metrics and implements no u2a_register_metrics"),
    ],
)
def test_what_is_said_and_not_so_is_an_error(tmp_path: Path, kind: str, reason: str) -> None:
    code = CODE.replace('"greet", lambda', '"lie", lambda').replace("data", "recipe")
    first, _, second = kind.partition(" ")
    install(tmp_path / "more", "u2a-plugin-lie", {"lie": "plugin_lie"}, code=code, brings=first)
    if second:
        entries = next((tmp_path / "more").glob("*.dist-info")) / "entry_points.txt"
        entries.write_text(entries.read_text() + f"[u2a.{second}]\nlie = plugin_lie\n")
    with visible(tmp_path / "more"):
        assert f"plugin 'lie' of u2a-plugin-lie 1.0: failed: {reason}" in run("plugins", "list").output
        if not second:
            assert "No such command" in run("lie", "you").stderr


def test_what_a_plugin_did_when_imported_for_its_command_is_told_later(tmp_path: Path) -> None:
    code = "import os\nos.environ['U2A_LOUD'] = '1'\n" + CODE.replace('"greet", lambda', '"loud", lambda')
    install(tmp_path / "more", "u2a-plugin-loud", {"loud": "plugin_loud"}, code=code.replace("data", "recipe"))
    with visible(tmp_path / "more"):
        assert run("loud", "you").output == "hello you\n"
        assert "u2a-plugin-loud 1.0: changed the environment when loaded" in run("plugins", "list").output


def own_commands(group: click.Group) -> set[str]:
    return set(group.commands)


def test_the_list_of_u2as_own_is_true() -> None:
    assert set(COMMANDS[""]) == own_commands(main) == set(OWN)
    for name, command in main.commands.items():
        if isinstance(command, click.Group):
            assert set(COMMANDS[name]) == own_commands(command)


def test_a_command_does_what_the_list_says() -> None:
    for name, own in OWN.items():
        assert main.commands[name].get_short_help_str(limit=200) == own.does


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, names in COMMANDS.items() for name in (names[0], names[-1])]
)
def test_none_of_u2as_own_can_be_replaced(group: str, name: str) -> None:
    spec = u2a.CommandSpec(name, lambda: click.Command(name), group=group)
    with pytest.raises(PluginError, match="is u2a's own; take another name"):
        Registry().commands.add(Owner("x", "x-dist", "1"), spec)


def test_a_name_forgotten_in_that_list_is_u2as_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "", ())
    code = CODE.replace('"greet", lambda', '"params", lambda').replace("data", "")
    install(tmp_path / "more", "u2a-plugin-thief", {"thief": "plugin_thief"}, code=code)
    with visible(tmp_path / "more"):
        assert "params" in registry().commands.specs
        assert "WORD" not in run("params", "--help").output


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(PluginError, match="no group 'date'; there are 'recipe', 'data'"):
        Registry().commands.add(Owner("x", "x-dist", "1"), u2a.CommandSpec("y", click.Command, group="date"))


def test_what_every_command_takes_may_stand_before_it(tmp_path: Path) -> None:
    file = tmp_path / "before_the_command.py"
    file.write_text(CODE.replace('"greet"', '"welcome"'))
    assert run("--plugin", str(file), "welcome", "you").output == "hello you\n"
    assert run("data", "--no-plugin", "greet", "count", "you").exit_code == 2
    with pytest.raises(u2a.U2AError, match="no such word"):
        CliRunner().invoke(main, ["--debug", "greet", "mistake"], catch_exceptions=False)
