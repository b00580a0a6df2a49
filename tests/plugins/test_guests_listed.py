"""Plugins as people write them, beside packages as people have them: each works, or is listed with why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributions import install

SOUND = (Path(__file__).parents[1] / "letters_plugin.py").read_text()
HOOK, MARKED = SOUND.index("@u2a.hookimpl"), "@u2a.hookimpl"


def named(name: str) -> str:
    return SOUND.replace('name="letters"', f'name="{name}"')


def spec_of(name: str) -> str:
    """A module with the record as SPEC, and no hook."""
    code = named(name)
    record = code[code.index("u2a.ModalitySpec(") :].rstrip().removesuffix(")")
    return code[:HOOK] + "SPEC = " + record + "\n\n"


def hook(name: str, head: str, body: str, mark: str = MARKED) -> str:
    return f"{spec_of(name)}{mark}\n{head}:\n    {body}\n"


REGISTER = "u2a_register_modalities(register)"
PRINTS = "import logging, os, sys\nprint('Loading ...')\nos.system('echo from another program')\n"
PRINTS += "logging.basicConfig(stream=sys.stdout, level=0)\nlogging.info('hello')\n"
LAZY = """

def __dir__():
    return [*globals(), "viewer"]


def __getattr__(name):
    import no_such_viewer
