"""The contract's versions: what a record may say in each, and a real plugin of each that trains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import letters_plugin
import pytest
from distributions import install, visible
from four import invoke
from pydantic import Field
from safetensors.torch import load_file

import u2a
from u2a.errors import PluginError
from u2a.plugins.modality_checks import check_spec

collected: list[u2a.ModalitySpec] = []
letters_plugin.u2a_register_modalities(collected.append)
[FIRST] = collected
SECOND = replace(
    FIRST,
    api=2,
    share_key=None,
    tune=("full", "lora"),
)


class Own(u2a.ModalityOptions):
    tune: float = Field(440.0, description="pitch of a")  # type: ignore[assignment]


def test_a_record_that_states_no_version_is_of_the_first() -> None:
    assert FIRST.api == 1
    assert FIRST.share_key is not None
    check_spec(FIRST)
    check_spec(SECOND)


@pytest.mark.parametrize(
    ("spec", "change", "said"),
    [
        (FIRST, {"api": 3}, "'letters' was made for contract version 3; this u2a runs versions 1 and 2"),
        (FIRST, {"tune": ("lora", "full")}, "'lora', 'full'.* is of contract version 2; write api=2"),
        (
            FIRST,
            {"preview": lambda options, member, width: ""},
            "preview is of contract version 2; write api=2",
        ),
        (SECOND, {"share_key": lambda options: "x"}, "version 2 has no share_key; leave it out"),
        (SECOND, {"options": Own}, "Own redefines the option 'tune', which is u2a's own since version 2"),
        (SECOND, {"tune": ("lora", "half")}, r"tune must be 'lora', 'frozen', 'full' or a tuple of these"),
        (SECOND, {"tune": ()}, r"a tuple of these, not \(\)"),
        (SECOND, {"describe": "words"}, "describe must be callable, or left out"),
    ],
)
def test_what_a_version_does_not_have_is_refused(spec: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(PluginError, match=said):
        check_spec(replace(spec, **change))


def test_a_plugin_of_version_1_keeps_an_option_called_tune() -> None:
    spec = replace(FIRST, options=Own)
    check_spec(spec)
    assert spec.chosen(Own(kind="letters", tune=432.0)).tune == "lora"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Path]:
    """A distribution made for each version, installed; a recipe and data of both."""
    sound = Path(letters_plugin.__file__).read_text()
    new = sound.replace("share_key=lambda options: None", 'tune=("lora", "full"), api=2')
    for name, code in (("one", sound), ("two", new)):
        code = code.replace('name="letters"', f'name="{name}"')
        install(tmp_path / "site", f"u2a-plugin-{name}", {name: f"plugin_{name}"}, code=code)
    rows = []
    for n, word in enumerate(("sea", "boat", "cod", "harbour")):
        (tmp_path / f"{n}.abc").write_text(word)
        files = {"one": f"{n}.abc", "two": f"{n}.abc"}
        rows.append({"key": str(n), "split": ("train", "test")[n > 1], "label": "ab"[n % 2], **files})
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "recipe.toml").write_text(
        'name = "x"\n[data]\nshards = "shards"\nworkers = 0\n[task]\nclasses = ["a", "b"]\n'
        '[modalities.one]\n[modalities.two]\ntune = "full"\n[training]\nbatch_size = 2\nepochs = 1\n'
    )
    with visible(tmp_path / "site"):
        invoke("data", "pack", tmp_path / "recipe.toml", "--manifest", tmp_path / "m.jsonl")
        yield tmp_path


def test_a_plugin_of_each_version_trains_and_predicts(both: Path) -> None:
    shown = {name: json.loads(invoke("plugins", "show", name, "--json")) for name in ("one", "two")}
    assert {name: (row["api"], row["tune"]) for name, row in shown.items()} == {
        "one": (1, ["lora"]),
        "two": (2, ["lora", "full"]),
    }
    invoke("train", both / "recipe.toml", "--run", both / "run")
    [kept] = (both / "run/checkpoints").glob("*/adapter.safetensors")
    names = load_file(kept).keys()
    assert any(name.startswith("one.blocks.00.q.lora_A") for name in names)
    assert any(name.startswith("two.backbone.") for name in names)
    model = u2a.load(both / "run")
    assert model.predict({"one": b"cod"}) == model.predict({"one": b"cod"})
    assert json.loads(invoke("eval", both / "run", "--json"))["n"] == 2
