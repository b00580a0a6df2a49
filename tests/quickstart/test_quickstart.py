"""The quickstart's task, files, ceilings, packaged encoders and command."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from PIL import Image
from pydantic import BaseModel, ValidationError

from u2a.encoders.files import EncoderId, encoder_folder
from u2a_quickstart import audio, image, prepare, text, video
from u2a_quickstart.ceilings import CEILINGS, ceiling, subsets
from u2a_quickstart.command import quickstart
from u2a_quickstart.generate import generate
from u2a_quickstart.world import CLASSES, CODE, MODALITIES, SIGNS, WRONG, draw_signs

ROOT = Path(__file__).parents[2]
ENCODERS = ROOT / "u2a/encoders/packaged/quickstart"
SMALL = {"train": 24, "test": 12}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    generate(folder, seed=3, sizes=SMALL)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# --- the task ---


def test_signs_of_two_modalities_share_at_most_one_ship():
    for m in MODALITIES:
        assert set(Counter(CODE[m]).values()) == {3}
    for a, b in itertools.combinations(MODALITIES, 2):
        assert len(set(zip(CODE[a], CODE[b], strict=True))) == len(CLASSES)


def test_drawn_signs_are_wrong_as_often_as_stated():
    rng = np.random.default_rng(0)
    drawn = [(ship, draw_signs(rng, ship)) for ship in range(12) for _ in range(1000)]
    for m in MODALITIES:
        wrong = Counter((SIGNS[m].index(s[m]) - CODE[m][ship]) % 4 for ship, s in drawn)
        for other in (1, 2, 3):
            assert wrong[other] / 12000 == pytest.approx(WRONG[m] / 3, abs=0.007)


@pytest.mark.parametrize("present", subsets(), ids="+".join)
def test_ceilings_are_bayes_posteriors_in_exact_arithmetic(present):
    """Over all four modalities' signs, absent ones summed out, in fractions: not how `ceiling` does it."""
    posterior: dict[tuple[int, ...], list[Fraction]] = {}
    for ship, signs in itertools.product(range(12), itertools.product(range(4), repeat=4)):
        weight = Fraction(1, 12)
        for m, sign in zip(MODALITIES, signs, strict=True):
            wrong = Fraction(str(WRONG[m]))
            weight *= 1 - wrong if CODE[m][ship] == sign else wrong / 3
        seen = tuple(s for m, s in zip(MODALITIES, signs, strict=True) if m in present)
        posterior.setdefault(seen, [Fraction(0)] * 12)[ship] += weight
    exact = float(sum(max(ships) for ships in posterior.values()))
    assert ceiling(present) == pytest.approx(exact, abs=1e-12)
    assert CEILINGS[present] == pytest.approx(exact, abs=5.1e-5)


def test_a_perfect_reader_scores_the_ceiling_on_generated_signs():
    rng = np.random.default_rng(1)
    ships = np.arange(24000) % 12
    shown = [draw_signs(rng, int(ship)) for ship in ships]
    table = {m: np.array(CODE[m]) for m in MODALITIES}
    for present in (("image",), ("audio", "text", "video"), MODALITIES):
        score = np.zeros((len(ships), 12))
        for m in present:
            sign = np.array([SIGNS[m].index(s[m]) for s in shown])
            score += np.where(table[m] == sign[:, None], np.log(1 - WRONG[m]), np.log(WRONG[m] / 3))
        assert (score.argmax(1) == ships).mean() == pytest.approx(CEILINGS[present], abs=0.012)


def test_documentation_states_the_ceilings():
    page = (ROOT / "docs/quickstart.md").read_text().replace("*", "")
    stated = dict(re.findall(r"\| ([a-z +]+?) \| (0\.\d{3})", page))
    for present, value in CEILINGS.items():
        missing = [m for m in MODALITIES if m not in present]
        name = {0: "all four", 1: f"without {missing[0]}" if missing else "", 3: f"{present[0]} alone"}.get(
            len(missing), " + ".join(present)
        )
        found = stated.get(name) or stated.get(" + ".join(reversed(present)))
        assert found == f"{value + 1e-9:.3f}", name


# --- the files ---


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(made, tmp_path):
    generate(tmp_path / "again", seed=3, sizes=SMALL)
    assert digests(tmp_path / "again") == digests(made)
    generate(tmp_path / "other", seed=4, sizes=SMALL)
    other = digests(tmp_path / "other")
    assert other.keys() == digests(made).keys()
    assert not set(other.values()) & set(digests(made).values())


def test_a_split_does_not_depend_on_the_sizes_of_the_others(made, tmp_path):
    generate(tmp_path, seed=3, sizes={"train": 12, "test": 12})
    assert (tmp_path / "test/0005.png").read_bytes() == (made / "test/0005.png").read_bytes()


def test_splits_are_balanced_and_unequal_sizes_are_refused(made, tmp_path):
    for split, count in SMALL.items():
        labels = Counter(row["label"] for row in rows(made) if row["split"] == split)
        assert labels == dict.fromkeys(CLASSES, count // 12)
    with pytest.raises(ValueError, match="multiples of 12"):
        generate(tmp_path, sizes={"train": 13})


def test_files_are_ordinary_files_and_the_message_never_names_the_ship(made):
    for row in rows(made):
        with Image.open(made / row["image"]) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (64, 64))
        wave, rate = soundfile.read(made / row["audio"])
        assert (wave.shape, rate) == ((16000,), 16000)
        assert 0.1 < np.abs(wave).max() <= 1
        with av.open(str(made / row["video"])) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            assert [f.to_ndarray(format="rgb24").shape for f in container.decode(video=0)] == [(64, 64, 3)] * 6
        assert not any(ship in row["text"] for ship in CLASSES)
        assert row["text"].endswith(".")


