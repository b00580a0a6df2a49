"""Commands that plugins bring: found, listed, kept apart from u2a's own, and named where they fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from distributions import install, visible

import u2a
from u2a.cli.main import main
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


def own_commands(group: click.Group) -> set[str]:
    return set(group.commands)


def test_the_list_of_u2as_own_is_true() -> None:
    assert set(COMMANDS[""]) == own_commands(main)
    for name, command in main.commands.items():
        if isinstance(command, click.Group):
            assert set(COMMANDS[name]) == own_commands(command)


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
