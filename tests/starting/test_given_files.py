"""``u2a init`` on the files of others: which files and labels their tables and folders name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from started import CLASSES, init, pictures, refused, rows_of, started, table

from u2a.data.packing.manifest import Manifest
from u2a.data.packing.sources import Cell
from u2a.starting.divide import divide
from u2a.starting.files import Files
from u2a.starting.hot import _found
from u2a.starting.recipe_text import batch_for


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("column", ["id", "image_id", "name"])
def test_a_key_that_names_a_file_is_the_picture_as_well(here: Path, column: str) -> None:
    pictures(*(f"train_images/{i}.png" for i in range(12)))
    table("t.csv", rows_of(**{column: "{}.png".format, "text": "the boat number {} is red".format}))
    recipe, rows, _ = started("t.csv")
    assert list(recipe["modalities"]) == ["image", "text"]
    assert [row["image_path"] for row in rows] == [f"train_images/{i}.png" for i in range(12)]
    assert [row["key"] for row in rows] == [f"{i}.png" for i in range(12)]


@pytest.mark.parametrize(("column", "modality"), [("code", "code"), ("id", "image")])
@pytest.mark.parametrize("written", ["{}", "{}.0"])
def test_numbers_that_lost_their_zeros_name_their_files(
    here: Path, written: str, column: str, modality: str
) -> None:
    pictures(*(f"img/{i:05d}.png" for i in range(12)))
    table("t.csv", rows_of(**{column: written.format, "text": "the boat number {} is red".format}))
    recipe, rows, _ = started("t.csv")
    assert set(recipe["modalities"]) == {modality, "text"}
    assert [row[f"{modality}_path"] for row in rows] == [f"img/{i:05d}.png" for i in range(12)]


def test_row_numbers_are_no_second_picture_beside_the_files(here: Path) -> None:
    pictures(*(f"img/{i:05d}.png" for i in range(12)))
    table("t.csv", rows_of(row=str, file=lambda i: f"{(5 * i) % 12:05d}.png"))
    recipe, rows, _ = started("t.csv")
    assert list(recipe["modalities"]) == ["image"]
    assert rows[1]["image_path"] == "img/00005.png"


@pytest.mark.parametrize("written", ["C:\\Users\\Me\\My pets\\{}\\{}.png", "/content/drive/pets/{}/{}.png"])
def test_paths_of_another_machine_are_found_by_their_end(here: Path, written: str) -> None:
    places = [(split, i) for split in ("train", "test") for i in range(6)]
    pictures(*(f"{split}/{i}.png" for split, i in places))
    table("t.csv", rows_of(file=lambda i: written.format(*places[i])))
    _, rows, said = started("t.csv")
    assert [row["image_path"] for row in rows] == [f"{split}/{i}.png" for split, i in places]
    assert "12 files were found by their name or the end of their path" in said


def test_a_cell_of_several_files_is_never_one_of_them(here: Path) -> None:
    pictures(*(f"img/{i}.png" for i in range(13)), "img/a, b.png")
    table("t.csv", rows_of(file=lambda i: f"img/{i}.png, img/{i + 1}.png"))
    assert "'img/0.png, img/1.png': names several files" in refused("t.csv")
    files = Files(here)
    assert files.find("img/a, b.png") == "img/a, b.png"
    assert files.find("img/a%2C%20b.png") == "img/a, b.png"


def test_a_name_that_is_there_twice_is_said_with_its_places(here: Path) -> None:
    pictures(*(f"{folder}/{i}.png" for folder in ("train_images", "test_images") for i in range(12)))
    table("t.csv", rows_of(file="{}.png".format))
    assert "there are 2 such files below" in (said := refused("t.csv"))
    assert "test_images/0.png, train_images/0.png" in said
    started("t.csv", "--root", "train_images")


SPLIT_FOLDERS = {
    "words": ("train_images/{}", "val2017/{}", "TestSet/{}"),
    "twice": ("seg_train/seg_train/{}", "seg_valid/seg_valid/{}", "seg_test/seg_test/{}"),
    "images": ("train/images/{}", "val/images/{}", "test/images/{}"),
}


@pytest.mark.parametrize("kind", SPLIT_FOLDERS)
def test_folders_of_splits_are_known_by_their_words(here: Path, kind: str) -> None:
    pictures(
        *(f"s/{where.format(c)}/{i}.png" for where in SPLIT_FOLDERS[kind] for c in CLASSES for i in range(4))
    )
    recipe, rows, _ = started("s")
    assert recipe["task"]["classes"] == list(CLASSES)
    assert {(row["split"], row["image_path"].split("/")[0]) for row in rows} == {
        (split, where.split("/")[0])
        for split, where in zip(("train", "val", "test"), SPLIT_FOLDERS[kind], strict=True)
    }


@pytest.mark.parametrize(
    "place", ["s/{kind}/{label}/{i}", "s/{label}/{kind}/{i}", "s/train/{kind}/{label}/{i}"]
)
def test_folders_of_modalities_hold_the_same_samples(here: Path, place: str) -> None:
    for kind, extension in (("images", "png"), ("captions", "txt")):
        for number in range(12):
            label, i = CLASSES[number % 3], number // 3
            path = Path(place.format(kind=kind, label=label, i=i) + f".{extension}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                tiny.image_bytes(tiny.picture(24, 20, number)) if kind == "images" else b"a boat %d" % number
            )
    recipe, rows, _ = started("s")
    assert recipe["task"]["classes"] == list(CLASSES)
    assert len(rows) == 12
    for row in rows:
        assert row["image_path"].replace("images", "captions").replace(".png", ".txt") == row["text_path"]


def test_folders_of_other_kinds_of_files_are_no_classes(here: Path) -> None:
    pictures(*(f"s/images/{c}/{i}.png" for c in CLASSES for i in range(4)))
    Path("s/meta").mkdir()
    Path("s/meta/train.json").write_text("{}")
    assert "its folders (images and meta) hold different kinds of files, so they are no classes" in refused("s")
    recipe, _, _ = started("s/images")
    assert recipe["task"]["classes"] == list(CLASSES)


def test_what_lies_beside_class_folders_is_told(here: Path) -> None:
    pictures(*(f"s/train/{c}/{i}.png" for c in CLASSES for i in range(4)), "s/test/1.png", "s/1.png")
    pictures("s/train/cat/0_mask.png")
    Path("s/train/cat/bare").write_bytes(b"whatever")
    table("s/captions.csv", rows_of(file=str))
    _, rows, said = started("s")
    assert len(rows) == 12
    assert "1 masks of other files are left out (train/cat/0_mask)" in said
    assert "test holds no class folders: its files have no label and are left out" in said
    assert "1 files beside the class folders are left out (1.png)" in said
    assert "1 files are left out, whose names have no extension (train/cat/bare)" in said
    assert "captions.csv is not read; to take the table instead: u2a init s/captions.csv" in said


def test_files_without_extension_are_known_by_their_first_bytes(here: Path) -> None:
    pictures(*(f"s/{CLASSES[i % 3]}/{i:04x}" for i in range(12)))
    _, rows, said = started("s")
    assert rows[0]["image_path"] == "s/cat/0000".removeprefix("s/")
    assert "left out" not in said
    table("t.csv", rows_of(file=lambda i: f"s/{CLASSES[i % 3]}/{i:04x}"))
    recipe, rows, _ = started("t.csv", "--overwrite", "--name", "s")
    assert list(recipe["modalities"]) == ["image"]
    problems: list[str] = []
    packed = list(Manifest(Path("n.manifest.jsonl"), {"image": ("jpg", "png")}).rows(problems))
    assert problems == []
    assert [row.cells["image"] for row in packed] == [Cell("png", here / row["image_path"]) for row in rows]


def test_two_folders_of_one_split_are_refused(here: Path) -> None:
    pictures(
        *(f"s/{split}/{c}/{i}.png" for split in ("train", "train_old", "test") for c in CLASSES for i in (1, 2))
    )
    assert "has several folders of split train" in refused("s")


def test_a_folder_of_a_table_for_each_split(here: Path) -> None:
    for split, count in (("train", 12), ("dev", 6), ("test", 3)):
        pictures(*(f"memes/img/{split}{i}.png" for i in range(count)))
        rows = rows_of(
            count, img=lambda i, s=split: f"img/{s}{i}.png", text=f"the {split} boat {{}} is red".format
        )
        rows = [{**row, "label": ""} if split == "test" else row for row in rows]
        table(f"memes/{split}.csv", rows)
    recipe, rows, said = started("memes")
    assert set(recipe["modalities"]) == {"image", "text"}
    assert {(row["split"], row["image_path"][:6]) for row in rows} == {("train", "img/tr"), ("val", "img/de")}
    assert len(rows) == 18
    assert "left out: 3 samples without a label" in said


@pytest.mark.parametrize("word", ["none", "NA", "-"])
def test_a_class_that_is_called_like_nothing_is_told_and_taken(here: Path, word: str) -> None:
    rows = rows_of(text="the boat number {} is red".format)
    table("t.csv", [{**row, "label": word if i % 3 == 1 else row["label"]} for i, row in enumerate(rows)])
    recipe, found, said = started("t.csv")
    assert recipe["task"]["classes"] == ["cat", "fox"]
    assert f"labels that say {word!r} (4) were taken as none; if that is a class: --class {word!r}" in said
    recipe, found, said = started("t.csv", "--class", word, "--overwrite")
    assert sorted(recipe["task"]["classes"]) == sorted([word, "cat", "fox"])
    assert len(found) == 12
    assert "taken as none" not in said


def test_a_single_class_beside_a_word_for_nothing_says_what_to_do(here: Path) -> None:
    table("t.csv", [{"text": f"the boat number {i} is red", "gram": "+-"[i % 2]} for i in range(12)])
    assert "--class '-'" in refused("t.csv", "--label", "gram")


def test_booleans_of_any_program_are_two_classes(here: Path) -> None:
    words = ("True", "FALSE", "true", "False")
    table("t.csv", [{"text": f"the boat number {i} is red", "label": words[i % 4]} for i in range(12)])
    recipe, _, _ = started("t.csv")
    assert recipe["task"]["classes"] == ["false", "true"]


@pytest.mark.parametrize("who", ["Patient_ID", "Patient ID", "subject", "lesionId"])
def test_samples_of_one_patient_are_never_parted(here: Path, who: str) -> None:
    rows = rows_of(60, text="the boat number {} is red".format, **{who: lambda i: f"P{i // 4}"})
    table("t.csv", rows)
    _, found, said = started("t.csv")
    splits = {row["group"]: row["split"] for row in found}
    assert [splits[row["group"]] for row in found] == [row["split"] for row in found]
    assert set(splits.values()) == {"train", "val", "test"}
    assert f"samples of one {who!r} and equal files stay together" in said
    _, found, _ = started("t.csv", "--ignore", who, "--overwrite")
    assert "group" not in found[0]


def test_speakers_that_are_what_is_to_be_predicted_are_no_groups(here: Path) -> None:
    rows = [
        {"text": f"the boat number {i} is red", "speaker": f"S{i % 12}", "label": i % 12} for i in range(48)
    ]
    table("t.csv", rows)
    _, found, _ = started("t.csv")
    assert "group" not in found[0]
    assert {row["label"] for row in found if row["split"] == "train"} == {str(n) for n in range(12)}


def test_a_column_of_splits_is_known_by_its_values(here: Path) -> None:
    names = ("Train", "train", "TRAIN ", "dev", "Test", "train")
    table("t.csv", rows_of(text="the boat number {} is red".format, dataset=lambda i: names[i % 6]))
    _, found, said = started("t.csv")
    assert "splits as they are: train 8, val 2, test 2" in said
    assert [row["split"] for row in found[:6]] == ["train", "train", "train", "val", "test", "train"]


def test_a_test_split_without_labels_leaves_one_to_be_drawn(here: Path) -> None:
    rows = rows_of(60, text="the boat number {} is red".format, split=lambda i: "test" if i > 39 else "train")
    table("t.csv", [{**row, "label": "" if row["split"] == "test" else row["label"]} for row in rows])
    _, found, said = started("t.csv")
    assert "only the split train has labels" in said
    assert {row["split"] for row in found} == {"train", "val", "test"}
    assert len(found) == 40


def test_a_table_without_a_header_is_refused(here: Path) -> None:
    pictures(*(f"img/{i}.png" for i in range(12)))
    path = Path(table("t.csv", rows_of(file="img/{}.png".format)))
    path.write_text(path.read_text().split("\n", 1)[1])
    assert "has no header: its first line holds 'img/0.png', a file" in refused("t.csv")


def test_a_title_above_the_header_is_refused(here: Path) -> None:
    lines = [
        "My survey;;",
        ";;",
        "text;label;age",
        *(f"the boat number {i} is red;{CLASSES[i % 3]};{i}" for i in range(12)),
    ]
    Path("t.csv").write_text("\n".join(lines))
    assert "its first line names 1 of 3 columns; if it is a title, delete what stands above" in refused("t.csv")
    Path("t.csv").write_text("\n".join(lines[2:]))
    assert list(started("t.csv")[0]["modalities"]) == ["text"]


def test_half_of_a_character_is_told_with_its_line(here: Path) -> None:
    rows = [json.dumps({"text": f"the boat number {i} is red", "label": CLASSES[i % 3]}) for i in range(12)]
    Path("t.jsonl").write_text("\n".join([*rows[:4], rows[4].replace("boat", "\\ud83d boat"), *rows[5:]]))
    assert "line 5: column 'text': holds half of a character" in refused("t.jsonl")


@pytest.mark.parametrize("text", ["แมวดำนอนอยู่บนโซฟา", "ແມວດຳນອນຢູ່", "ឆ្មាខ្មៅដេក", "黒猫が寝ている"])
def test_texts_of_scripts_without_spaces_are_texts(here: Path, text: str) -> None:
    table("t.csv", rows_of(plot=lambda i: f"{text}{i}"))
    assert list(started("t.csv")[0]["modalities"]) == ["plot"]


def test_single_words_under_the_name_text_are_texts(here: Path) -> None:
    table("t.csv", rows_of(Text=lambda i: f"Casablanca{i}", code=lambda i: f"abc{i}"))
    assert list(started("t.csv")[0]["modalities"]) == ["text"]


@pytest.mark.parametrize(
    ("column", "cells", "classes"),
    [
        ("genre", ("Drama, War", "Drama", "War"), ["Drama", "War"]),
        ("mood", ("sad, odd", "sad", "odd", "odd, sad"), ["odd", "sad"]),
        ("tags", ("haze primary", "clear primary", "clear primary water", "primary water"), None),
        (
            "tags",
            ("haze water", "haze", "clear water", "water", "clear haze water", "clear"),
            ["clear", "haze", "water"],
        ),
        ("categories", (*"ABCDEFGHI", "Health, Beauty"), None),
        ("genre", (*"ABCDEFG", "Health, Beauty", "Home; Garden"), None),
        ("genre", ("A", "B", "C", "C, D"), ["A", "B", "C", "D"]),
        ("tags", ("A", "B", "C|D"), ["A", "B", "C", "D"]),
        ("genres", ("Science Fiction", "Action", "Drama"), None),
        ("place", ("Portland, ME", "Portland, OR", "Salem, OR"), None),
        (
            "side",
            ("left, upper", "left, lower", "right, upper", "right, lower", "left, middle", "right, middle"),
            None,
        ),
    ],
)
def test_lists_of_labels_are_told_from_names_with_commas_and_spaces(
    here: Path, column: str, cells: Sequence[str], classes: list[str] | None
) -> None:
    rows = [{"text": f"the boat number {i} is red", column: cells[i % len(cells)]} for i in range(60)]
    table("t.csv", rows)
    recipe, _, _ = started("t.csv", "--label", column)
    assert recipe["task"]["kind"] == ("multi_label" if classes else "single_label")
    assert recipe["task"]["classes"] == (classes or sorted(cells))


def test_whole_numbers_are_one_class_however_they_are_written(here: Path) -> None:
    written = ["2.0", "1", "10.0", "2", "1.", "10"]
    rows = [{"text": f"the boat number {i} is red", "label": written[i % 6]} for i in range(24)]
    recipe, made, _ = started(table("t.csv", rows))
    assert recipe["task"]["classes"] == ["1", "2", "10"]
    assert [row["label"] for row in made] == [str(int(float(str(row["label"])))) for row in rows]


@pytest.mark.parametrize("several", ["cat|dog", '["cat", "dog"]'])
def test_several_labels_in_the_last_rows_count_as_well(here: Path, several: str) -> None:
    rows = rows_of(240, text="the boat number {} is red".format)
    table("t.csv", [*rows, {"text": "a green boat", "label": several}])
    recipe, found, _ = started("t.csv")
    assert recipe["task"] == {"kind": "multi_label", "classes": list(CLASSES)}
    assert found[-1]["labels"] == ["cat", "dog"]


@pytest.mark.parametrize("one", ["1", "1.0", "True"])
def test_columns_of_zeros_and_ones_are_labels_together(here: Path, one: str) -> None:
    zero = {"1": "0", "1.0": "0.0", "True": ""}[one]
    rows = [{"text": f"the boat number {i} is red"} for i in range(24)]
    hot = [{**row, **{n: (zero, one)[i >> p & 1] for p, n in enumerate(CLASSES)}} for i, row in enumerate(rows)]
    table("t.csv", hot[1:])
    assert "--label cat,dog,fox" in refused("t.csv")
    recipe, found, _ = started("t.csv", "--label", "cat, dog,fox")
    assert recipe["task"] == {"kind": "multi_label", "classes": list(CLASSES)}
    given = [row["labels"] for row in found if row["labels"]]
    assert given == [[n for p, n in enumerate(CLASSES) if i >> p & 1] for i in range(1, 24) if i % 8]
    table(
        "one.csv",
        [
            {**row, **{n: one if i % 3 == p else zero for p, n in enumerate(CLASSES)}}
            for i, row in enumerate(rows)
        ],
    )
    recipe, found, _ = started("one.csv", "--label", "cat,dog,fox", "--name", "t", "--overwrite")
    assert recipe["task"] == {"kind": "single_label", "classes": list(CLASSES)}
    assert [row["label"] for row in found[:4]] == ["cat", "dog", "fox", "cat"]
    table("odd.csv", [{**row, "cat": -1, "dog": 1} for row in rows])
    code, said = init("odd.csv", "--label", "cat,dog")
    assert code == 2
    assert "line 2: column 'cat': '-1' is neither 0 nor 1" in said


def test_fields_of_objects_are_columns(here: Path) -> None:
    pictures(*(f"img/{i}.png" for i in range(12)))
    rows = [
        {
            "image": {"path": f"img/{i}.png", "width": 24},
            "about": {"kind": CLASSES[i % 3], "by": {"title": f"a red boat {i}"}},
        }
        for i in range(12)
    ]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe, found, said = started("t.jsonl", "--label", "about.kind")
    assert set(recipe["modalities"]) == {"image", "text"}
    assert (found[4]["image_path"], found[4]["text"], found[4]["label"]) == ("img/4.png", "a red boat 4", "dog")
    assert "column 'image.width' (numbers) is left out" in said


def test_many_columns_that_are_left_out_are_one_line(here: Path) -> None:
    table(
        "t.csv",
        [
            {"label": CLASSES[i % 3], "text": f"a red boat {i}", **{f"p{j}": i * j for j in range(1, 40)}}
            for i in range(12)
        ],
    )
    assert "39 columns (numbers) are left out: 'p1', 'p2', 'p3' ...\n" in started("t.csv")[2]


def test_cells_that_say_nothing_are_missing_and_rows_of_nothing_left_out(here: Path) -> None:
    pictures(*(f"{i}.png" for i in range(10)))
    texts = {3: "N/A", 4: "", 10: "", 11: "none"}
    rows = rows_of(
        picture=lambda i: f"{i}.png" if i < 10 else "",
        text=lambda i: texts.get(i, f"the boat number {i} is red"),
    )
    _, found, said = started(table("t.csv", rows))
    assert "left out: 2 samples without anything to learn from" in said
    assert len(found) == 10
    assert [i for i, row in enumerate(found) if "text" not in row] == [3, 4]
    assert "cells of 'text' say 'N/A' (1), 'none' (1) and were taken as missing; if they are texts" in said


def test_short_utterances_are_told_and_kept_where_the_person_says_that_they_are_texts(here: Path) -> None:
    pictures(*(f"{i}.png" for i in range(20)))
    said_little = ("?", "-", "..", "None", "NA")
    rows = rows_of(
        20,
        picture="{}.png".format,
        message=lambda i: said_little[i // 2 % 5] if i % 2 else f"the boat {i} is red",
    )
    table("t.csv", rows)
    _, found, said = started("t.csv")
    assert sum("message" in row for row in found) == 10
    words = "'?' (2), '-' (2), '..' (2), 'None' (2), 'NA' (2)"
    assert (
        f"10 cells of 'message' say {words} and were taken as missing; if they are texts: --kind message=text"
        in said
    )
    _, found, said = started("t.csv", "--kind", "message=text", "--overwrite")
    assert [row["message"] for row in found] == [row["message"] for row in rows]
    assert "taken as missing" not in said


def test_ones_and_zeros_of_nothing_are_no_label() -> None:
    source: Any = SimpleNamespace(path="t.csv")
    names = ["a", "b"]
    given = [{"a": "1", "b": "0"}, {"a": 0, "b": None}, {"a": "", "b": None}, {"a": True, "b": 1.0}]
    assert [_found(source, "line 1", row, names) for row in given] == [["a"], [], None, ["a", "b"]]


def test_few_samples_get_a_batch_that_they_fill_four_times() -> None:
    assert [batch_for(n) for n in (0, 1, 8, 10, 16, 40, 63, 64, 500)] == [None, 1, 2, 2, 4, 8, 8, None, None]


def test_a_rare_label_keeps_its_shares_beside_a_common_one() -> None:
    labels = [("a", "z") if i % 10 == 0 else ("a",) for i in range(200)]  # rare, and last in the alphabet
    for seed in range(10):
        drawn = divide(labels, [[i] for i in range(200)], seed)
        held = Counter(split for split, one in zip(drawn, labels, strict=True) if "z" in one)
        assert (held["train"], held["test"], held["val"]) == (14, 3, 3)


def test_equal_texts_stay_in_one_split(here: Path) -> None:
    rows = rows_of(40, text=lambda i: f"the boat number {i // 2} is red")
    _, found, _ = started(table("t.csv", rows))
    assert all(one["split"] == other["split"] for one, other in zip(found[::2], found[1::2], strict=True))
    assert {row["split"] for row in found} == {"train", "val", "test"}