"""
UNREADABLE = "class Odd(BaseException):\n    def __str__(self): raise ValueError\n\n\nraise Odd\n"
PANIC = "class PanicException(BaseException):\n    pass\n\n\nraise PanicException('it\\x1b[31m panicked')\n"
DEEP = "def deep():\n    deep()\n\n\ndeep()\n"
ASKS = "from u2a.plugins.loading import registry; registry().spec('image'); register(SPEC)"
EXTENSIONS = '("abc",)'

#: name: (code of the module, the status: "ok", or what the reason says)
LISTED = {
    "returns": (
        hook("returns", f"def {REGISTER}", "return [SPEC]"),
        "returned list and registered nothing; write: def",
    ),
    "yields": (hook("yields", f"def {REGISTER}", "yield SPEC"), "yields, which nothing reads; write: def"),
    "waits": (
        hook("waits", f"async def {REGISTER}", "register(SPEC)"),
        "is async, which nothing awaits; write: def",
    ),
    "wraps": (
        hook("wraps", f"def {REGISTER}", "yield; register(SPEC)", "@u2a.hookimpl(wrapper=True)"),
        "is a hook wrapper, and there is nothing to wrap",
    ),
    "bare": (
        hook("bare", "def u2a_register_modalities()", "return [SPEC]"),
        "must take the parameter register",
    ),
    "misspelt": (
        hook(
            "misspelt",
            "def bring(register)",
            "register(SPEC)",
            '@u2a.hookimpl(specname="u2a_register_modality")',
        ),
        "unknown hook 'u2a_register_modality'",
    ),
    "specname": (
        hook(
            "specname",
            "def bring(register)",
            "register(SPEC)",
            '@u2a.hookimpl(specname="u2a_register_modalities")',
        ),
        "ok",
    ),
    "both": (named("both"), "modality 'both': this name is a word for several modalities"),
    "also": (hook("also", f"def {REGISTER}", "register(SPEC); return SPEC"), "ok"),
    "kwargs": (hook("kwargs", "def u2a_register_modalities(**given)", "given['register'](SPEC)"), "ok"),
    "asks": (hook("asks", f"def {REGISTER}", ASKS), "registry() cannot be asked while plugins are loaded"),
    "object": (
        spec_of("object") + f"class Plugin:\n    {MARKED}\n    def u2a_register_modalities(self, register):\n"
        "        register(SPEC)\n"
        "    @property\n    def viewer(self):\n        raise RuntimeError\n\n\nPLUGIN = Plugin()\n",
        "ok",
    ),
    "panics": (PANIC, "PanicException: it[31m panicked"),
    "unreadable": (UNREADABLE, "Odd: no message"),
    "exits": ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    "deep": (DEEP, "RecursionError"),
    "asks_user": ("input('Accept? ')\n", "EOFError"),
    "prints": (PRINTS + named("prints"), "ok"),
    "lazy": (named("lazy") + LAZY, "ok"),
    "text": (
        named("text_file").replace(EXTENSIONS, '("abc")'),
        "extensions is the text 'abc'; write a tuple: ('abc',)",
    ),
    "dotted": (named("dotted").replace(EXTENSIONS, '("peak.gz", ".peak")'), "without a dot in front"),
    "number": (named("number").replace(EXTENSIONS, "(3,)"), "extensions must be lower case"),
    "compound": (named("compound").replace(EXTENSIONS, '("peak", "peak.gz")'), "ok"),
    "json": (named("json"), "modality 'json': this name is a part of every sample in a shard"),
    "label": (named("label"), "modality 'label': this name is a column of every manifest"),
    "sound_path": (named("sound_path"), "modality 'sound_path': _path ends a manifest's columns of file names"),
    "nothing": (hook("nothing", f"def {REGISTER}", "pass"), "registered nothing; write: def"),
    "drains": (
        named("drains").replace(EXTENSIONS, '(e for e in ("abc",))'),
        "extensions must be a tuple, not generator",
    ),
    "shuffles": (named("shuffles").replace(EXTENSIONS, '{"abc"}'), "extensions must be a tuple, not set"),
    "truly": (
        named("truly").replace("share_key=", "api=True, share_key="),
        "contract version True; this u2a runs",
    ),
    "class": (
        spec_of("class") + f"class Plugin:\n    {MARKED}\n    def u2a_register_modalities(self, register):\n"
        "        register(SPEC)\n",
        "its entry point names the class Plugin; name the module, or an object",
    ),
    "function": (
        hook("function", f"def {REGISTER}", "register(SPEC)"),
        "its entry point names the function u2a_register_modalities; name the module",
    ),
    "nowhere": (None, "No module named 'plugin_nowhere'"),
}


#: What entry points name in a module, where it is not the module.
OBJECTS = {"object": ":PLUGIN", "class": ":Plugin", "function": ":u2a_register_modalities"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, and damaged packages of other projects, in two folders."""
    site, older = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("older")
    for name, (code, _) in LISTED.items():
        install(site, f"u2a-plugin-{name}", {name: f"plugin_{name}{OBJECTS.get(name, '')}"})
        if code is not None:
            (site / f"plugin_{name}.py").write_text(code)
    install(site, "u2a-plugin-twins", {"one": "plugin_twins", "two": "plugin_twins"}, code=named("twins"))
    install(site, "u2a-plugin-crooked", {"crooked": "not a module!"})
    for project, entries in (
        ("unlisted", b"[u2a]\nno list at all\n"),
        ("latin", b"[u2a]\n# caf\xe9\nlatin = plugin_latin\n"),
        ("grouped", b"[console_scripts]\nx = y:z\n\n[u2a.plugins]\ngrouped = plugin_grouped\n"),
        ("shouted", b"[U2A]\nshouted = plugin_shouted\n"),
    ):
        install(site, f"u2a-plugin-{project}", {})
        (site / f"u2a_plugin_{project}-1.0.dist-info/entry_points.txt").write_bytes(entries)
    (site / "plugin_latin.py").write_text(named("latin"))
    install(site, "u2a-plugin-again", {"again": "plugin_again"}, code=named("again"))
    for version, module in (("1.9", "plugin_of_then"), ("1.10", "plugin_kept"), ("1.2", "plugin_before")):
        install(site, "u2a-plugin-kept", {"kept": module}, version=version)  # what upgrades left behind
    (site / "plugin_kept.py").write_text(named("kept"))
    (older / "u2a_plugin_again-0.9.dist-info").mkdir()
    install(older, "u2a", {"image": "u2a_of_then"}, version="0.0.1")
    (older / "u2a_plugin_latin-0.9.dist-info").mkdir()
    (older / "u2a_plugin_latin-0.9.dist-info/METADATA").write_text("")
    bare = site / "u2a_plugin_bare_info-2.5.dist-info"
    bare.mkdir()
    (bare / "entry_points.txt").write_text("[u2a]\nbare_info = plugin_bare_info\n")
    (site / "plugin_bare_info.py").write_text(named("bare_info"))
    foreign = {
        "tool": b"[console_scripts]\n# caf\xe9\nx = y:z\n",
        "other": b"\xff\xfe\x00",
        "third": b"[pytest11\nx\n",
    }
    for project, entries in foreign.items():
        folder = older / f"{project}-1.0.dist-info"
        folder.mkdir()
        (folder / "entry_points.txt").write_bytes(entries)
    (older / "site").symlink_to(site)
    return older


