"""What would be trained on, or lost, without a word: each is told when data is packed, or refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from u2a.cli.main import main
from u2a.data.feeding.plan import holdout
from u2a.data.packing.manifest import ManifestOptions
from u2a.data.packing.pack import pack_manifest
from u2a.data.reading.split_checks import check_labels
from u2a.data.shards.index import ShardIndex
from u2a.data.shards.twins import split_indexes, twin_groups
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe

RECIPE = """
name = "pets"
data = {{ shards = "shards" }}
[task]
kind = "{kind}"
classes = {classes}
[modalities.image]
encoder = "tiny/vit"
[modalities.text]
encoder = "tiny/bert"
[training]
batch_size = 4
epochs = 6
lr = 1e-3
"""


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(stream, "PNG")
    return stream.getvalue()


def rows_of(count: int, split: str = "train", first: int = 0) -> list[dict[str, object]]:
    return [
        {
            "key": f"k{i}",
            "split": split,
            "label": ("cat", "dog")[i % 2],
            "image": f"{i}.png",
            "text": f"words {i}",
        }
        for i in range(first, first + count)
    ]


def notes_of(
    folder: Path,
    rows: list[dict[str, object]],
    classes: str = '["cat", "dog"]',
    kind: str = "single_label",
    reading: ManifestOptions | None = None,
    **how: object,
) -> str:
    """What packing these rows says."""
    (folder / "r.toml").write_text(RECIPE.format(classes=classes, kind=kind))
    for row in rows:
        if row.get("image") and not (folder / str(row["image"])).exists():
            (folder / str(row["image"])).write_bytes(png(int(Path(str(row["image"])).stem)))
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes: list[str] = []
    pack_manifest(
        load_recipe(folder / "r.toml"),
        folder / "m.jsonl",
        folder / "shards",
        tell=notes.append,
        reading=reading,
        overwrite=True,
        **how,
    )
    return "\n".join(notes)


def labels_of(folder: Path, split: str = "train") -> list[list[str]]:
    return [
        [index.info.classes[i] for i in index.label_ids(row)]
        for index in split_indexes(folder / "shards")[split]
        for row in range(index.info.samples)
    ]


def test_nothing_is_said_of_sound_data(tmp_path: Path) -> None:
    assert notes_of(tmp_path, rows_of(6) + rows_of(2, "val", 6) + rows_of(2, "test", 8)) == ""


def change(rows: list[dict[str, object]], **values: object) -> list[dict[str, object]]:
    return [{**row, **values} for row in rows]


TOLD = {
    "no modality": (change(rows_of(4), text=None), "no sample has 'text'; if it should, the manifest needs"),
    "modality of one split": (
        rows_of(4) + change(rows_of(2, "test", 4), text=None),
        "no sample of test has 'text'",
    ),
    "split in capitals": (change(rows_of(4), split="Train"), "split 'Train': only 'train' is trained on"),
    "validation": (rows_of(4) + rows_of(2, "validation", 4), "only 'val' picks the checkpoint"),
    "dev": (rows_of(4) + rows_of(2, "DEV", 4), "--rename-split DEV=val"),
    "two of a name": (
        rows_of(4) + rows_of(1, "Train", 4),
        "only 'train' is trained on, and there is one: to join them: u2a data pack --rename-split Train=train",
    ),
    "group of two splits": (
        change(rows_of(4), group="caf\u00e9") + change(rows_of(1, "test", 4), group="cafe\u0301"),
        "1 groups have samples in train and test: 'k0'",
    ),
    "no train": (rows_of(4, "test"), "there is no split 'train' (test)"),
    "no labels": (change(rows_of(4), label=None), "train: none of 4 samples have a label"),
    "some labels": (rows_of(3) + change(rows_of(1, first=3), label=""), "train: 3 of 4 samples have a label"),
    "class of one": (change(rows_of(4), label="cat") + change(rows_of(1, first=4), label="dog"), "only 1 "),
    "class of testing": (
        change(rows_of(4), label="cat") + change(rows_of(1, "test", 4), label="dog"),
        "class 'dog': never in train, but in test (1)",
    ),
    "file of two splits": (
        rows_of(4) + change(rows_of(1, "test", 4), image="0.png"),
        "1 image files are the same in train and test: 'k0'",
    ),
    "twins": (rows_of(4) + change(rows_of(1, first=4), image="0.png"), "samples of train share 1 image files"),
    "unknown column": (change(rows_of(4), year=3), "does not know are left out: 'year' (4 rows)"),
    "word for missing": (change(rows_of(4), text="N/A"), "4 text cells say 'N/A' (4) and are kept"),
    "places": (
        [row | {"label": i % 2} for i, row in enumerate(rows_of(4))],
        "labels are numbers, taken as places in the classes, from 0: 0 = 'cat' (2), 1 = 'dog' (2)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOLD)
def test_what_a_person_may_not_have_meant_is_said(tmp_path: Path, kind: str) -> None:
    rows, said = TOLD[kind]
    notes = notes_of(tmp_path, rows)
    assert said in notes
    others = [text for name, (_, text) in TOLD.items() if name != kind]
    assert notes.count("\n") <= 1 or sum(text in notes for text in others) <= 1


def test_splits_are_renamed_on_demand(tmp_path: Path) -> None:
    renamed = ManifestOptions(rename_splits=(("Train", "train"), ("validation", "val")))
    rows = change(rows_of(4), split="Train") + rows_of(2, "validation", 4)
    assert notes_of(tmp_path, rows, reading=renamed) == ""
    assert list(split_indexes(tmp_path / "shards")) == ["train", "val"]


STARS = '["1", "2", "3", "4", "5"]'


@pytest.mark.parametrize(
    ("labels", "right"),
    [([0, 1, 2, 3, 4], ["1", "2", "3", "4", "5"]), (["1", 2, 3.0, "4", "5"], ["1", "2", "3", "4", "5"])],
)
def test_numbers_are_names_or_places_whichever_fits_all(tmp_path: Path, labels: list, right: list[str]) -> None:
    rows = [row | {"label": label} for row, label in zip(rows_of(5), labels, strict=True)]
    notes_of(tmp_path, rows, classes=STARS)
    assert [label for (label,) in labels_of(tmp_path)] == right


def test_numbers_that_may_be_either_are_refused(tmp_path: Path) -> None:
    rows = [row | {"label": 1 + i % 3} for i, row in enumerate(rows_of(5))]
    with pytest.raises(U2AError, match=r"m\.jsonl: label 1 is .* --numbers names or --numbers places"):
        notes_of(tmp_path, rows, classes=STARS)
    assert not (tmp_path / "shards").exists()
    notes_of(tmp_path, rows, classes=STARS, numbers="names")
    assert [label for (label,) in labels_of(tmp_path)] == ["1", "2", "3", "1", "2"]
    notes_of(tmp_path, rows, classes=STARS, numbers="places")
    assert [label for (label,) in labels_of(tmp_path)] == ["2", "3", "4", "2", "3"]
    mixed = [row | {"label": ("cat", 1)[i % 2]} for i, row in enumerate(rows_of(4))]
    with pytest.raises(U2AError, match="partly names, partly numbers"):
        notes_of(tmp_path, mixed)


def test_multi_hot_labels(tmp_path: Path) -> None:
    vectors = [[1, 0, 1], [0, 0, 0], "[0, 1, 0]", "[1 1 1]", [False, True, True]]
    rows = [row | {"label": vector} for row, vector in zip(rows_of(5), vectors, strict=True)]
    notes_of(tmp_path, rows, classes='["a", "b", "c"]', kind="multi_label")
    assert labels_of(tmp_path) == [["a", "c"], [], ["b"], ["a", "b", "c"], ["b", "c"]]
    rows = [row | {"label": [0, 1]} for row in rows_of(2)]
    with pytest.raises(U2AError, match="may be a multi-hot vector"):
        notes_of(tmp_path, rows, kind="multi_label")


def test_accents_of_labels_and_keys(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    notes_of(tmp_path, change(rows_of(4), label=apart), classes=f'["{composed}", "dog"]')
    assert labels_of(tmp_path) == [[composed]] * 4
    index = split_indexes(tmp_path / "shards")["train"][0]  # read by a recipe that names the other form
    ids = check_labels(index, {"dog": 0, apart: 1}, multi_label=False, labelled=True)
    assert [ids[number] for row in range(4) for number in index.label_ids(row)] == [1] * 4
    rows = rows_of(3)
    rows[0]["key"], rows[2]["key"] = composed, apart
    with pytest.raises(U2AError, match=r"line 3: key 'cafe\\u0301' looks like 'caf\\xe9' on line 1"):
        notes_of(tmp_path, rows)
    with pytest.raises(
        U2AError, match=r"label '\\?u?0?4?4?1?.at'.*did you mean 'cat'\? \(this one is '\\u0441at'\)"
    ):
        notes_of(tmp_path, change(rows_of(2), label="\u0441at"))  # a Cyrillic letter


def test_what_names_no_split_and_classes_that_look_alike(tmp_path: Path) -> None:
    with pytest.raises(U2AError, match="column 'split': 'nan' is a word for nothing"):
        notes_of(tmp_path, rows_of(4) + rows_of(1, "nan", 4))
    with pytest.raises(U2AError, match=r"class 'caf\u00e9' is named twice \('caf\\xe9', 'cafe\\u0301'\)"):
        notes_of(tmp_path, rows_of(4), classes='["caf\u00e9", "cafe\u0301"]')


def test_booleans_and_numbers_are_places_together(tmp_path: Path) -> None:
    rows = [row | {"label": label} for row, label in zip(rows_of(4), [True, 0, 1.0, "false"], strict=True)]
    notes_of(tmp_path, rows)
    assert labels_of(tmp_path) == [["dog"], ["cat"], ["dog"], ["cat"]]
    for label in ("\u0661", "\xb2", "-1"):  # an Arabic one, a superscript
        with pytest.raises(U2AError, match=r"line 1: label '.+' is no"):
            notes_of(tmp_path, change(rows_of(1), label=label))
    with pytest.raises(U2AError, match=r"a multi-hot vector is written as a list: \[1, 0, 1\]"):
        notes_of(tmp_path, change(rows_of(1), label="1 0"))


def test_a_hold_out_parts_no_twins_and_no_groups(tmp_path: Path) -> None:
    rows = rows_of(40)
    for i in range(0, 20, 2):
        rows[i + 1]["image"] = rows[i]["image"]
    for i in range(20, 32):
        rows[i]["group"] = f"person {i // 4}"
    notes_of(tmp_path, rows)
    groups_N = twin_groups(split_indexes(tmp_path / "shards")["train"])
    assert groups_N is not None
    right = [i - i % 2 if i < 20 else i - i % 4 if i < 32 else i for i in range(40)]  # the first of each group
    assert groups_N.tolist() == right
    for seed in range(20):
        held_N = holdout(40, 0.3, seed, groups_N)
        assert 8 <= held_N.sum() <= 12
        assert not set(groups_N[held_N]) & set(groups_N[~held_N])
    alone = notes_of(tmp_path, rows_of(40))
    assert alone == ""
    assert twin_groups(split_indexes(tmp_path / "shards")["train"]) is None
    assert np.array_equal(holdout(40, 0.3, 0, np.arange(40)), holdout(40, 0.3, 0))


def test_chains_of_twins_are_one_piece_and_texts_count_together(tmp_path: Path) -> None:
    rows = rows_of(8)
    rows[5]["image"], rows[6]["image"] = rows[2]["image"], rows[1]["image"]
    rows[5]["group"] = rows[1]["group"] = "one person"
    notes_of(tmp_path, rows)
    groups_N = twin_groups(split_indexes(tmp_path / "shards")["train"])
    assert groups_N is not None
    assert groups_N.tolist() == [0, 1, 1, 3, 4, 1, 1, 7]
    two = RECIPE.format(classes='["cat", "dog"]', kind="single_label").replace(
        "[modalities.image]", '[modalities.title]\nkind = "text"'
    )
    (tmp_path / "two.toml").write_text(two)
    texts = [("a", "x"), ("a", "y"), ("a", "x"), ("b", "x")]
    cells = [{"key": f"{i}", "split": "train", "text": t, "title": u} for i, (t, u) in enumerate(texts)]
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in cells))
    pack_manifest(load_recipe(tmp_path / "two.toml"), tmp_path / "two.jsonl", tmp_path / "two")
    groups_N = twin_groups(split_indexes(tmp_path / "two")["train"])
    assert groups_N is not None
    assert groups_N.tolist() == [0, 1, 0, 3]  # the same in one of two texts is nothing


def test_the_command_tells_a_program_everything(tmp_path: Path) -> None:
    rows = rows_of(4)
    rows[1]["text"], rows[3]["text"] = "nan", "NULL"
    notes_of(tmp_path, rows)
    command = ["data", "pack", str(tmp_path / "r.toml"), "--manifest", str(tmp_path / "m.jsonl"), "--no-check"]
    result = CliRunner().invoke(main, [*command, "--overwrite", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["missing_words"] == {"text": ["k1", "k3"]}
    assert told["splits"]["train"]["presence"] == {"image + text": 4}
    result = CliRunner().invoke(main, [*command, "--overwrite", "--json", "--missing-words", "nan,null"])
    assert json.loads(result.stdout)["splits"]["train"]["presence"] == {"image + text": 2, "image": 2}


def test_what_the_commands_options_say_is_done(tmp_path: Path) -> None:
    pictures = tmp_path / "elsewhere"
    pictures.mkdir()
    rows = change(rows_of(4), split="Train", texts="a note")
    for i, row in enumerate(rows):
        Image.new("RGB", (40, 20), (i, 0, 0)).save(pictures / f"{i}.png")
        row |= {"image": str(pictures / f"{i}.png"), "label": 1 + i % 3}
    del rows[2]["text"]
    (tmp_path / "r.toml").write_text(RECIPE.format(classes=STARS, kind="single_label"))
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["data", "pack", str(tmp_path / "r.toml"), "--manifest", str(tmp_path / "m.jsonl"), "--no-check"]
    command += ["--root", str(pictures), "--ignore", "texts", "--rename-split", "Train=train"]
    command += ["--numbers", "places", "--shard-size", "3", "--image-side", "16"]
    done = CliRunner().invoke(main, [*command, "--json"])
    assert done.exit_code == 0, done.output
    assert labels_of(tmp_path) == [["2"], ["3"], ["4"], ["2"]]
    first, second = split_indexes(tmp_path / "shards")["train"]
    assert (first.info.samples, second.info.samples) == (3, 1)
    assert first.info.extensions["image"] == ("jpg",)
    assert json.loads(done.stdout)["splits"]["train"]["presence"] == {"image + text": 3, "image": 1}
    part = CliRunner().invoke(main, [*command, "--part", "2/2", "--out", str(tmp_path / "part")])
    assert part.exit_code == 0, part.output
    assert [path.name for path in (tmp_path / "part").glob("*.tar")] == ["train-000001.tar"]
    assert CliRunner().invoke(main, command).exit_code == 2  # it is there already
    assert CliRunner().invoke(main, [*command, "--overwrite"]).exit_code == 0


@pytest.mark.parametrize(
    "kind", ["bytes", "struct", "path in a struct", "dictionary", "nullable", "large", "list", "view"]
)
def test_parquet_as_other_tools_write_it(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "0.png").write_bytes(png(0))
    pictures = [png(i) for i in range(4)]
    image = {
        "bytes": pa.array(pictures),
        "struct": pa.array([{"bytes": data, "path": f"x/{i}.png"} for i, data in enumerate(pictures)]),
        "path in a struct": pa.array([{"bytes": None, "path": "0.png"}] * 4),
        "dictionary": pa.array(["0.png"] * 4).dictionary_encode(),
        "nullable": pa.array([None, "0.png", "0.png", None]),
        "large": pa.array(pictures, pa.large_binary()),
        "list": pa.array([[{"bytes": data, "path": None, "height": 8}] for data in pictures]),
        "view": pa.array(pictures, pa.binary_view()),
    }[kind]
    table = pa.table(
        {
            "key": pa.array(range(4), pa.int16()),
            "split": pa.array(["train"] * 4).dictionary_encode(),
            "label": pa.array([0, 1, None, 1], pa.int64()),
            "text": pa.array(["a", "b", "c", "d"], pa.large_string()),
            "image": image,
            "vector": pa.array([[0.5] * 3] * 4),
            "__index_level_0__": pa.array(range(4)),
        }
    )
    names = {"label": {"names": ["dog", "cat"], "_type": "ClassLabel"}}  # in another order than the recipe's
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": names}})})
    pq.write_table(table, tmp_path / "m.parquet")
    (tmp_path / "r.toml").write_text(RECIPE.format(classes='["cat", "dog"]', kind="single_label"))
    notes: list[str] = []
    summary = pack_manifest(
        load_recipe(tmp_path / "r.toml"), tmp_path / "m.parquet", tmp_path / "shards", tell=notes.append
    )
    assert labels_of(tmp_path) == [["dog"], ["cat"], [], ["cat"]]
    shard = tmp_path / "shards" / "train-000000.tar"
    index = ShardIndex(shard)
    assert index.info.extensions["image"] == ("png",)
    stored = shard.read_bytes()
    where = [row[index.info.modalities.index("image")] for row in index.array("offset").tolist()]
    right = {"nullable": [None, pictures[0], pictures[0], None]}.get(kind) or (
        [pictures[0]] * 4 if "path" in kind or kind == "dictionary" else pictures
    )
    assert [stored[at : at + len(png(0))] if at >= 0 else None for at in where] == [
        None if data is None else data[: len(png(0))] for data in right
    ]
    assert "'vector' (4 rows)" in "\n".join(notes)
    assert summary["train"].unlabelled == 1
