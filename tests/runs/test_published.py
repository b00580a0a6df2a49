"""`u2a push` and loading from the hub: the real client and real HTTP, against a server on loopback."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny
import toys
from hub_server import TOKEN, Hub, hub

import u2a
from u2a.runs.published import meant, parsed

#: One program for all of it: the client reads its settings when it is imported. A JSON line for every request.
PROGRAM = """
import json, sys
import u2a
from click.testing import CliRunner
from u2a.cli.main import main
for line in sys.stdin:
    asked = json.loads(line)
    try:
        if "cli" in asked:
            done = CliRunner().invoke(main, asked["cli"])
            said = {"code": done.exit_code, "out": done.output}
        elif "python" in asked:
            exec(asked["python"], {})
            said = {}
        else:
            model = u2a.load(asked["load"], sets=asked["sets"])
            said = {"p": model.predict({"text": "the old boat"}).probabilities, "run": str(model.run)}
    except u2a.U2AError as error:
        said = {"error": str(error)}
    print("ANSWER " + json.dumps(said), flush=True)
"""


@dataclass
class There:
    """A server, a program beside it, and a trained run."""

    hub: Hub
    run: Path
    program: subprocess.Popen[str]

    def ask(self, **what: Any) -> dict[str, Any]:
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(json.dumps(what) + "\n")
        self.program.stdin.flush()
        for line in self.program.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        raise AssertionError("the program ended")

    @property
    def sets(self) -> list[str]:
        """Where the base weights are."""
        names = {"image": "clip", "text": "bert"}
        return [f"modalities.{name}.encoder={self.run.parents[1] / e}" for name, e in names.items()]

    def refused(self, repository: str, sets: list[str] | None = None) -> str:
        """What loading says; always one line."""
        error = self.ask(load=repository, sets=self.sets if sets is None else sets)["error"]
        assert "\n" not in error
        return error


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Iterator[There]:
    folder = tmp_path_factory.mktemp("published")
    recipe = toys.make(folder, checkpoints, counts={"train": 16, "val": 6, "test": 6})
    u2a.train(recipe, run=folder / "runs/movies", sets=["training.epochs=1"])
    with hub() as server:
        env = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN}
        env |= {"HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-c", PROGRAM]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env, cwd=folder) as program:
            yield There(server, folder / "runs/movies", program)
            assert program.stdin is not None
            program.stdin.close()


@pytest.fixture(scope="module")
def pushed(there: There) -> dict[str, bytes]:
    done = there.ask(cli=["push", str(there.run), "ann/toy", "--set", "training.device=cpu"])
    assert done["code"] == 0, done
    assert "pushed " in done["out"]
    assert "modality 'image' was trained on clip, a folder of this machine" in done["out"]
    return there.hub.last("ann/toy")


def test_what_is_pushed_is_small_and_says_nothing_of_this_machine(
    there: There, pushed: dict[str, bytes]
) -> None:
    (step,) = {path.split("/")[1] for path in pushed if path.count("/") == 2}
    files = {f"checkpoints/{step}/{name}" for name in ("adapter.json", "adapter.safetensors", "manifest.json")}
    small = {"recipe.toml", "versions.json", "u2a.json", "README.md", "checkpoints/BEST", "checkpoints/LAST"}
    assert set(pushed) == files | small
    assert sum(map(len, pushed.values())) < 100_000
    for path, content in pushed.items():
        assert str(there.run.parents[1]).encode() not in content, path
    card = pushed["README.md"].decode()
    assert card.startswith("---\nlibrary_name: u2a\n")
    assert "| image | text | accuracy |" in card
    assert card.count("●") == 4  # complete, and each alone
    assert json.loads(pushed["u2a.json"])["bases"]["image"]["sha256"][:16] in card


def test_there_and_back(there: There, pushed: dict[str, bytes]) -> None:
    own = u2a.load(there.run, sets=["training.device=cpu"]).predict({"text": "the old boat"})
    found = there.ask(load="ann/toy", sets=[*there.sets, "training.device=cpu"])
    assert found["p"] == pytest.approx(own.probabilities, abs=1e-6)
    words = ["predict", "hf://ann/toy", "--text", "the old boat", "--json"]
    said = there.ask(cli=[*words, *(word for one in there.sets for word in ("--set", one))])
    assert said["code"] == 0, said
    assert json.loads(said["out"])["labels"] == list(own.labels)
    error = there.refused("ann/toy", sets=[])
    assert error.startswith("modality 'image' was trained on weights that are on no hub (clip, sha256 ")
    assert "modalities.image.encoder=./FOLDER" in error


def test_an_older_revision_is_found_again(there: There, pushed: dict[str, bytes]) -> None:
    first = there.hub.put("ann/twice", pushed)
    there.hub.put("ann/twice", {"README.md": b"gone"})
    assert "is no run that u2a push put there" in there.refused("ann/twice")
    assert "p" in there.ask(load=f"ann/twice@{first}", sets=there.sets)
    assert "has no revision 0123" in there.refused("ann/twice@0123")


def test_a_tampered_file_and_another_base(there: There, pushed: dict[str, bytes], tmp_path: Path) -> None:
    (path,) = (path for path in pushed if path.endswith("adapter.safetensors"))
    there.hub.put("eve/tampered", {**pushed, path: pushed[path][:-1] + b"\x01"})
    assert there.refused("eve/tampered").endswith(
        "adapter.safetensors: checksum mismatch; the file was changed or damaged"
    )
    tiny.save_bert(tmp_path / "bert", layers=2)
    other = tiny.hf.BertModel.from_pretrained(tmp_path / "bert")
    tiny.save(other, tmp_path / "bert", seed=7)
    sets = [there.sets[0], f"modalities.text.encoder={tmp_path / 'bert'}"]
    error = there.refused("ann/toy", sets)
    assert "modality 'text' was trained on base weights bert (revision None, sha256 " in error
    assert error.endswith("use the same weights")


def with_plugin(pushed: dict[str, bytes], distribution: str) -> dict[str, bytes]:
    versions = json.loads(pushed["versions.json"])
    versions["plugins"]["text"] |= {"distribution": distribution, "version": "1.2"}
    return {**pushed, "versions.json": json.dumps(versions).encode()}


def test_a_plugin_that_is_not_installed_is_named_before_anything_is_fetched(
    there: There, pushed: dict[str, bytes]
) -> None:
    commit = there.hub.put("bob/depth", with_plugin(pushed, "u2a-plugin-nowhere"))
    assert there.refused("bob/depth") == (
        "hf://bob/depth: text needs u2a-plugin-nowhere 1.2, which is not installed; u2a installs nothing by "
        "itself. If you trust it: pip install u2a-plugin-nowhere==1.2"
    )
    assert not [line for line in there.hub.log if commit in line and "adapter" in line]
    there.hub.put("eve/words", with_plugin(pushed, "x --index-url http://eve"))
    assert "which is no name of a package" in there.refused("eve/words")


def test_nothing_but_safetensors_and_no_path_of_this_machine(there: There, pushed: dict[str, bytes]) -> None:
    pickled = {path.replace("adapter.safetensors", "pytorch_model.bin"): c for path, c in pushed.items()}
    commit = there.hub.put("eve/pickle", {**pickled, "modeling_eve.py": b"raise SystemExit(9)"})
    assert "u2a reads weights from safetensors alone" in there.refused("eve/pickle")
    asked = [line for line in there.hub.log if commit in line and "/resolve/" in line]
    assert not [line for line in asked if line.endswith((".bin", ".py"))]
    for value in ("/etc/passwd", "../../x", "~/x", "s3://eve/x"):
        recipe = pushed["recipe.toml"].decode().replace('encoder = "./bert"', f'encoder = "{value}"')
        there.hub.put("eve/path", {**pushed, "recipe.toml": recipe.encode()})
        assert "points out of the repository" in there.refused("eve/path")
    there.hub.put("eve/pointer", {**pushed, "checkpoints/BEST": b"../../x"})
    assert "which is no checkpoint" in there.refused("eve/pointer")
    there.hub.put("eve/empty", {"README.md": b"hello"})
    assert "is no run that u2a push put there" in there.refused("eve/empty")
    assert "no such repository" in there.refused("nobody/nothing")


def test_pushing_says_what_is_wrong(there: There) -> None:
    run = str(there.run)
    for words, says in (
        ([run, "toy"], "an address on the hub is hf://owner/name"),
        ([run, "ann/toy@main"], "the hub makes revisions by itself"),
        ([run, "ann/toy", "--base", "text"], "expected MODALITY=OWNER/NAME"),
        ([run, "ann/toy", "--base", "sound=a/b"], "--base sound: no such modality"),
    ):
        done = there.ask(cli=["push", *words, "--no-scores"])
        assert (done["code"], says in done["out"]) == (2, True), done
    base = ["--base", "text=ann/bert@abc", "--base", "image=ann/clip"]
    assert there.ask(cli=["push", run, "ann/based", "--no-scores", *base])["code"] == 0
    files = there.hub.last("ann/based")
    text = tomllib.loads(files["recipe.toml"].decode())["modalities"]["text"]
    assert (text["encoder"], text["revision"]) == ("ann/bert", "abc")
    assert b'base_model: ["ann/clip", "ann/bert"]' in files["README.md"]
    assert json.loads(files["u2a.json"])["bases"]["text"]["id"] == "ann/bert"
    there.hub.token = "another"
    done = there.ask(cli=["push", run, "ann/toy", "--no-scores"])
    there.hub.token = TOKEN
    assert done["out"] == (
        "error: ann/toy: the hub does not let you write there: hf auth login, with a token that may\n"
    )


def test_the_page(there: There) -> None:
    page = (Path(__file__).parents[2] / "docs/hub.md").read_text()
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", page, re.M | re.S):
        if kind == "python":
            assert there.ask(python=block) == {}
            continue
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            if words[0] == "u2a":
                done = there.ask(cli=words[1:])
                assert done["code"] == 0, done


def test_a_folder_here_goes_before_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert meant("ann/toy") == "hf://ann/toy"
    assert meant("ann/toy@v1") == "hf://ann/toy@v1"
    (tmp_path / "runs").mkdir()
    assert meant("runs/toy") == "runs/toy"  # a run that is misspelled is no repository
    assert meant(tmp_path) == tmp_path
    assert parsed("hf://ann/toy@v1") == ("ann/toy", "v1")
