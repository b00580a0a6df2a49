"""Ten ways and more to break a plugin: each is named with its distribution and the reason; the others work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from distributions import install, visible
from safetensors.torch import load_file

from u2a.cli.main import main

#: A sound modality in one module; each broken one replaces a line or two of it.
SOUND = (Path(__file__).parents[1] / "letters_plugin.py").read_text()


@dataclass(frozen=True)
class Broken:
    """Changes to the sound plugin (text to text), where it shows, and what must be said of it."""

    name: str
    changes: dict[str, str]
    reason: str
    shows: str = "list"
    version: str = "1.0"

    @property
    def distribution(self) -> str:
        return f"u2a-plugin-{self.name}"

    @property
    def code(self) -> str:
        code = SOUND
        for old, new in {'name="letters"': f'name="{self.name}"', **self.changes}.items():
            assert old in code, old
            code = code.replace(old, new)
        return code


_OPTIONS = "class Options(u2a.ModalityOptions):\n    "

BROKEN = [
    Broken("lost", {"import u2a\n": "import u2a, no_such_library\n"}, "No module named 'no_such_library'"),
    Broken("bare", {"options, *, weights": "options"}, "backbone must accept (options, *, weights)"),
    Broken("clash", {_OPTIONS: _OPTIONS + "kind: int = 3\n    "}, "Options redefines the option 'kind'"),
    Broken("future", {"share_key=": "api=7, share_key="}, "contract version 7; this u2a runs versions 1 and 2"),
    Broken("typo", {"register_modalities": "register_modality"}, "unknown hook 'u2a_register_modality'"),
    Broken(
        "wide",
        {"width=lambda options: 8": "width=lambda options: 9"},
        "embedding gave width 8, but the spec says 9",
        "train",
    ),
    Broken(
        "forgets",
        {"hidden = tokens.hidden_NLD": "hidden = tokens.hidden_NLD[:, :-1]"},
        "encoder must return hidden states of shape",
        "train",
    ),
    Broken(
        "unsent",
        {"self.longest = longest": "self.longest = longest; self.decode = lambda member: member"},
        "its preprocessor cannot be pickled for data workers",
        "train",
    ),
    Broken(
        "silent",
        {'return {"values": values, ': 'return {"later": lambda: 0, "values": values, '},
        "collate gave 'later', which cannot be pickled for data workers",
        "train",
    ),
    Broken(
        "crash",
        {"list(member)": "list(member[0] if member == b'cod' else member)"},
        "preprocessor failed: TypeError: 'int' object is not iterable",
        "train",
    ),
    Broken(
        "frames",
        {
            "hidden = net.letters(": "inputs = {k: torch.cat([v, v]) for k, v in inputs.items()}\n"
            "    hidden = net.letters("
        },
        "gave 8 samples for 4; Tokens.rows_P tells which rows are whose",
        "train",
    ),
    Broken(
        "torn",
        {"net.norm(hidden": "net.norm(hidden @ hidden.new_ones(3) + hidden"},
        "embedding or encoder failed: RuntimeError",
        "train",
    ),
    Broken(
        "leaves",
        {"hidden = net.letters(": "raise SystemExit(0)\n    hidden = net.letters("},
        "embedding or encoder failed: SystemExit: 0",
        "train",
    ),
    Broken("quits", {"values = list(member)": "exit()"}, "preprocessor failed: SystemExit", "train"),
]
#: A sound one that changes the process wherever one of its parts is built.
_MEDDLE = """def meddle(*_):
    import os, torch, warnings

    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    warnings.simplefilter("error")
    os.chdir("/")


def backbone(options, *, weights):
    meddle()
