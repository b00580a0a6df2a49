"""Tables as text: no row is lost or joined to another one, whatever marks and separators stand in them."""

import json

import pytest

from u2a.data.packing.tables import reader
from u2a.errors import U2AError

CLASSES = ("neg", "pos")
pandas = pytest.importorskip("pandas")


def rows_of(path, text):
    """What is read of a file, and what is wrong with it."""
    path.write_text(text, newline="")
    problems = []
    return [dict(row) for _, row in reader(path, ())(path, problems)], problems


def table(texts, separator="\t", head=("key", "label", "text")):
    lines = [head, *((str(i), CLASSES[i % 2], text) for i, text in enumerate(texts))]
    return "".join(separator.join(line) + "\n" for line in lines)


def sentences(n=30, **others):
    return [others.get(f"at{i}", f"the boat number {i} is red") for i in range(n)]


MARKS = {
    "opened and closed in other rows": {"at5": '"a boat', "at9": 'red"'},
    "a word in marks": {"at5": '"Hello" she said', "at7": '"Hello" she said', "at20": 'he said "hello"'},
    "never closed": {"at5": '"a boat'},
    "inches": {"at3": '5" by 6"', "at4": '"'},
}


@pytest.mark.parametrize("marks", MARKS)
def test_tabs_without_quoting_are_read_as_pandas_reads_them(tmp_path, marks):
    path = tmp_path / "t.tsv"
    rows, problems = rows_of(path, table(sentences(**MARKS[marks])))
    wanted = pandas.read_csv(path, sep="\t", quoting=3, dtype=str).to_dict("records")
    assert (problems, rows) == ([], wanted)


PROPER = [
    "two\nlines",
    'she said "hello"',
    "a, b\nc, d",
    "a, b\n",
    "\tx = 1\n\ty = 2",
    '"',
    'tab\t"and\n"\nmark',
    "plain",
]


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
@pytest.mark.parametrize(
    "head", [("text", "label"), ("label", "text"), ("key", "text", "label"), ("key", "text")]
)
@pytest.mark.parametrize(
    "texts", [PROPER, ["a, b\nc, d"] * 4, ["a\tb\nc\td", *"stuvw"], ["one; b\ntwo; a", *"stuvw"]]
)
def test_quoted_cells_of_several_lines_are_cells(tmp_path, separator, head, texts):
    frame = pandas.DataFrame(
        {
            "key": map(str, range(len(texts))),
            "text": texts,
            "label": [CLASSES[i % 2] for i in range(len(texts))],
        }
    )[[*head]]
    path = tmp_path / ("t.tsv" if separator == "\t" else "t.csv")
    rows, problems = rows_of(path, frame.to_csv(sep=separator, index=False))
    assert (problems, rows) == ([], frame.to_dict("records"))


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
def test_a_mark_that_swallows_rows_is_told_with_its_lines(tmp_path, separator):
    texts = sentences(at5='"a boat', at9='red"')
    if separator == "\t":  # one line is no row, so the marks are not known to be a part of the texts
        texts[20] += "\tmore"
    rows, problems = rows_of(tmp_path / "t.csv", table(texts, separator))
    assert len(rows) == 30 - 5 - (separator == "\t")
    assert problems[0].startswith("line 7: a quotation mark opens a cell that goes on to line 11")
    text = table(sentences(at5='"a boat', at9='red"'), separator).replace("\n8", f"\n\n{separator}broken\n8")
    rows, problems = rows_of(tmp_path / "t.csv", text)
    assert len(rows) == 25
    assert problems[0].startswith("line 7: a quotation mark opens a cell that goes on to line 13")


def test_a_broken_row_is_told_with_the_line_that_it_begins_on(tmp_path):
    with pytest.raises(U2AError, match=r"line 11: not CSV: .*opens on line 7"):
        rows_of(tmp_path / "t.csv", table(sentences(at5='"a boat', at9='red" she said'), ","))


