"""Recipes: shipped ones are complete, faults are told all at once, paths and overrides mean what they say."""

import json
import pickle
from copy import deepcopy
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts.reference.recipes import reference
from u2a.cli.main import main
from u2a.errors import RecipeError
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.recipe.file import dump_recipe, load_recipe, parse_recipe
from u2a.recipe.shipped import shipped_recipes

DOCS = Path(__file__).parents[2] / "docs"
PAPER = {"food101": 101, "mm_imdb": 23, "kinetics_sound": 31, "ave": 28, "crema_d": 6}
COUNTS = {
    "food101": (195_508_325, 226_661),
    "mm_imdb": (195_448_343, 166_679),
    "kinetics_sound": (172_159_519, 172_831),
    "ave": (172_157_212, 170_524),
    "crema_d": (172_140_294, 153_606),
}


def run(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, list(args))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipes_have_the_papers_values(name: str) -> None:
    recipe = load_recipe(shipped_recipes()[name])
    training, image_text = recipe.training, name in ("food101", "mm_imdb")
    assert len(recipe.task.classes) == PAPER[name]
    assert (training.lr, training.epochs, training.batch_size) == (
        (1e-3, 10, 8) if image_text else (5e-5, 100, 4)
    )
    assert (training.warmup_epochs, training.power, training.weight_decay) == (5, 0.9, 0.02)
    assert (training.eps, training.alignment_weight) == (1e-8, 0.20)
    assert (recipe.model.lora_rank, recipe.model.lora_alpha, recipe.model.lora_dropout) == (1, 1, 0.1)


@pytest.mark.parametrize("name", COUNTS)
def test_the_five_exact_parameter_counts(name: str) -> None:
    import json

    found = json.loads(run("params", str(shipped_recipes()[name]), "--json"))
    assert (found["total"], found["learnable"]) == COUNTS[name]
    assert sum(part["total"] for part in found["parts"]) == found["total"]
    assert sum(part["learnable"] for part in found["parts"]) == found["learnable"]


def test_every_shipped_recipe_is_valid_and_headed_by_its_command() -> None:
    assert set(PAPER) | {"movies", "av_digits", "clips", "quickstart"} <= set(shipped_recipes())
    for name, path in shipped_recipes().items():
        load_recipe(path)
        assert f"u2a train recipes/{name}.toml" in path.read_text().split("name =")[0]


def test_all_faults_at_once_with_file_key_and_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        """
name = "bad name"
[data]
shards = "shards"
[task]
classes = ["a", "a"]
[modalities.image]
encodr = "x"
[modalities.smell]
encoder = "x"
[training]
learning_rate = 1e-3
batch_size = 8
epochs = 3
warmup_epochs = 3
"""
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    told = {line.removeprefix(f"{path}: ").split(":")[0]: line for line in lines}
    assert set(told) >= {
        "name",
        "task.classes",
        "modalities.image.encodr",
        "modalities.image.encoder",
        "modalities.smell",
        "training.learning_rate",
    }
    assert "did you mean 'encoder'?" in told["modalities.image.encodr"]
    assert "pip install u2a-plugin-smell" in told["modalities.smell"]
    assert "'a' is named twice" in told["task.classes"]


@pytest.mark.parametrize("name", ["", " ", "a ", "\ta"])
def test_a_class_that_no_label_can_name_is_refused(name: str) -> None:
    """Labels are read without white space around them: samples of ``a`` would be taken for those of ``a ``."""
    document = {"task": {"classes": ["a", name]}}
    with pytest.raises(RecipeError, match=r"task.classes: class .* white space around it, which labels lose"):
        parse_recipe(document, source="r.toml", folder=Path("/f"))


def test_paths_are_relative_to_the_recipe_and_with_set_to_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shipped_recipes()["food101"].read_text().replace('"../shards/food101"', '"my/shards"')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/r.toml").write_text(source.replace('"openai/clip-vit-base-patch16"', '"./clip"', 1))
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("sub/r.toml")
    assert recipe.data.shards == str(tmp_path / "sub/my/shards")
    assert recipe.modalities["image"].encoder == str(tmp_path / "sub/clip")
    assert recipe.modalities["text"].encoder == "google-bert/bert-base-uncased"
    recipe = load_recipe("sub/r.toml", ["data.shards=my/shards", "modalities.image.encoder=./clip"])
    assert recipe.data.shards == str(tmp_path / "my/shards")
    assert recipe.modalities["image"].encoder == str(tmp_path / "clip")


@pytest.mark.parametrize("address", ["pipe:cat x.tar", "file:///etc/passwd", "pipe://x", "ssh://h/x"])
def test_addresses_that_start_programs_or_are_unknown_are_refused(address: str) -> None:
    with pytest.raises(RecipeError, match=r"data\.shards: .*(refused|not a supported address)"):
        load_recipe(shipped_recipes()["food101"], [f"data.shards={address}"])


def test_set_takes_toml_values_and_bare_words() -> None:
    sets = [
        "training.lr=3e-4",
        "training.detach_target=true",
        "task.metric=f1_macro",
        'data.shards={val="a.tar"}',
    ]
    recipe = load_recipe(shipped_recipes()["food101"], sets)
    assert (recipe.training.lr, recipe.training.detach_target, recipe.task.metric) == (3e-4, True, "f1_macro")
    assert recipe.data.shards == {"val": str(Path.cwd() / "a.tar")}
    with pytest.raises(RecipeError, match="expected KEY=VALUE"):
        load_recipe(shipped_recipes()["food101"], ["training.lr"])


