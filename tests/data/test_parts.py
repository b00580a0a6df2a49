"""Parts of one packing: made apart, in any order, and joined to what one packing makes, byte for byte."""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path

import pytest
import tiny
from click.testing import CliRunner

from u2a.cli.main import main

RECIPE = """name = "parts"
[data]
shards = "shards"
[task]
classes = ["dog", "cat"]
[modalities.image]
encoder = "./clip"
resolution = 32
"""


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def equal(left: Path, right: Path) -> bool:
    """As ``diff -r`` sees it."""
    names = sorted(path.name for path in left.iterdir())
    same = filecmp.cmpfiles(left, right, names, shallow=False)[0]
    return names == sorted(path.name for path in right.iterdir()) and sorted(same) == names


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    """47 samples of train (10 shards of 5), 3 of test, two that cannot be decoded; one packing, four parts."""
    folder = tmp_path_factory.mktemp("parts")
    shutil.copytree(checkpoints["clip"], folder / "clip")
    (folder / "parts.toml").write_text(RECIPE)
    rows = []
    for i in range(50):
        tiny.picture(36, 32, i).save(folder / f"{i}.png")
        split, label = ("train" if i < 47 else "test"), ("cat" if i % 3 else "dog")
        rows.append({"key": f"k{i}", "split": split, "label": label, "image_path": f"{i}.png"})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pack(folder, "--out", folder / "whole")
    for number in (3, 1, 4, 2):
        pack(folder, "--out", folder / f"part{number}", "--part", f"{number}/4")
    return folder


def pack(folder: Path, *more: object, code: int = 0) -> str:
    common = ("--manifest", folder / "rows.jsonl", "--shard-size", 5, "--workers", 1)
    return run("data", "pack", folder / "parts.toml", *common, *more, code=code)


def parts(folder: Path, *numbers: int) -> list[Path]:
    return [folder / f"part{number}" for number in numbers]


def test_parts_are_one_packing(made: Path) -> None:
    said = run("data", "merge", made / "merged", *parts(made, 2, 4, 1, 3))
    assert "train: 47 samples in 10 shards" in said
    assert equal(made / "whole", made / "merged")
    sizes = [len(list(part.glob("train-*.tar"))) for part in parts(made, 1, 2, 3, 4)]
    assert sizes == [2, 3, 2, 3]
    assert sorted(path.name for path in (made / "part2").glob("*.tar")) == [
        f"train-00000{i}.tar" for i in (2, 3, 4)
    ]


def test_more_parts_than_shards_leave_some_empty(made: Path) -> None:
    for number in range(1, 13):
        pack(made, "--out", made / f"small{number}", "--part", f"{number}/12", "--overwrite")
    empty = [n for n in range(1, 13) if not (made / f"small{n}/dataset.json").exists()]
    assert len(empty) == 2
    pack(made, "--out", made / f"small{empty[0]}", "--part", f"{empty[0]}/12", "--overwrite")  # as any other
    run("data", "merge", made / "of12", *(made / f"small{n}" for n in range(1, 13)))
    assert equal(made / "whole", made / "of12")


def test_skipped_samples_are_named_in_the_whole(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(
        made, other, ignore=shutil.ignore_patterns("part[0-9]*", "whole", "merged", "small*", "of12")
    )
    for i in (4, 30, 46, 48):  # 48 is in part 2, 46 in part 4
        (other / f"{i}.png").write_bytes(b"no picture")
    for number in (1, 2, 3, 4):
        more = ("--part", f"{number}/4", "--shard-size", 2, "--on-error", "skip")
        pack(other, "--out", other / f"part{number}", *more)
    run("data", "merge", other / "merged", *parts(other, 1, 2, 3, 4))
    lines = map(json.loads, (other / "merged/skipped.jsonl").read_text().splitlines())
    assert [(line["split"], line["key"]) for line in lines] == [
        ("train", "k4"),
        ("train", "k30"),
        ("train", "k46"),
        ("test", "k48"),
    ]
    described = json.loads((other / "merged/dataset.json").read_text())
    assert sum(shard["samples"] for shard in described["splits"]["train"]) == 44
    assert described["classes"] == {"cat": {"train": 29, "test": 2}, "dog": {"train": 15, "test": 0}}


def test_what_is_no_whole_is_refused(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "of 4 parts, 2, 3 are missing" in run("data", "merge", out, *parts(made, 1, 4), code=2)
    twice = run("data", "merge", out, *parts(made, 1, 1, 2, 3), code=2)
    assert f"{made / 'part1'}: part 1/4, as {made / 'part1'} is" in twice
    shutil.copytree(made / "part1", tmp_path / "other")
    text = (tmp_path / "other/part.json").read_text()
    (tmp_path / "other/part.json").write_text(text.replace(json.loads(text)["whole"], "0" * 64))
    mixed = run("data", "merge", out, tmp_path / "other", *parts(made, 2, 3, 4), code=2)
    assert "part of another packing" in mixed
    (tmp_path / "other/part.json").write_text(text)
    shard = next((tmp_path / "other").glob("*.tar"))
    for left in (shard.read_bytes()[:-512], None):
        shard.unlink()
        if left:
            shard.write_bytes(left)
        lost = run("data", "merge", out, tmp_path / "other", *parts(made, 2, 3, 4), code=2)
        assert "missing, cut off, or without its index; pack that part again" in lost
    assert "is not there; parts are made with: u2a data pack --part 1/4" in run(
        "data", "merge", out, made / "whole", code=2
    )
    assert not out.exists()
    for wrong in ("0/4", "5/4", "2", "a/b", "1/0"):
        assert f"--part {wrong}: expected I/N" in pack(made, "--out", out, "--part", wrong, code=2)


def test_an_interrupted_part_goes_on_and_stands_beside_the_recipes_shards(made: Path) -> None:
    said = pack(made, "--part", "1/4")
    assert f"wrote {made / 'shards'}-part-1-of-4" in said
    assert equal(made / "shards-part-1-of-4", made / "part1")
