"""Manifests: every row is usable or reported with its line, and no path leaves the folder."""

import json

import pytest

from u2a.data.packing.manifest import Cell, Manifest, Row
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
    "label that is no text": ({"label": True}, "column 'label': must be text, not True"),
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
        ("m.csv", b"key;split;plot\na;train;x\n", "has no column 'key'; its columns are key;split;plot"),
        ("m.csv", b'key,split,plot\na,train,"x\n', "line 2: not CSV"),
        ("m.csv", b"key,split,plot\na,train,\xff\n", "is not UTF-8"),
        ("m.jsonl", b'{"key": "\xff"}', "is not UTF-8"),
        ("m.txt", b"", "manifests are .jsonl, .csv or .parquet files"),
    ],
)
def test_an_unreadable_manifest(folder, name, content, reason):
    with pytest.raises(U2AError) as caught:
        read(folder, content, name)
    assert str(caught.value).startswith(f"{folder / name}: {reason}")


def test_a_missing_manifest(folder):
    with pytest.raises(U2AError, match=r"none\.csv: cannot be read: No such file"):
        list(Manifest(folder / "none.csv", EXTENSIONS).rows([]))
