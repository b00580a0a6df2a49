"""Manifests: every row is usable or reported with its line, and no path leaves the folder."""

import io
import json

import numpy as np
import pytest

from u2a.data.packing.manifest import Manifest, ManifestOptions
from u2a.data.packing.sources import Cell, Row
from u2a.errors import U2AError

EXTENSIONS = {"image": ("jpg", "png"), "plot": ("txt",), "scan": ("nii", "nii.gz")}


@pytest.fixture
def folder(tmp_path):
    """A manifest's folder, with files in it and beside it."""
    root = tmp_path / "data"
    (root / "img").mkdir(parents=True)
    for name in ("img/a.jpg", "img/b.PNG", "a.nii.gz", "long.txt", "../outside.jpg"):
        (root / name).write_bytes(name.encode())
    (root / "img/empty.jpg").touch()
    (root / "img/folder.jpg").mkdir()
    (root / "img/inside.jpg").symlink_to("a.jpg")
    (root / "img/escape.jpg").symlink_to("../../outside.jpg")
    (root / "up").symlink_to("..")
    return root


def read(folder, text, name="m.jsonl"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    problems: list[str] = []
    return list(Manifest(path, EXTENSIONS).rows(problems)), problems


def jsonl(*rows):
    return "\n".join(json.dumps(row) for row in rows)


def test_jsonl(folder):
    rows, problems = read(
        folder,
        "\ufeff"
        + jsonl(
            {"key": "a", "split": "train", "label": "x", "image": "img/a.jpg", "plot": "a sea", "year": 3},
            {"key": 2, "split": "val", "labels": ["x", "y"], "image": "img/b.PNG", "plot": None},
            {"key": "c", "split": "val", "labels": [], "image": "", "plot_path": "long.txt"},
        )
        + "\n\n"
        + jsonl({"key": "d.é", "split": "test", "scan": "./img/../a.nii.gz", "label": 4}),
    )
    assert problems == []
    real = folder.resolve()
    assert rows == [
        Row(1, "a", "train", ("x",), {"image": Cell("jpg", real / "img/a.jpg"), "plot": Cell("txt", b"a sea")}),
        Row(2, "2", "val", ("x", "y"), {"image": Cell("png", real / "img/b.PNG")}),
        Row(3, "c", "val", (), {"plot": Cell("txt", real / "long.txt")}),
        Row(5, "d.é", "test", ("4",), {"scan": Cell("nii.gz", real / "a.nii.gz")}),
    ]
    assert [cell.read() for row in rows for cell in row.cells.values()] == [
        b"img/a.jpg",
        b"a sea",
        b"img/b.PNG",
        b"long.txt",
        b"a.nii.gz",
    ]


def test_objects_for_modalities_that_read_json(folder):
    (folder / "row.json").write_text('{"age": 3}')
    texts = {
        "m.jsonl": jsonl(
            {"key": 1, "split": "train", "row": {"age": 3, "city": "Å"}},
            {"key": 2, "split": "train", "row": '{"age": 3}'},
            {"key": 3, "split": "train", "row": "row.json"},
            {"key": 4, "split": "train", "plot": '{"age": 3}'},
        ),
        "m.csv": 'key,split,row,plot\n1,train,"{""age"": 3, ""city"": ""Å""}",\n2,train,"{""age"": 3}",\n'
        '3,train,row.json,\n4,train,,"{""age"": 3}"\n',
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        problems: list[str] = []
        rows = list(Manifest(folder / name, {"row": ("json",), "plot": ("txt",)}).rows(problems))
        assert problems == []
        assert [row.cells for row in rows] == [
            {"row": Cell("json", '{"age": 3, "city": "Å"}'.encode())},
            {"row": Cell("json", b'{"age": 3}')},
            {"row": Cell("json", folder.resolve() / "row.json")},
            {"plot": Cell("txt", b'{"age": 3}')},
        ]


def test_csv(folder):
    long = "word " * 40_000  # over the 128 KiB at which csv gives up by default
    text = 'key,split,labels,image,plot,extra\r\na,train,x | y,img/a.jpg,"two\nlines, and ""quotes""",\r\n'
    rows, problems = read(folder, ("\ufeff" + text + f"b,val,,,{long},1\n").encode(), "m.csv")
    assert problems == []
    assert rows == [
        Row(
            3,
            "a",
            "train",
            ("x", "y"),
            {
                "image": Cell("jpg", folder.resolve() / "img/a.jpg"),
                "plot": Cell("txt", b'two\nlines, and "quotes"'),
            },
        ),
        Row(4, "b", "val", None, {"plot": Cell("txt", long.encode())}),
    ]


BAD = {
    "no key": ({"key": None}, "column 'key' is missing or empty"),
    "no split": ({"split": ""}, "column 'split' is missing or empty"),
    "split with a slash": ({"split": "../x"}, "column 'split': '../x' may hold"),
    "key that is no text": ({"key": ["a"]}, "column 'key': must be text, not ['a']"),
    "key with half a character": ({"key": "\ud800"}, "column 'key': holds half of a character"),
    "label and labels": ({"labels": ["x"]}, "has both 'label' and 'labels'"),
    "label that is no text": ({"label": {"a": 1}}, "column 'label': an object of a is not a label"),
    "label that is half a number": ({"label": 1.5}, "column 'label': 1.5 is not a label"),
    "labels that are no list": ({"label": None, "labels": {}}, "column 'labels': must be a list"),
    "label twice": ({"label": None, "labels": ["x", "x"]}, "column 'labels': names a label twice"),
    "missing file": ({"image": "img/none.jpg"}, "column 'image': img/none.jpg: no such file"),
    "folder": ({"image": "img/folder.jpg"}, "column 'image': img/folder.jpg: no such file"),
    "empty file": ({"image": "img/empty.jpg"}, "column 'image': img/empty.jpg: is empty"),
    "wrong extension": (
        {"image": "long.txt"},
        "column 'image': 'long.txt' is not a file that image reads: .jpg",
    ),
    "parent folder": ({"image": "../outside.jpg"}, "column 'image': '../outside.jpg' leads out"),
    "absolute path": ({"image": "/etc/x.jpg"}, "column 'image': '/etc/x.jpg' must be relative"),
    "NUL": ({"image": "img/\0.jpg"}, "column 'image': 'img/\\x00.jpg' must be relative"),
    "link out of the folder": ({"image": "img/escape.jpg"}, "column 'image': 'img/escape.jpg' leads out"),
    "folder link out": ({"image": "up/outside.jpg"}, "column 'image': 'up/outside.jpg' leads out"),
    "path that is no text": ({"image": 3}, "column 'image': must be text, not 3"),
    "white space": ({"plot": "  \n"}, "column 'plot': only white space"),
    "text and its path": ({"plot_path": "long.txt"}, "has both 'plot' and 'plot_path'"),
    "nothing present": ({"image": None, "plot": None}, "sample 'k' has none of the modalities image, plot"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_reported_and_the_others_are_read(folder, case):
    change, reason = BAD[case]
    fine = {"key": "k", "split": "train", "label": "x", "image": "img/a.jpg", "plot": "words"}
    rows, problems = read(folder, jsonl(fine, {**fine, **change}, {**fine, "image": "img/inside.jpg"}))
    assert [row.line for row in rows] == [1, 3]
    assert rows[0].cells["image"] == rows[1].cells["image"]  # a link inside the folder is the file it names
    assert len(problems) == 1
    assert problems[0].startswith(f"line 2: {reason}")
    assert "\n" not in problems[0]


def test_every_fault_of_a_row_is_reported(folder):
    rows, problems = read(folder, jsonl({"split": "a b", "image": "x.jpg", "scan": "x.txt"}) + "\n[1]\n{")
    assert rows == []
    assert [p.split(":")[0] for p in problems] == ["line 1"] * 4 + ["line 2", "line 3"]
    assert problems[4:] == ["line 2: not a JSON object", problems[5]]
    assert "not JSON" in problems[5]


def test_rows_of_the_wrong_width(folder):
    rows, problems = read(folder, "key,split,plot\na,train,x,y\nb,train\nc,train,x\n", "m.csv")
    assert [row.key for row in rows] == ["c"]
    assert problems == ["line 2: has 4 cells, the header has 3", "line 3: has 2 cells, the header has 3"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("m.csv", b"key,split,plot,plot\n", "column 'plot' is there twice"),
        (
            "m.csv",
            b"id;split;plot\na;train;x\n",
            "has no column 'key'; its columns, separated by a semicolon, are 'id', 'split', 'plot'",
        ),
        ("m.csv", b'key,split,plot\na,train,"x\n', "line 2: not CSV"),
        (
            "m.csv",
            b"key,split,plot\na,train,caf\xe9 here\n",
            "line 2: is not UTF-8 text; in Latin-1 it would say 'a,train,café here'; if that is right: iconv",
        ),
        ("m.jsonl", b'{"key": "\xff"}', "line 1: is not UTF-8 text"),
        (
            "m.csv",
            "key,split,plot\n".encode("utf-16-le"),
            "is not UTF-8 text, perhaps UTF-16: iconv -f UTF-16LE",
        ),
        ("m.xlsx", b"PK", "manifests are .jsonl, .json, .csv, .tsv or .parquet files; save the sheet as CSV"),
        (
            "m.csv",
            b"PK\x03\x04" + b"\1\2" * 40,
            "is a ZIP archive, perhaps an Excel sheet, whatever its name says",
        ),
        ("m.csv", b"", "is empty"),
        ("m.csv", b"\nkey,split\n", "has no header: its first line is empty"),
        (
            "m.csv",
            b"x" * 300 + b",y\n",
            "has no column 'key'; its columns, separated by a comma, are '" + "x" * 56 + "...",
        ),
        (
            "m.json",
            b'{"key": {"0": "a"}, "split": {"0": "train"}}',
            "is one object with the whole table, as pandas'",
        ),
        (
            "m.json",
            b'{"images": [{"id": 1}], "annotations": [{"id": 1}]}',
            "holds several lists ('images', 'annotations'), as COCO and VQA write them",
        ),
        ("m.zip", b"PK", "manifests are .jsonl, .json, .csv, .tsv or .parquet files; unpack it first"),
        ("m.json", b"[{", "is neither JSON lines nor a JSON array"),
    ],
)
def test_an_unreadable_manifest(folder, name, content, reason):
    with pytest.raises(U2AError) as caught:
        read(folder, content, name)
    assert str(caught.value).startswith(f"{folder / name}: {reason}")


def test_a_missing_manifest(folder):
    with pytest.raises(U2AError, match=r"none\.csv: cannot be read: No such file"):
        list(Manifest(folder / "none.csv", EXTENSIONS).rows([]))


ROW = {"key": "a", "split": "train", "label": "x", "image": "img/a.jpg", "plot": "a sea"}
TABLES = {
    "semicolon": ("m.csv", "key;split;label;image;plot\na;train;x;img/a.jpg;a sea\n"),
    "tab": ("m.tsv", "key\tsplit\tlabel\timage\tplot\na\ttrain\tx\timg/a.jpg\ta sea\n"),
    "tab in .csv": ("m.csv", "key\tsplit\tlabel\timage\tplot\na\ttrain\tx\timg/a.jpg\ta sea\n"),
    "bar": ("m.csv", "key|split|label|image|plot\na|train|x|img/a.jpg|a sea\n"),
    "sep= of Excel": ("m.csv", "sep=;\nkey;split;label;image;plot\na;train;x;img/a.jpg;a sea\n"),
    "comma, semicolons in cells": (
        "m.csv",
        "key,split,label,image,plot,a;b;c;d;e;f\na,train,x,img/a.jpg,a sea,\n",
    ),
    "spaces in the header": (
        "m.csv",
        "\ufeff key , split,label\u00a0,image,plot \na,train,x,img/a.jpg,a sea\n",
    ),
    "marks nobody sees": ("m.csv", "\u200bkey,split,\ufefflabel,image,plot\u200e\na,train,x,img/a.jpg,a sea\n"),
    "quotes": ("m.csv", '"key";"split";"label";"image";"plot"\r\n"a";"train";"x";"img/a.jpg";"a sea"\r\n'),
    "empty columns and rows": (
        "m.csv",
        "key,split,label,image,plot,,\na,train,x,img/a.jpg,a sea,,\n,,,,,,\n,,\n",
    ),
    "short rows before empty columns": ("m.csv", "key,split,label,image,plot,,\na,train,x,img/a.jpg,a sea\n"),
    "index of pandas": ("m.csv", ",key,split,label,image,plot\n0,a,train,x,img/a.jpg,a sea\n"),
    "old Mac": ("m.csv", "key,split,label,image,plot\ra,train,x,img/a.jpg,a sea\r"),
    "UTF-16": ("m.csv", "key;split;label;image;plot\na;train;x;img/a.jpg;a sea\n".encode("utf-16")),
    "JSON array": ("m.json", json.dumps([ROW], indent=1)),
    "JSON array in an object": ("m.json", json.dumps({"version": 1, "data": [ROW]}, indent=1)),
    "JSON arrays by split": ("m.json", json.dumps({"train": [{k: v for k, v in ROW.items() if k != "split"}]})),
    "one JSON line in .json": ("m.json", json.dumps(ROW)),
    "JSON array in .jsonl": ("m.jsonl", json.dumps([ROW])),
    "spaces in names of JSON": ("m.jsonl", json.dumps({f" {k} ": v for k, v in ROW.items()})),
    "null and NaN": (
        "m.jsonl",
        json.dumps(ROW | {"scan": float("nan"), "scan_path": None, "labels": float("nan")}),
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_as_people_have_them(folder, kind):
    name, text = TABLES[kind]
    rows, problems = read(folder, text, name)
    assert problems == []
    cells = {"image": Cell("jpg", folder.resolve() / "img/a.jpg"), "plot": Cell("txt", b"a sea")}
    assert [(row.key, row.split, row.labels, row.cells) for row in rows] == [("a", "train", ("x",), cells)]


def told(folder, text, name="m.jsonl", **options):
    (folder / name).write_text(text)
    manifest = Manifest(folder / name, EXTENSIONS, options=ManifestOptions(**options))
    problems: list[str] = []
    rows = list(manifest.rows(problems))
    return rows, problems, "\n".join(manifest.told())


@pytest.mark.parametrize("wrong", ["Plot", "plots", " PLOT", "plot.", "Plot-Path", "Label", "labell"])
def test_a_misspelt_column_is_never_lost_without_a_word(folder, wrong):
    lost = "label" if "abel" in wrong else "plot"
    rest = {name: value for name, value in ROW.items() if name != lost}
    rows, problems, _ = told(folder, jsonl(ROW, rest | {wrong: "words"}, rest | {wrong: None}))
    assert [row.line for row in rows] == [1, 3]
    assert len(problems) == 1
    assert f"line 2: column {wrong.strip()!r} is none that the recipe knows" in problems[0]
    assert "did you mean " in problems[0]
    ignored = told(folder, jsonl(ROW, rest | {wrong: "words"}), ignore=(wrong,))
    assert ignored[1] == []


def test_columns_that_nobody_knows_are_told_with_their_rows(folder):
    year = {"year": 3, "Plot": "a copy"}  # beside a plot of its own, so nothing is lost
    _, problems, notes = told(folder, jsonl(ROW, ROW | year, ROW | {"year": 4, "place": ""}))
    assert problems == []
    assert notes == "columns that the recipe does not know are left out: 'year' (2 rows), 'Plot' (1 rows)"


def test_a_name_that_an_object_has_twice_is_told(folder):
    _, problems, _ = told(folder, '{"key": "a", "split": "train", "plot": "one", "plot": "two"}')
    assert problems == ["line 1: not JSON: names 'plot' twice"]
    twice = '[{"key": "a", "split": "train", "plot": "one", "plot": "two"}]'
    with pytest.raises(U2AError, match="names 'plot' twice"):
        told(folder, twice)
    with pytest.raises(U2AError, match="names 'plot' twice"):
        told(folder, twice, "m.json")


def test_the_separator_is_the_one_that_finds_the_columns(folder):
    """However many commas a name has."""
    text = 'key;split;label;plot;"notes, of a, b, c, d and e"\na;train;x;a sea, a boat;\n'
    ((key, plot),) = [(row.key, row.cells["plot"]) for row in told(folder, text, "m.csv")[0]]
    assert (key, plot) == ("a", Cell("txt", b"a sea, a boat"))


def test_of_two_extensions_the_longer_one_counts(folder):
    (folder / "m.jsonl").write_text(jsonl({"key": "a", "split": "train", "scan": "a.nii.gz"}))
    for order in (("gz", "nii.gz"), ("nii.gz", "gz")):
        (row,) = Manifest(folder / "m.jsonl", {"scan": order}).rows(problems := [])
        assert (problems, row.cells["scan"].extension) == ([], "nii.gz")


def test_numbers_for_modalities_that_read_npy(folder):
    """As 64-bit floats, whichever way a table writes them; what is no vector is refused with its place."""
    precise = [0.1, -3, 1e300, 16777217]
    good = {"list": precise, "text": json.dumps(precise), "matrix": [[1, 2], [3, 4]], "nothing": None}
    rows = [{"key": key, "split": "train", "v": value, "plot": "x"} for key, value in good.items()]
    (folder / "m.jsonl").write_text(jsonl(*rows))
    problems: list[str] = []
    extensions = {"v": ("npy",), "plot": ("txt",)}
    found = {row.key: row.cells for row in Manifest(folder / "m.jsonl", extensions).rows(problems)}
    assert problems == []
    arrays = {key: np.load(io.BytesIO(cells["v"].content)) for key, cells in found.items() if "v" in cells}
    assert [array.dtype for array in arrays.values()] == [np.float64] * 3
    assert arrays["list"].tolist() == arrays["text"].tolist() == precise
    assert arrays["matrix"].tolist() == [[1, 2], [3, 4]]
    bad = {
        "holds True": [1, True],
        "place 1 holds 'b'": [1, "b"],
        "holds no numbers": [],
        "1 to 2": [[1], [1, 2]],
    }
    rows = [{"key": key, "split": "train", "v": value, "plot": "x"} for key, value in bad.items()]
    (folder / "m.jsonl").write_text(jsonl(*rows))
    assert list(Manifest(folder / "m.jsonl", extensions).rows(problems)) == []
    assert all(said in problem for said, problem in zip(bad, problems, strict=True))


def test_words_for_missing_are_counted_and_may_be_taken_as_missing(folder):
    words = ["nan", "None", "NULL", "N/A", "<NA>", "-", " NaN ", "\\N", "\u2014", "undefined"]
    fine = ["nanny", "no", "banana", "a - b"]
    text = jsonl(*[ROW | {"key": word, "plot": word} for word in words + fine])
    rows, problems, notes = told(folder, text)
    assert (len(rows), problems) == (14, [])
    assert notes.startswith("10 plot cells say 'nan' (1), ")
    rows, _, notes = told(folder, text, missing_words=tuple(word.lower() for word in words))
    assert [row.key for row in rows if "plot" in row.cells] == fine
    assert notes == "10 cells were taken as missing (--missing-words)"
    _, problems, _ = told(folder, jsonl(ROW | {"image": "nan"}))
    assert "if it means missing: --missing-words nan" in problems[0]
    rows, problems, _ = told(folder, jsonl(ROW | {"image": "nan"}), missing_words=("NaN",))
    assert (list(rows[0].cells), problems) == (["plot"], [])


def test_a_path_in_a_column_of_texts_stops(folder):
    for path in ("long.txt", "img/a.jpg", "./long.txt"):
        _, problems, _ = told(folder, jsonl(ROW | {"plot": path}))
        assert problems == [
            f"line 1: column 'plot': {path!r} is a file; name the column 'plot_path' to read it"
        ]
    rows, problems, _ = told(folder, jsonl(ROW | {"plot": "nowhere.txt"}, ROW | {"plot": "img"}))
    assert (len(rows), problems) == (2, [])


PATHS = {
    "img/Shot\u202f1.jpg": "img/Shot\\u202f1.jpg: no such file; there is 'Shot 1.jpg'",
    "img/Shot%201.jpg": "no such file; there is 'Shot 1.jpg'",
    "img/it\u2019s.jpg": 'no such file; there is "it\'s.jpg"',
    "img/B\u200b.JPG": "no such file; there is 'B.jpg'",
    "img/b.jpg": "no such file; there is 'B.jpg': names differ by case",
    "https://host/a.jpg": "is an address; download it, and name the file",
    "file:///a.jpg": "is an address",
    "img\\a.jpg": "is written with backslashes or a drive; write 'img/a.jpg'",
    "C:/img/a.jpg": "is written with backslashes or a drive",
    "img/A.jpg": "no such file; there is 'a.jpg': names differ by case",
}


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_are_none(folder, path):
    for name in ("Shot 1.jpg", "it's.jpg", "B.jpg"):
        (folder / "img" / name).write_bytes(b"x")
    _, problems, _ = told(folder, jsonl(ROW | {"image": path}))
    assert PATHS[path] in problems[0]


def test_absolute_paths_below_a_root(folder):
    real = folder.resolve()
    text = jsonl(
        ROW | {"image": str(real / "img/a.jpg")}, ROW | {"image": "a.jpg"}, ROW | {"image": "/etc/x.jpg"}
    )
    rows, problems, _ = told(folder, text, root=str(folder / "img"))
    assert [row.cells["image"].content for row in rows] == [real / "img/a.jpg"] * 2
    assert problems == [f"line 3: column 'image': '/etc/x.jpg' leads out of the folder {real}/img of --root"]
    _, problems, _ = told(folder, text)
    assert "--root DIR allows absolute paths below DIR" in problems[0]


def test_accents_in_either_form(folder):
    composed, apart = "\u00e9t\u00e9.jpg", "e\u0301te\u0301.jpg"
    (folder / "img" / apart).write_bytes(b"x")
    rows, problems, _ = told(folder, jsonl(ROW | {"image": f"img/{composed}"}))
    assert problems == []
    assert rows[0].cells["image"].content.name == apart


LABELS = {
    "3": ("3",), 3: ("3",), 4.0: ("4.0",), True: ("true",), None: None, "": None, "  ": None, " x ": ("x",),
    float("nan"): None, "['x', 'y']": ("x", "y"), "[0 1 1]": ("0", "1", "1"), "e\u0301": ("\u00e9",),
    "[1. 0. 1.]": ("1.", "0.", "1."), "[True, False]": ("true", "false"), "('x', 'y')": ("x", "y"),
    "('x',)": ("x",), "2.5": ("2.5",), "2.0": ("2.0",),
    "{'x', 'y'}": ("x", "y"), """["it's", 'x']""": ("it's", "x"), "(1)": ("(1)",), "(x)": ("(x)",), "[]": (),
}  # fmt: skip


@pytest.mark.parametrize("label", LABELS)
def test_labels_of_every_type(folder, label):
    rows, problems, _ = told(folder, jsonl(ROW | {"label": label}))
    assert problems == []
    assert rows[0].labels == LABELS[label]


def test_no_message_prints_a_long_value(folder):
    long = "x" * 100_000
    rows = [{"key": [long]}, {"split": long + "/"}, {"label": {long: 1}}, {"image": long}, {"plot": [long] * 9}]
    _, problems, _ = told(folder, jsonl(*[ROW | row for row in rows]))
    assert len(problems) == 5
    assert all(len(problem) < 300 for problem in problems)
