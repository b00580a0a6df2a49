"""``u2a init``: which file is whose, and which folder says what, where names restart in every folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
from started import CLASSES, init, pictures, refused, rows_of, started, table

from u2a.starting.files import Files

TEXT = "the boat number {} is red".format
SPLITS = ("train",) * 9 + ("test",) * 6


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_splits(written: str, lost: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Pictures whose numbers restart in each split, the last ones `lost`; the table's rows, and the places."""
    places = [f"{split}/{i if split == 'train' else i - 9:03d}.png" for i, split in enumerate(SPLITS)]
    pictures(*places[: len(places) - lost])
    rows = rows_of(15, file=lambda i: written.format(places[i]), split=lambda i: SPLITS[i])
    return rows, places


@pytest.mark.parametrize("written", ["{}", "./{}", "/home/me/pets/{}", "C:\\pets\\{}", "pets/{}"])
def test_a_lost_file_is_never_another_one_of_its_name(here: Path, written: str) -> None:
    rows, _ = in_splits(written, lost=2)
    table("t.csv", rows[:4] + rows[6:])  # the pictures that have the names of the lost ones are nobody's
    said = refused("t.csv")
    assert "line 13: column 'file'" in said
    assert "line 14: column 'file'" in said
    assert "no such file below" in said
    assert "train/004.png" in said
    assert "line 12" not in said


def test_all_files_of_one_folder_lost_are_not_those_of_another(here: Path) -> None:
    pictures(*(f"cat/{i}.png" for i in range(12)))
    rows = [
        {"file": f"{label}/{i + 6 * (label == 'cat')}.png", "label": label}
        for label in ("cat", "dog")
        for i in range(6)
    ]
    table("t.csv", rows)
    assert "line 8: column 'file': 'dog/0.png': no such file" in refused("t.csv")
    table("t.csv", [{**row, "file": f"/mnt/pets/{row['file']}"} for row in rows])
    assert "line 8: column 'file': '/mnt/pets/dog/0.png': no such file" in refused("t.csv")


def test_one_file_is_not_that_of_two_cells(here: Path) -> None:
    pictures(*(f"flat/{i}.png" for i in range(12)))
    rows = rows_of(file=lambda i: f"{CLASSES[i % 3]}/{i}.png")
    table("t.csv", rows)
    assert [row["image_path"] for row in started("t.csv")[1]] == [f"flat/{i}.png" for i in range(12)]
    table("two/t.csv", [*rows, {"file": "dog/0.png", "label": "dog"}])
    code, said = init("two/t.csv", "--root", ".", "--name", "two")
    assert code == 2
    assert "line 14: column 'file': 'dog/0.png'" in said
    assert "flat/0.png is what 'cat/0.png' names" in said


@pytest.mark.parametrize("written", ["PETS/{}", "old/place/{}", "/home/me/{}"])
def test_files_that_all_moved_alike_are_found(here: Path, written: str) -> None:
    rows, places = in_splits(written, lost=0)
    pictures(*(f"pets/{place}" for place in places))
    table("t.csv", rows)
    found = [row["image_path"] for row in started("t.csv")[1]]
    assert found == [f"pets/{place}" if written == "PETS/{}" else place for place in places]


@pytest.mark.parametrize("below", ["", "images/"])
def test_a_table_in_the_folder_of_each_split_keeps_to_its_own_files(here: Path, below: str) -> None:
    pictures(*(f"hf/train/{below}{i}.png" for i in range(9)), *(f"hf/test/{below}{i}.png" for i in range(5)))
    table("hf/train/metadata.csv", rows_of(6, file_name=lambda i: f"{i + (i > 3)}.png"))
    table("hf/test/metadata.csv", rows_of(6, file_name=lambda i: f"{i + 3 * (i > 4)}.png"))
    said = refused("hf")
    assert "metadata.csv, line 7: column 'file_name': 'test/8.png': no such file" in said
    assert "train/metadata.csv" not in said
    assert said.count("no such file") == 1