def test_a_resolved_recipe_reads_back_the_same_from_anywhere(tmp_path: Path) -> None:
    for name, path in shipped_recipes().items():
        recipe = load_recipe(path)
        (tmp_path / f"{name}.toml").write_text(dump_recipe(recipe))
        assert load_recipe(tmp_path / f"{name}.toml") == recipe


def test_what_the_data_chooses_is_shown_as_left_out(tmp_path: Path) -> None:
    """Shown as 10, a recipe written from what is shown would train all data ten times."""
    source = shipped_recipes()["quickstart"]
    shown = CliRunner().invoke(main, ["recipe", "show", str(source), "--json"])
    assert "epochs" not in json.loads(shown.stdout)["training"]
    assert shown.stderr.startswith("training.epochs is left out")
    (tmp_path / "again.toml").write_text(dump_recipe(load_recipe(source)))
    assert load_recipe(tmp_path / "again.toml").leaves_epochs_out
    said = load_recipe(source, ["training.epochs=10"])
    assert said.resolved()["training"]["epochs"] == 10


def test_check_show_and_copy(tmp_path: Path) -> None:
    source = str(shipped_recipes()["ave"])
    assert "28 classes, modalities audio, video" in run("recipe", "check", source)
    assert "warmup_epochs = 2" in run("recipe", "show", source, "--set", "training.warmup_epochs=2")
    assert "kinetics_sound" in run("recipe", "copy")
    run("recipe", "copy", "ave", "--out", str(tmp_path))
    assert (tmp_path / "ave.toml").read_text() == Path(source).read_text()
    assert "exists already" in run("recipe", "copy", "ave", "--out", str(tmp_path), code=2)
    assert "no shipped recipe 'nope'" in run("recipe", "copy", "nope", code=2)


def test_a_recipe_as_windows_editors_save_it(tmp_path: Path) -> None:
    text = shipped_recipes()["quickstart"].read_bytes()
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    assert load_recipe(tmp_path / "bom.toml").name == "quickstart"


def test_numbers_must_be_finite() -> None:
    with pytest.raises(RecipeError, match=r"training\.lr: Input should be a finite number"):
        load_recipe(shipped_recipes()["quickstart"], ["training.lr=inf"])


@pytest.mark.parametrize("key", ["training.lr", "training.epochs", "data.holdout", "seed"])
def test_true_is_not_the_number_one(key: str) -> None:
    with pytest.raises(RecipeError, match=rf"{key}: .*is true, where no true or false belongs"):
        load_recipe(shipped_recipes()["quickstart"], [f"{key}=true"])


@pytest.mark.parametrize("modalities", ["", "[modalities]", "modalities = 3"])
def test_a_recipe_without_modalities_is_told_once(tmp_path: Path, modalities: str) -> None:
    path = tmp_path / "none.toml"
    tables = (
        '[data]\nshards = "s"\n[task]\nclasses = ["a", "b"]\n[training]\nbatch_size = 1\nepochs = 9\nlr = 1'
    )
    path.write_text(
        f'name = "x"\n{modalities if "=" in modalities else ""}\n{tables}\n'
        + (modalities if "[" in modalities else "")
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    message = f"{path}: modalities: at least one [modalities.<name>] section is needed"
    assert str(caught.value) == message


def test_the_reference_names_every_key_and_is_up_to_date() -> None:
    made = reference()
    assert (DOCS / "recipes.md").read_text(encoding="utf-8") == made, (
        "run: python -m scripts.reference.recipes > docs/recipes.md"
    )
    shown = load_recipe(shipped_recipes()["quickstart"]).model_dump()
    for section in ("data", "task", "model", "training"):
        assert all(f"| `{key}` |" in made for key in shown[section] if key != "missing"), section
    assert "|  |\n" not in made  # every key has a meaning


def test_a_recipe_carries_its_plugins_and_may_be_copied_and_sent(tmp_path: Path) -> None:
    mine = Registry(modalities=registry().modalities, metrics=registry().metrics)
    path = shipped_recipes()["quickstart"]
    recipe = load_recipe(path, plugins=mine)
    assert recipe.plugins is mine
    assert recipe.task.metrics is mine.metrics
    for copied in (deepcopy(recipe), recipe.model_copy(update={"seed": 1}, deep=True)):
        assert copied.plugins is mine
    sent = pickle.loads(pickle.dumps(recipe))  # to a process of its own, with plugins of its own
    assert sent.plugins is registry()
    assert sent.resolved() == recipe.resolved()


def test_not_toml_and_not_there_are_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("a = = 1")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5000)
    for path in ("x.toml", "y.toml", ".", "deep.toml", "x.toml/z.toml"):
        message = run("recipe", "check", str(tmp_path / path), code=2)
        assert message.count("\n") == 1
        assert message.startswith("error: ")


@pytest.mark.parametrize(
    ("given", "scale"), [({}, 8**-0.5), ({"lora_rank": 4}, 0.5), ({"lora_alpha": 8.0}, 1.0)]
)
def test_without_alpha_the_update_counts_one_over_the_root_of_the_rank(
    given: dict, scale: float, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    import toys

    from u2a.runs.build import build_model

    recipe = load_recipe(toys.make(tmp_path, checkpoints), [f"model.{k}={v}" for k, v in given.items()])
    scales = {
        module.scaling["default"]
        for branch in build_model(recipe).each_branch()
        for module in branch.backbone.modules()
        if hasattr(module, "lora_A")
    }
    assert list(scales) == pytest.approx([scale])
