"""The README's blocks, run as they are printed, in an empty folder with the files that they name."""

import re
import shlex
from pathlib import Path

import pytest
import tiny
from processes import python

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def block(language: str) -> str:
    """The one block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pets")
    (made / "photos").mkdir()
    for i in (1, 2, 3):
        (made / f"photos/00{i}.jpg").write_bytes(tiny.image_bytes(tiny.picture(seed=i), "JPEG"))
    (made / "manifest.jsonl").write_text(block("json"))
    (made / "pets.toml").write_text(block("toml"))
    return made


def run(folder: Path, *words: str) -> str:
    done = python(*words, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def u2a(folder: Path, line: str) -> str:
    name, *words = shlex.split(line)
    assert name == "u2a"
    return run(folder, "-m", name, *words)


@pytest.mark.compares
def test_own_data_from_manifest_to_report(folder: Path) -> None:
    output = "".join(u2a(folder, line) for line in block("sh").splitlines())
    assert "without text" in output
    assert "used image; filled in text" in output
    assert list(folder.glob("**/report.html")) or list(folder.glob("**/*.html"))


@pytest.mark.compares
def test_the_same_from_python(folder: Path) -> None:
    if not (folder / "shards/pets").exists():
        u2a(folder, "u2a data pack pets.toml --manifest manifest.jsonl")
    output = run(folder, "-c", block("python"))
    assert "[('image',), ('text',)]" in output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        target = page.parent / link if link else page
        assert link.startswith("https://") or target.exists(), link
        if anchor and target.suffix == ".md":
            found = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
            titles = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}
            assert anchor in titles, anchor


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\S+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
