"""What the demo page shows, without a browser: against `Model.predict` and `Model.explain`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from click.testing import CliRunner

import u2a
from u2a.cli.main import main
from u2a.evaluation.explain import Explanation, Subsets
from u2a.evaluation.trained import Model
from u2a_demo import command
from u2a_demo.examples import examples_of
from u2a_demo.markup import markup
from u2a_demo.sample import read, show
from u2a_demo.view import Row, View, view_of

TEXT = "the old sea and two friends"


@pytest.fixture(scope="module")
def model(pictures_and_texts: Path) -> Model:
    return u2a.load(pictures_and_texts, sets=["training.device=cpu"])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(tiny.image_bytes(tiny.picture(44, 40, 3)))
    return tmp_path / "a.png"


def test_every_pattern_is_what_predict_says_of_it(model: Model, picture: Path) -> None:
    sample = read(model, {"image": str(picture), "text": TEXT}, ["sea"])
    whole = {"image": picture, "text": TEXT}
    for on in ({"image", "text"}, {"text"}, {"image"}):
        view = view_of(model, sample.subsets, on, sample.truth)
        kept = {name: value for name, value in whole.items() if name in on}
        wanted, why = model.predict(kept), model.explain(kept)
        assert dict(view.ranked) == pytest.approx(wanted.probabilities, abs=1e-6)
        assert (view.labels, view.used, view.filled) == (wanted.labels, wanted.used, wanted.filled)
        assert view.explanation.contributions == pytest.approx(why.contributions, abs=1e-6)
        assert (view.explanation.label, view.truth) == (why.label, ("sea",))
        assert [row.present for row in view.rows] == [("image", "text"), ("image",), ("text",)]
        assert [set(row.present) for row in view.rows if row.is_now] == [on]
        for row in view.rows:
            one = model.predict({name: whole[name] for name in row.present})
            assert (row.label, row.probability) == (
                one.labels[0],
                pytest.approx(one.probabilities[row.label], abs=1e-6),
            )
            assert row.p_shown == pytest.approx(one.probabilities[view.explanation.label], abs=1e-6)
    assert view_of(model, sample.subsets, ()) is None
    assert read(model, {"text": TEXT, "image": str(picture)}, before=sample) is sample
    assert read(model, {"text": TEXT + "!", "image": str(picture)}, before=sample).truth == ()


def test_of_many_modalities_the_telling_patterns_are_shown(model: Model) -> None:
    names = tuple("abcdef")
    p_SC = np.random.default_rng(0).dirichlet(np.ones(4), 64)
    subsets = Subsets(names, p_SC)
    assert subsets.of("bd").names == ("b", "d")
    assert (subsets.of("bd").p_SC == p_SC[[0, 2, 8, 10]]).all()
    fake = replace_names(model, names)
    view = view_of(fake, subsets, "abc")
    sizes = [len(row.present) for row in view.rows]
    assert sizes == [6, *[5] * 6, 3, *[1] * 6]
    assert [row.present for row in view.rows if row.is_now] == [("a", "b", "c")]


def replace_names(model: Model, names: tuple[str, ...]) -> Model:
    from types import SimpleNamespace

    network = SimpleNamespace(names=names)
    return SimpleNamespace(network=network, recipe=model.recipe, calibration=model.calibration)  # type: ignore[return-value]


def test_what_cannot_be_read_is_told_beside_the_rest(model: Model, picture: Path) -> None:
    (picture.parent / "b.png").write_bytes(b"nothing")
    sample = read(model, {"image": str(picture.parent / "b.png"), "text": TEXT})
    assert sample.problems == [("image", "cannot be decoded as an image: unknown format")]
    page = show(model, sample, [True, True])
    assert "image: cannot be decoded as an image" in page
    assert "text stands in for <strong>image</strong>" in page
    assert read(model, {"image": None, "text": " "}).subsets is None
    assert "Give at least one modality" in show(model, read(model, {}), [True, True])
    assert "Give at least one modality" in show(model, sample, [True, False])
    assert read(model, {"text": str(picture)}).problems == []  # a text, though it names a file
    assert read(model, {"text": "\ud800"}).subsets is None


def test_examples_are_the_splits_samples_with_their_labels(model: Model) -> None:
    with examples_of(model, "test") as examples:
        assert sorted(one.key for one in examples.samples) == [f"test-{i}" for i in range(4)]
        assert {one.truth for one in examples.samples} == {("sea",), ("boat",), ("town",), ("film",)}
        for one in examples.samples:
            assert one.truth[0] in one.values["text"]
            assert Path(one.values["image"]).suffix == ".png"
            assert read(model, one.values).problems == []
        folder = Path(examples.folder)
    assert not folder.exists()
    with examples_of(model, "nowhere") as none:
        assert none.samples == ()
        assert none.note.startswith("no examples: ")


def test_names_are_escaped_and_the_truth_is_held_against_the_labels() -> None:
    why = Explanation("<i>", 0.7, 0.25, {"<m>": -0.1, "n": 0.55}, {"<m>": 0.2, "n": 0.8})
    rows = (Row(("<m>", "n"), "<i>", 0.7, 0.7, True),)
    view = View((("<i>", 0.7), ("<b>", 0.3)), ("<i>",), ("<b>",), ("<m>", "n"), ("z",), why, rows)
    page = markup(view, [("<m>", "<bad>")])
    assert not any(f"<{name}>" in page for name in ("m", "i", "b", "bad"))
    assert "True label: &lt;b&gt;. The prediction is wrong." in page
    assert "&lt;m&gt; and n stand in for <strong>z</strong>" in page
    assert page.index(">&lt;m&gt;</th>") < page.index(">n</th>")
    assert "-10.0" in page
    assert "+55.0" in page
    assert "The prediction is right." in markup(replace(view, truth=("<i>",)))
    assert "True label" not in markup(replace(view, truth=()))
    assert "nothing has to be stood in for" in markup(replace(view, filled=()))


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["demo"])
    assert (result.exit_code, result.stderr) == (
        2,
        'error: demo: gradio is not installed; pip install "u2a[demo]"\n',
    )


def test_the_documentation_names_options_that_are_there() -> None:
    page = (Path(__file__).parents[2] / "docs/demo.md").read_text()
    named = set(re.findall(r"`(--[a-z-]+)", page))
    assert named == {name for one in command.demo.params for name in one.opts} & named
    assert len(named) == 4