@pytest.mark.parametrize("proper", ['a "boat"', "a\tboat"])
def test_one_cell_in_marks_tells_that_others_are(tmp_path, proper):
    """Each line of a cell has as many tabs as the header, and there is no column of classes to tell by."""
    frame = pandas.DataFrame({"key": ["1", "2", "3"], "text": ["a\nb\tc", proper, "d"]})
    rows, problems = rows_of(tmp_path / "t.tsv", frame.to_csv(sep="\t", index=False))
    assert (problems, rows) == ([], frame.to_dict("records"))


HEADERS = {
    "commas in a tabbed header": (
        "t.tsv",
        "id\tWhat did you see, hear, smell, or taste\tlabel\n1\ta boat\tx\n",
    ),
    "the same named .csv": ("t.csv", "id\tWhat did you see, hear, smell, or taste\tlabel\n1\ta boat\tx\n"),
    "as many commas in cells": ("t.tsv", "id\tWhat you see, hear, smell, taste\tlabel\n1\ta, b, c, d\tx\n"),
    "bars in cells": ("t.csv", "id,see|hear|smell|taste,label\n1,a boat,x\n"),
    "a line break in a name": ("t.csv", 'id;"What did you\r\nsee, hear, or\nsmell";label\r\n1;"a boat";x\r\n'),
    "after sep=": ("t.csv", 'sep=;\n"id";"What did you\nsee";label\n1;a boat;x\n'),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_the_separator_is_the_one_that_the_rows_have_as_well(tmp_path, kind):
    name, text = HEADERS[kind]
    ((row,), problems) = rows_of(tmp_path / name, text)
    assert problems == []
    assert list(row)[::2] == ["id", "label"]
    assert "\n" not in "".join(row)
    assert (row["id"], row["label"]) == ("1", "x")


def told(path, document):
    return rows_of(path, json.dumps(document))


NAMES = [f"img/{i:03}.jpg" for i in range(4)]


def test_an_object_with_a_list_a_column(tmp_path):
    frame = pandas.DataFrame({"image": NAMES, "label": ["cat", "dog", "owl", "cat"], "vector": [[1, 2]] * 4})
    rows, problems = told(tmp_path / "t.json", frame.to_dict("list"))
    assert (problems, rows) == ([], frame.to_dict("records"))


ONE = {
    "vectors of one sample": {"left": [0.5, 1], "right": [2, 3]},
    "one sample": {"text": "a boat", "labels": ["cat", "dog"]},
    "names of no files": {"meta.label": "cat", "meta.file": "1.jpg"},
    "one file": {"1.jpg": "cat"},
    "other lengths": {"image": ["a.jpg", "b.jpg"], "label": ["cat"]},
}


@pytest.mark.parametrize("kind", ONE)
def test_an_object_that_is_a_sample(tmp_path, kind):
    assert told(tmp_path / "t.json", ONE[kind]) == ([ONE[kind]], [])


def test_objects_that_are_several_tables_are_still_refused(tmp_path):
    with pytest.raises(U2AError, match="holds several lists"):
        told(tmp_path / "t.json", {"images": [{"id": 1}, {"id": 2}], "annotations": [{"id": 1}, {"id": 2}]})


def test_an_object_of_files_says_what_they_are(tmp_path):
    rows = [{"file": name, "label": "cat"} for name in NAMES]
    assert told(tmp_path / "t.json", dict.fromkeys(NAMES, "cat")) == (rows, [])
    many = [{"file": name, "label": ["cat", "dog"]} for name in NAMES]
    assert told(tmp_path / "t.json", {name: ["cat", "dog"] for name in NAMES}) == (many, [])
    fields = {"label": "FAKE", "split": "train", "file": "x.mp4"}
    files = [{"file_name": name, **fields} for name in NAMES]
    assert told(tmp_path / "t.json", dict.fromkeys(NAMES, fields)) == (files, [])


def test_lists_whose_lines_end_in_a_separator_are_cells(tmp_path):
    path = tmp_path / "t.csv"
    texts = ["flour,\nsugar,\nsalt" if i % 5 == 0 else f"a red boat {i}" for i in range(40)]
    wanted = [{"text": text, "label": ("sweet", "sour", "")[i % 3]} for i, text in enumerate(texts)]
    rows, problems = rows_of(path, pandas.DataFrame(wanted).to_csv(index=False))
    assert problems == []
    assert [row["text"] for row in rows] == texts