"""
_PARTS = {
    "preprocessor=lambda options: Letters()": "preprocessor=lambda options: [meddle(), Letters()][1]",
    "width=lambda options: 8": "width=lambda options: [meddle(), 8][1]",
    "lora_targets=lambda net: [": "lora_targets=lambda net: [meddle(), ",
    '["q", "k", "v", "o"]]': '[["q", "k", "v", "o"]]][1]',
}
MEDDLES = Broken("meddles", {"def backbone(options, *, weights):\n": _MEDDLE, **_PARTS}, "")
LISTED = [broken for broken in BROKEN if broken.shows == "list"]
TRAINED = [broken for broken in BROKEN if broken.shows == "train"]

RECIPE = """
name = "x"
[data]
shards = "shards"
workers = {workers}
[task]
classes = ["a", "b"]
[modalities.word]
kind = "{kind}"
[training]
batch_size = 4
epochs = 1
warmup_epochs = 0
lr = 1e-3
device = "cpu"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of `sys.path` with all the broken distributions and two sound ones, before and after them."""
    folder = tmp_path_factory.mktemp("site")
    for broken in (*BROKEN, MEDDLES):
        module = f"plugin_{broken.name}"
        install(folder, broken.distribution, {broken.name: module}, version=broken.version, code=broken.code)
    for name in ("alpha", "zeta"):
        code = SOUND.replace('name="letters"', f'name="{name}"')
        install(folder, f"u2a-plugin-{name}", {name: f"plugin_{name}"}, code=code)
    return folder


def list_plugins(site: Path) -> list[dict[str, str]]:
    """The rows of ``u2a plugins list`` in a fresh process."""
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", "u2a", "plugins", "list", "--json"]
    return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def installed(site) -> Iterator[None]:
    """The distributions of `site` installed in this process."""
    with visible(site):
        yield


def u2a(*command: str) -> Result:
    return CliRunner().invoke(main, list(command), catch_exceptions=False)


@pytest.fixture(scope="module")
def rows(site) -> list[dict[str, str]]:
    return list_plugins(site)


@pytest.mark.parametrize("broken", LISTED, ids=lambda broken: broken.name)
def test_what_cannot_be_registered_is_listed_with_its_distribution_and_the_reason(rows, broken):
    found = [row for row in rows if row["distribution"] == broken.distribution]
    assert len(found) == 1
    assert found[0]["version"] == "1.0"
    assert broken.reason in found[0]["status"]
    assert "\n" not in found[0]["status"]


def test_the_others_keep_working(rows):
    good = {row["modality"] for row in rows if row["status"] == "ok"}
    wanted = {"image", "text", "audio", "video", "alpha", "zeta"}
    assert wanted | {broken.name for broken in TRAINED} <= good
    assert not good & {broken.name for broken in LISTED}


def test_a_broken_plugin_is_named_where_a_recipe_wants_it(rows, installed, tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE.format(kind="lost", workers=0))
    done = u2a("recipe", "check", str(tmp_path / "recipe.toml"))
    assert done.exit_code == 2
    assert "plugin 'lost' of u2a-plugin-lost 1.0 failed to load" in done.stderr
    assert "no_such_library" in done.stderr


@pytest.fixture(scope="module")
def shards(rows, installed, tmp_path_factory) -> Path:
    """A data set of words, packed with a sound plugin."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for number, word in enumerate([b"sea", b"boat", b"cod", b"harbour"]):
        (folder / f"{number}.abc").write_bytes(word)
        rows.append({"key": str(number), "split": "train", "label": "ab"[number % 2], "word": f"{number}.abc"})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "alpha.toml").write_text(RECIPE.format(kind="alpha", workers=0))
    command = ["data", "pack", f"{folder}/alpha.toml", "--manifest", f"{folder}/manifest.jsonl"]
    done = u2a(*command, "--out", f"{folder}/shards")
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("broken", TRAINED, ids=lambda broken: broken.name)
def test_what_shows_in_training_is_named_in_one_line(shards, broken):
    recipe = shards / f"{broken.name}.toml"
    recipe.write_text(
        RECIPE.format(kind=broken.name, workers=int(broken.name in ("crash", "silent", "unsent")))
    )
    done = u2a("train", str(recipe), "--run", str(shards / "runs" / broken.name))
    assert done.exit_code == 2, done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert f"modality 'word' (plugin '{broken.name}' of u2a-plugin-{broken.name} 1.0)" in lines[0]
    assert broken.reason in lines[0]
    if broken.name == "crash":
        assert "'2'" in lines[0]


def test_the_sound_one_trains_beside_them(shards):
    done = u2a("train", str(shards / "alpha.toml"), "--run", str(shards / "runs" / "alpha"))
    assert done.exit_code == 0, done.output


def test_what_its_parts_change_when_they_are_built_is_put_back_and_told(shards, monkeypatch):
    monkeypatch.chdir(shards)
    (shards / "meddles.toml").write_text(RECIPE.format(kind="meddles", workers=0))
    done = u2a("train", str(shards / "meddles.toml"), "--run", str(shards / "runs" / "meddles"))
    assert done.exit_code == 0, done.output
    [kept] = (shards / "runs/meddles/checkpoints").glob("*/adapter.safetensors")
    assert {tensor.dtype for tensor in load_file(kept).values()} == {torch.float32}
    told = [line for line in done.stderr.splitlines() if "it was put back" in line]
    assert sorted(line.split(": ")[1].split()[0] for line in told) == [
        "backbone",
        "lora_targets",
        "preprocessor",
        "width",
    ]
    assert all("torch's default dtype, torch's gradient mode" in line for line in told)
    assert (torch.get_default_dtype(), torch.is_grad_enabled(), Path.cwd()) == (torch.float32, True, shards)


def test_a_plugin_that_needs_another_u2a_says_so(site, tmp_path):
    code = "from u2a.modality import something_of_u2a_2\n"
    install(tmp_path, "u2a-plugin-later", {"later": "plugin_later"}, code=code)
    metadata = tmp_path / "u2a_plugin_later-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: torch\nRequires-Dist: U2A>=2\n")
    rows = list_plugins(tmp_path)
    status = next(row["status"] for row in rows if row["distribution"] == "u2a-plugin-later")
    assert "something_of_u2a_2" in status
    assert "was made for u2a >=2, this is u2a " in status
