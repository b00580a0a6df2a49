"""Nobody takes over: names that several bring, runs that remember whose, plugins left out and in files."""

from __future__ import annotations

import html
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from distributions import install, visible

from u2a.cli.main import main

SOUND = (Path(__file__).parents[1] / "letters_plugin.py").read_text()
#: The same tensors, other numbers.
BACKWARDS = SOUND.replace("list(member)", "[0] * len(member)")
RECIPE = """
name = "x"
data = {{ shards = "shards", workers = 0 }}
task = {{ classes = ["a", "b"] }}
[modalities.word]
kind = "{kind}"
[training]
batch_size = 8
epochs = 4
warmup_epochs = 0
lr = 3e-2
device = "cpu"
"""


def u2a(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@contextmanager
def sites(*folders: Path) -> Iterator[None]:
    """Installed from these folders, and imported afresh: another version has the same module name."""
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(visible(folder))
        for name in [name for name in sys.modules if name.startswith("plugin_owners")]:
            del sys.modules[name]
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modality in one distribution and two versions, an intruder that brings it too, data and a run."""
    root = tmp_path_factory.mktemp("owners")
    mine = {"letters": "plugin_owners_mine"}
    install(root / "one", "u2a-plugin-letters", mine, code=SOUND)
    install(root / "spelt", "U2A_Plugin.Letters", mine, code=SOUND)
    install(root / "two", "u2a-plugin-letters", mine, version="2.0", code=BACKWARDS)
    renamed = SOUND.replace("class Options(u2a.ModalityOptions):\n    pass", _OPTIONS.format("most"))
    install(root / "three", "u2a-plugin-letters", mine, version="3.0", code=renamed)
    install(root / "intruder", "a-plugin", {"intruder": "plugin_owners_other"}, code=BACKWARDS)
    rows = []
    for number in range(40):
        (root / f"{number}.abc").write_text(("sea", "harbour")[number % 2] * (1 + number % 3))
        split = ("train", "train", "test")[number % 3]
        rows.append({"key": str(number), "split": split, "label": "ab"[number % 2], "word": f"{number}.abc"})
    (root / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kinds = {"plain": "letters", "said": "u2a-plugin-letters:letters", "other": "a-plugin:letters"}
    for name, kind in kinds.items():
        (root / f"{name}.toml").write_text(RECIPE.format(kind=kind))
    with sites(root / "one"):
        command = ["data", "pack", f"{root}/plain.toml", "--manifest", f"{root}/manifest.jsonl"]
        assert (done := u2a(*command, "--out", f"{root}/shards")).exit_code == 0, done.output
        assert (done := u2a("train", f"{root}/plain.toml", "--run", f"{root}/run")).exit_code == 0, done.output
    return root


_OPTIONS = "class Options(u2a.ModalityOptions):\n    {}: int = 3\n"


def scores(root: Path, run: str = "run") -> dict[str, float]:
    done = u2a("eval", f"{root}/{run}", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["complete"]


def test_what_two_bring_is_refused_unless_the_recipe_or_the_run_says_whose(root: Path) -> None:
    with sites(root / "one"):
        alone = scores(root)
        assert u2a("recipe", "check", f"{root}/said.toml").exit_code == 0  # whose, where nobody else brings it
        assert u2a("recipe", "check", f"{root}/other.toml").exit_code == 2
    with sites(root / "one", root / "intruder"):
        done = u2a("train", f"{root}/plain.toml", "--run", f"{root}/refused")
        assert done.exit_code == 2
        assert done.stderr.count("\n") == 1
        for text in ("a-plugin 1.0", "u2a-plugin-letters 1.0", 'for example "a-plugin:letters"', "--no-plugin"):
            assert text in done.stderr
        assert not (root / "refused").exists()
        assert scores(root) == alone  # the run remembers whose
        assert (
            u2a("train", f"{root}/plain.toml", "--no-plugin", "intruder", "--run", f"{root}/out").exit_code == 0
        )
        assert u2a("train", f"{root}/said.toml", "--run", f"{root}/said").exit_code == 0
        assert scores(root, "out") == scores(root, "said") == alone
        assert u2a("train", f"{root}/other.toml", "--run", f"{root}/other").exit_code == 0
        rows = json.loads(u2a("plugins", "list", "--json").stdout)
        assert {"a-plugin:letters", "u2a-plugin-letters:letters"} <= {row["name"] for row in rows}
        assert json.loads(u2a("recipe", "schema").stdout)["definitions"]["modality_a-plugin:letters"]
    with sites(root / "one"):  # the intruder is gone again
        assert scores(root) == scores(root, "said") == alone
        lost = u2a("eval", f"{root}/other")
        assert lost.exit_code == 2
        assert "was trained with a-plugin 1.0: pip install a-plugin==1.0" in lost.stderr
    with sites(root / "intruder"):
        done = u2a("eval", f"{root}/run")
        assert done.exit_code == 2
        assert (
            "was trained with plugin 'letters' of u2a-plugin-letters 1.0, and plugin 'intruder'" in done.stderr
        )


def test_a_distribution_is_the_same_however_its_name_is_spelled(root: Path) -> None:
    with sites(root / "one"):
        alone = scores(root)
    with sites(root / "spelt"):
        done = u2a("eval", f"{root}/run", "--json")
        assert (json.loads(done.stdout)["complete"], done.stderr) == (alone, "")
        assert u2a("recipe", "check", f"{root}/said.toml").exit_code == 0
        for name in ("U2A_Plugin.Letters", "u2a.plugin_LETTERS"):
            assert "is left out" in u2a("recipe", "check", f"{root}/plain.toml", "--no-plugin", name).stderr


def test_a_resumed_run_of_what_two_bring_goes_on(root: Path) -> None:
    with sites(root / "one", root / "intruder"):
        done = u2a("train", f"{root}/run", "--resume")
        assert done.exit_code == 0, done.output


def test_another_version_is_said_in_the_first_line(root: Path) -> None:
    note = (
        f"{root}/run: modality 'word': trained with plugin 'letters' of u2a-plugin-letters 1.0; "
        "this is u2a-plugin-letters 2.0, whose numbers may differ"
    )
    with sites(root / "one"):
        before = scores(root)
        assert "numbers may differ" not in u2a("eval", f"{root}/run").output
    with sites(root / "two"):
        assert scores(root) != before
        for command in (["eval"], ["report"], ["predict", "--word", f"{root}/0.abc"]):
            done = u2a(command[0], f"{root}/run", *command[1:])
            assert done.exit_code == 0, done.output
            assert done.output.splitlines()[0] == note
        for more in (
            ["eval"],
            ["eval", "--sweep"],
            ["eval", "--rates", "word=0"],
            ["predict", "--word", f"{root}/0.abc"],
        ):
            done = u2a(more[0], f"{root}/run", *more[1:], "--json")
            assert done.exit_code == 0, done.output
            assert json.loads(done.stdout)["notes"] == [note]
        assert json.loads((root / "run/report/report.json").read_text())["notes"] == [note]
        assert (
            html.escape(note, quote=True).replace("&#x27;", "&#39;")
            in (root / "run/report/report.html").read_text()
        )


def test_a_renamed_option_names_both_versions(root: Path) -> None:
    text = (root / "run/recipe.toml").read_text()
    (root / "run/recipe.toml").write_text(text.replace('kind = "letters"', 'kind = "letters"\nlongest = 3'))
    try:
        with sites(root / "three"):
            done = u2a("eval", f"{root}/run")
    finally:
        (root / "run/recipe.toml").write_text(text)
    assert done.exit_code == 2
    assert "word.longest: unknown key" in done.stderr
    assert (
        "was trained with u2a-plugin-letters 1.0, this is 3.0: pip install u2a-plugin-letters==1.0"
        in done.stderr
    )


def test_a_run_records_every_modality_metric_and_logger(root: Path) -> None:
    used = json.loads((root / "run/versions.json").read_text())["plugins"]
    assert used["word"] == {"plugin": "letters", "distribution": "u2a-plugin-letters", "version": "1.0"}
    assert {"metric:accuracy", "metric:f1_macro", "metric:map"} <= used.keys()


def test_no_plugin_takes_names_and_distributions_and_refuses_others(root: Path, monkeypatch) -> None:
    with sites(root / "one"):
        for name in ("letters", "u2a-plugin-letters"):
            done = u2a("recipe", "check", f"{root}/plain.toml", "--no-plugin", name)
            assert done.exit_code == 2
            assert "'letters' of u2a-plugin-letters 1.0 is left out" in done.stderr
        assert u2a("recipe", "check", f"{root}/plain.toml").exit_code == 0
        done = u2a("plugins", "list", "--no-plugin", "leters")
        assert done.exit_code == 2
        assert "names 'leters'; installed are: " in done.stderr
        monkeypatch.setenv("U2A_NO_PLUGIN", "letters")
        from u2a.plugins.loading import forget

        forget()
        done = u2a("plugins", "list")
        assert "plugin 'letters' of u2a-plugin-letters 1.0: left out" in done.stdout


def test_a_plugin_in_a_file(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "owners_letters_file.py"
    file.write_text(SOUND)
    recipe, run = f"{root}/plain.toml", f"{tmp_path}/run"
    assert u2a("recipe", "check", recipe).exit_code == 2  # not installed
    train = ["train", recipe, "--plugin", str(file), "--run", run, "--set", "data.workers=1"]
    assert (done := u2a(*train)).exit_code == 0, done.output
    used = json.loads((tmp_path / "run/versions.json").read_text())["plugins"]["word"]
    assert (used["plugin"], used["distribution"]) == ("owners_letters_file", "owners_letters_file.py")
    assert u2a("--plugin", str(file), "eval", run).exit_code == 0  # before the command, as well
    lost = u2a("eval", run)
    assert lost.exit_code == 2
    assert "give the file with --plugin owners_letters_file.py" in lost.stderr


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("nothing.py", None, "cannot be read: No such file"),
        ("broken_file_plugin.py", "import no_such_library\n", "ModuleNotFoundError: No module named 'no_such"),
        ("json.py", "", "there is another module 'json'; give the file another name"),
        ("my-plugin.py", "", "must be a Python file with a name such as my_plugin.py"),
        ("no_hook_plugin.py", "x = 1\n", "implements no u2a hook"),
    ],
)
def test_a_file_that_is_no_plugin_is_refused(tmp_path: Path, name: str, code: str | None, reason: str) -> None:
    if code is not None:
        (tmp_path / name).write_text(code)
    done = u2a("plugins", "list", "--plugin", str(tmp_path / name))
    assert done.exit_code == 2
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_recipe_cannot_name_a_file(root: Path) -> None:
    for line in ('plugin = "x.py"', 'plugins = ["x.py"]'):
        (root / "names.toml").write_text(line + "\n" + RECIPE.format(kind="image"))
        assert "unknown key" in u2a("recipe", "check", f"{root}/names.toml").stderr


def test_what_is_installed_is_not_to_be_installed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "u2a_plugin_letters-4.0.dist-info").mkdir()
    (tmp_path / "u2a_plugin_letters-4.0.dist-info/METADATA").write_text(
        "Name: u2a-plugin-letters\nVersion: 4.0\n"
    )
    with sites(tmp_path):
        done = u2a("recipe", "check", f"{root}/plain.toml")
    assert "u2a-plugin-letters 4.0 is installed and registers none of that name" in done.stderr
    assert "pip install" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_who_waits_is_told_for_whom_and_can_leave_it_out(tmp_path: Path) -> None:
    install(tmp_path, "u2a-plugin-slow", {"slow": "plugin_slow"}, code="import time\ntime.sleep(1000)\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "u2a", "plugins", "list"]
    done = subprocess.run(
        [*command, "--no-plugin", "slow"], env=env, capture_output=True, text=True, check=True
    )
    assert "left out" in done.stdout
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        owner = "plugin 'slow' of u2a-plugin-slow 1.0"
        assert process.stderr.readline() == f"still loading {owner}; --no-plugin slow leaves it out\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == f"interrupted while loading {owner}; --no-plugin slow leaves it out\n"


def test_plugins_check_runs_the_kit_on_files(root: Path, tmp_path: Path) -> None:
    for name, text in (("a.abc", "sea"), ("b.abc", "harbour"), ("bad.abc", "")):
        (tmp_path / name).write_text(text)
    files = [f"{tmp_path}/a.abc", f"{tmp_path}/b.abc"]
    with sites(root / "one"):
        done = u2a("plugins", "check", "letters", *files, "--bad", f"{tmp_path}/bad.abc")
        assert done.exit_code == 2  # it takes an empty file
        said = done.output.splitlines()
        assert "ok: token shapes" in said
        assert any(
            line.startswith("bad bytes: b''... (0 bytes) is accepted; the contract wants") for line in said
        )
        assert "error: modality 'letters' (plugin 'letters' of u2a-plugin-letters 1.0): " in done.stderr
        assert u2a("plugins", "check", "letters", files[0]).exit_code == 2
        wrong = u2a("plugins", "check", "letters", *files, "--set", "longest=3")
        assert "longest: unknown key" in wrong.stderr
        assert (
            "no installed plugin brings the modality 'leters'"
            in u2a("plugins", "check", "leters", *files).stderr
        )