def u2a(site: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, (site, site / "site")))
    full = {**os.environ, "PYTHONPATH": paths, **env}
    command = [sys.executable, "-m", "u2a", *words]
    return subprocess.run(command, env=full, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture(scope="module")
def rows(site: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of ``u2a plugins list --json`` by distribution."""
    done = u2a(site, "plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict[str, str]]] = {}
    for row in json.loads(done.stdout):  # and nothing else is on standard output
        found.setdefault(row["distribution"], []).append(row)
    return found


@pytest.mark.parametrize("name", LISTED)
def test_a_plugin_works_or_is_listed_with_the_reason(rows: dict[str, list[dict[str, str]]], name: str) -> None:
    (row,) = rows[f"u2a-plugin-{name.replace('_', '-')}"]  # as pip compares names
    wanted = LISTED[name][1]
    assert row["status"] == "ok" if wanted == "ok" else row["status"].startswith("failed: ")
    assert wanted in row["status"]
    assert row["status"].isprintable()


def test_the_others_work(rows: dict[str, list[dict[str, str]]]) -> None:
    assert {"image", "text", "audio", "video", "accuracy"} <= {row["name"] for row in rows["u2a"]}
    assert all(row["status"] == "ok" or row["status"].startswith("needs") for row in rows["u2a"])


def test_damaged_metadata_is_read_where_it_can_be_and_named_where_not(
    rows: dict[str, list[dict[str, str]]],
) -> None:
    assert [row["status"] for row in rows["u2a-plugin-again"] + rows["u2a-plugin-latin"]] == ["ok", "ok"]
    assert [(row["status"], row["version"]) for row in rows["u2a-plugin-bare-info"]] == [("ok", "2.5")]
    assert [(row["status"], row["version"]) for row in rows["u2a-plugin-kept"]] == [("ok", "1.10")]
    assert "names no NAME = MODULE under [u2a]" in rows["u2a-plugin-unlisted"][0]["status"]
    assert "'not a module!', which is no MODULE" in rows["u2a-plugin-crooked"][0]["status"]
    for name, group in (("grouped", "u2a.plugins"), ("shouted", "U2A")):
        (row,) = rows[f"u2a-plugin-{name}"]
        assert f"has the group [{group}]; plugins are under [u2a]: [project.entry-points.u2a]" in row["status"]
    assert not {"tool", "other", "third"} & rows.keys()


def test_a_module_behind_two_entry_points_registers_once(rows: dict[str, list[dict[str, str]]]) -> None:
    first, second = sorted(rows["u2a-plugin-twins"], key=lambda row: row["status"] != "ok")
    assert first["status"] == "ok"
    assert second["status"] == (
        "failed: is the same module as plugin 'one' of u2a-plugin-twins 1.0; one entry point is enough"
    )


@pytest.mark.parametrize("columns", ["20", "40", "80", "300"])
def test_reasons_are_whole_at_any_width(
    site: Path, rows: dict[str, list[dict[str, str]]], columns: str
) -> None:
    done = u2a(site, "plugins", "list", COLUMNS=columns, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\u2026" not in done.stdout
    said = done.stdout.splitlines()
    for row in (row for several in rows.values() for row in several if row["status"].startswith("failed")):
        owner = f"plugin {row['plugin']!r} of {row['distribution']} {row['version']}"
        assert f"{owner}: {row['status']}" in said


@pytest.mark.slow
def test_a_run_on_torch_survives_damaged_packages(site: Path, tmp_path: Path) -> None:
    recipe = (
        'name = "x"\ndata = { shards = "s" }\ntask = { classes = ["a", "b"] }\n'
        '[modalities.word]\nkind = "again"\n'
        "[training]\nbatch_size = 2\nepochs = 1\nwarmup_epochs = 0\nlr = 0.1\n"
    )
    (tmp_path / "recipe.toml").write_text(recipe)
    done = u2a(site, "params", str(tmp_path / "recipe.toml"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"] > 0