def test_a_recording_of_several_files_is_one_sample(here: Path) -> None:
    for i in range(12):
        place = Path("d", CLASSES[i % 3], f"{i:02d}")
        place.parent.mkdir(parents=True, exist_ok=True)
        clip = tiny.clip_bytes(tiny.numbered_frames(6 + i), tiny.tone(0.4, hertz=200 + 20 * i))
        place.with_suffix(".mp4").write_bytes(clip)
        place.with_suffix(".wav").write_bytes(tiny.sound_bytes(tiny.tone(0.4, hertz=300 + 20 * i)))
        place.with_suffix(".txt").write_text(TEXT(i))
    _, rows, said = started("d", "--size", "tiny")
    assert len(rows) == 12
    for row in rows:
        ends = {row["audio_path"][-4:], row["video_path"][-4:], row["text_path"][-4:]}
        assert ends == {".wav", ".mp4", ".txt"}
    assert "modality audio: 12 files are not read for it" in said


def test_pictures_of_one_name_stay_in_one_split(here: Path) -> None:
    pictures(*(f"d/{c}/{i}.{e}" for c in CLASSES for i in range(20) for e in ("png", "webp")))
    _, rows, _ = started("d")
    assert len(rows) == 120
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["image_path"].rpartition(".")[0], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_masks_are_not_read_in_place_of_pictures(here: Path) -> None:
    pictures(*(f"pets/images/{i}.jpg" for i in range(12)), *(f"pets/trimaps/{i}.bmp" for i in range(12)))
    table("pets/t.csv", rows_of(code=str, text=TEXT))
    _, rows, said = started("pets/t.csv")
    assert [row["image_path"] for row in rows] == [f"images/{i}.jpg" for i in range(12)]
    assert "modality image: 12 files are not read for it, whose samples have another (trimaps/0.bmp)" in said


@pytest.mark.parametrize("place", ["d/{c}/{kind}/{i}.png", "d/{kind}/{c}/{i}.png"])
def test_folders_of_masks_are_no_classes_and_no_samples(here: Path, place: str) -> None:
    names = [place.format(c=c, kind=k, i=i) for c in CLASSES for k in ("images", "masks") for i in range(5)]
    pictures(*names)
    recipe, rows, said = started("d")
    assert recipe["task"]["classes"] == list(CLASSES)
    assert sorted(f"d/{row['image_path']}" for row in rows) == sorted(n for n in names if "masks" not in n)
    assert "15 masks of other files are left out" in said


def test_a_class_called_like_a_mask_stays_one(here: Path) -> None:
    pictures(*(f"d/{c}/{c}{i}.png" for c in ("mask", "no_mask") for i in range(5)))
    recipe, rows, _ = started("d")
    assert recipe["task"]["classes"] == ["mask", "no_mask"]
    assert len(rows) == 10


@pytest.mark.parametrize(("word", "grouped"), [("fold{}", False), ("Actor_{:02d}", True), ("batch-{}", False)])
def test_numbered_folders_of_the_same_folders_are_no_classes(here: Path, word: str, grouped: bool) -> None:
    pictures(*(f"d/{word.format(k)}/{c}/{i}.png" for k in range(1, 7) for c in CLASSES for i in range(4)))
    recipe, rows, said = started("d")
    assert recipe["task"]["classes"] == list(CLASSES)
    assert f"{word.format(1)} to {word.format(6)} hold the same folders each, which are the classes" in said
    if grouped:
        assert {row["group"] for row in rows} == {word.format(k) for k in range(1, 7)}
        assert len({(row["group"], row["split"]) for row in rows}) == 6
    else:
        assert "group" not in rows[0]


def test_splits_inside_class_folders_are_the_splits(here: Path) -> None:
    pictures(
        *(
            f"d/{c}/{split}/{i}.png"
            for c in CLASSES
            for split, n in (("train", 4), ("test", 2))
            for i in range(n)
        )
    )
    recipe, rows, said = started("d")
    assert recipe["task"]["classes"] == list(CLASSES)
    assert all(row["image_path"].split("/")[1] == row["split"] for row in rows)
    assert Counter(row["split"] for row in rows) == {"train": 12, "test": 6}
    assert "3 classes (cat, dog, fox), 6 samples each" in said