def test_messages_name_goods_of_their_family_only():
    rng = np.random.default_rng(0)
    for family in SIGNS["text"]:
        for _ in range(200):
            words = set(re.findall("[a-z]+", text.message(rng, family)))
            assert [f for f in text.CARGO if words & set(text.CARGO[f])] == [family]


def test_frames_of_a_film_survive_compression():
    """The film shows what was drawn: neither frames nor colours are mixed up."""
    drawn = np.stack(video.sailing(np.random.default_rng(5), "checks")).astype(float)
    with av.open(io.BytesIO(video.mp4(np.random.default_rng(5), "checks"))) as container:
        shown = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(float)
    assert np.abs(drawn - shown).mean() < 20
    assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9 for a, b in zip(drawn, shown, strict=True))


# --- the encoders ---


@pytest.mark.parametrize(
    ("name", "class_name", "init"),
    [
        ("image", "ViTModel", {"add_pooling_layer": False}),
        ("audio", "ASTModel", {}),
        ("text", "BertModel", {"add_pooling_layer": False}),
    ],
)
def test_encoders_load_like_any_checkpoint(name, class_name, init):
    import transformers

    model, info = getattr(transformers, class_name).from_pretrained(
        ENCODERS / name, output_loading_info=True, local_files_only=True, dtype=torch.float32, **init
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert all(p.isfinite().all() for p in model.parameters())
    assert (ENCODERS / name / "README.md").is_file()


def test_encoders_are_small_and_hold_no_pickle():
    files = [path for path in ENCODERS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}


def test_the_tokenizer_knows_every_word_of_the_task_and_spells_others():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ENCODERS / "text", local_files_only=True)
    rng = np.random.default_rng(0)
    for sign in SIGNS["text"] * 100:
        message = text.message(rng, sign)
        units = tokenizer.tokenize(message)
        assert units == re.findall(r"[a-z]+|[,.]", message)
        assert len(units) + 2 <= 64
    assert tokenizer("Zebra, 42!")["input_ids"][0] == tokenizer.cls_token_id
    assert tokenizer.unk_token not in tokenizer.tokenize("Zebra, 42!")


def test_pretraining_had_none_of_the_task_s_signs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from pretraining import pictures, sentences, sounds

    assert not set(pictures.SHAPES) & set(image.EMBLEMS)
    assert not set(pictures.FILLS) & set(video.PATTERNS)
    assert not set(sounds.SIGNALS) & set(audio.SIGNALS)
    written = " ".join(sentences.sentence(seed) for seed in range(3000))
    frames = [re.sub(r"\{\w+\}", "", c).split() for c in text.CARGOES]
    assert not any(" ".join(frame) in written for frame in frames)
    for name in [n for n in sys.modules if n.startswith("pretraining")]:
        monkeypatch.delitem(sys.modules, name)


# --- names in recipes, and the command ---


class Options(BaseModel):
    encoder: EncoderId


def test_a_packaged_encoder_is_named_in_a_recipe_and_nothing_else_is_reached():
    named = Options(encoder="u2a:quickstart/text").encoder
    assert named == "u2a:quickstart/text"  # a run's recipe holds for another installation of u2a, too
    assert encoder_folder(named) == ENCODERS / "text"
    for name in ("u2a:quickstart/../image", "u2a:quickstart/", "u2a:quickstart/x", "u2a:/etc"):
        with pytest.raises(ValidationError, match=r"comes without an encoder.*u2a:quickstart/image"):
            Options(encoder=name)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare.prepare, "__defaults__", (0, SMALL))


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(quickstart, arguments)
    return result.exit_code, result.output


@pytest.mark.usefixtures("small")
def test_the_command_makes_a_data_set_once(tmp_path):
    out = tmp_path / "shards/quickstart"
    code, said = run("--out", str(out))
    assert code == 0, said
    assert (out / "dataset.json").is_file()
    first = digests(out)
    code, said = run("--out", str(out))
    assert code == 0
    assert "complete already" in said
    assert digests(out) == first
    code, said = run("--out", str(out), "--seed", "1")
    assert code == 0
    assert digests(out)["files/manifest.jsonl"] != first["files/manifest.jsonl"]
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.usefixtures("small")
def test_an_interrupted_command_leaves_nothing_and_starts_again(tmp_path, monkeypatch):
    out = tmp_path / "quickstart"
    with monkeypatch.context() as patch:

        def interrupted(*args: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("u2a_quickstart.prepare.os.rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare.prepare(out)
    assert not list(tmp_path.iterdir())
    (tmp_path / ".quickstart.making/files").mkdir(parents=True)  # as a killed process leaves it
    assert prepare.prepare(out)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("small")
def test_the_command_leaves_other_folders_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    code, said = run("--out", str(tmp_path))
    assert code == 2
    assert "something else" in said
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