def test_a_class_may_be_called_train_and_test_is_left_out(here: Path) -> None:
    pictures(*(f"v/{c}/{i}.png" for c in ("car", "plane", "train") for i in range(5)))
    assert started("v")[0]["task"]["classes"] == ["car", "plane", "train"]
    pictures(*(f"t/{c}/{i}.png" for c in ("cat", "dog", "test") for i in range(5)))
    recipe, rows, said = started("t")
    assert recipe["task"]["classes"] == ["cat", "dog"]
    assert len(rows) == 10
    assert "test holds no class folders: its files have no label and are left out" in said


@pytest.mark.parametrize("name", ["{}_caption.txt", "{}.caption.txt", "{}-transcript.txt"])
def test_a_word_more_in_the_name_is_the_same_sample(here: Path, name: str) -> None:
    pictures(*(f"d/{c}/{i:02d}.png" for c in CLASSES for i in range(5)))
    for c in CLASSES:
        for i in range(5):
            Path("d", c, name.format(f"{i:02d}")).write_text(TEXT(i))
    _, rows, _ = started("d")
    assert len(rows) == 15
    for row in rows:
        assert row["text_path"] == row["image_path"].replace(".png", name.format(""))


def test_a_class_folder_that_is_a_link_out_is_told(here: Path) -> None:
    pictures(*(f"far/{c}/{i}.png" for c in CLASSES for i in range(5)))
    Path("d").mkdir()
    for c in CLASSES:
        Path("d", c).symlink_to(here / "far" / c)
    assert f"lies in {here.resolve() / 'far/cat'}, where a link leads out of" in refused("d")
    assert Files(here / "d").why("../far/cat/0.png").startswith("no such file")


def test_numbers_that_restart_in_each_split_name_its_files(here: Path) -> None:
    pictures(*(f"kg/train_images/{i}.png" for i in range(30)), *(f"kg/test_images/{i}.png" for i in range(12)))
    table("kg/train.csv", rows_of(30, id=str, title=TEXT))
    table("kg/test.csv", rows_of(12, id=str, title=TEXT))
    _, rows, _ = started("kg")
    assert len(rows) == 42
    for row in rows:
        assert row["image_path"].startswith(f"{row['split']}_images/")
    _, rows, _ = started("kg/train.csv")
    assert [row["image_path"] for row in rows] == [f"train_images/{i}.png" for i in range(30)]


def test_an_id_of_several_files_is_never_a_missing_picture(here: Path) -> None:
    pictures(*(f"d/one/{i}.png" for i in range(12)), *(f"d/two/{i}.png" for i in range(3)))
    table("d/t.csv", rows_of(id=str, text=TEXT))
    said = refused("d/t.csv")
    assert "line 2: column 'id': '0' names 2 files: one/0.png, two/0.png" in said
    assert len(started("d/t.csv", "--root", "d/one")[1]) == 12


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_numbers_of_rows_name_no_files(here: Path, name: str) -> None:
    pictures(*(f"d/holiday/{i}.png" for i in range(12)))
    table("d/t.csv", [{name: str(i), **row} for i, row in enumerate(rows_of(review=TEXT))])
    recipe, _, said = started("d/t.csv")
    assert [spec.get("kind", name) for name, spec in recipe["modalities"].items()] == ["text"]
    assert "(numbers) is left out" in said


def test_metadata_in_the_data_folder_is_read(here: Path) -> None:
    for split, count in (("train", 9), ("test", 3)):
        pictures(*(f"d/data/{split}/{split}{i}.png" for i in range(count)))
        rows = rows_of(count, file_name=lambda i, s=split: f"{s}{i}.png")
        table(f"d/data/{split}/metadata.csv", rows)
    _, rows, _ = started("d")
    assert Counter(row["image_path"].rpartition("/")[0] for row in rows) == {"data/train": 9, "data/test": 3}
    assert Counter(row["split"] for row in rows) == {"train": 9, "test": 3}
