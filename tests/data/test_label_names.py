"""Classes that are called like numbers: what each sample is stored as, against what its manifest says."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from u2a.cli.main import main
from u2a.data.packing import plan as plan_module
from u2a.data.packing.pack import pack_manifest
from u2a.data.reading.split import open_split
from u2a.data.shards.index import ShardIndex
from u2a.data.shards.label_rule import LabelRule
from u2a.data.shards.twins import split_indexes
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe


def recipe_in(folder: Path, classes: list[str], kind: str = "single_label") -> Path:
    path = folder / "r.toml"
    path.write_text(
        f'name = "n"\n[data]\nshards = "shards"\n[task]\nkind = "{kind}"\nclasses = {json.dumps(classes)}\n'
        '[modalities.a]\nkind = "features"\nsize = 2\n'
    )
    return path


def rows_of(labels: list[object], column: str = "label") -> list[dict[str, object]]:
    return [
        {"key": f"k{i}", "split": "train", column: label, "a": f"[{i}, 1]"} for i, label in enumerate(labels)
    ]


def stored(folder: Path) -> list[list[str]]:
    """The classes of each sample, in the order of the manifest."""
    found = {
        index.key(row): [index.info.classes[i] for i in index.label_ids(row)]
        for index in split_indexes(folder / "shards")["train"]
        for row in range(index.info.samples)
    }
    return [found[f"k{i}"] for i in range(len(found))]


def write(folder: Path, suffix: str, rows: list[dict[str, object]]) -> Path:
    path = folder / f"m.{suffix}"
    if suffix == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == "json":
        path.write_text(json.dumps(rows))
    else:
        stream = io.StringIO()
        table = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if suffix == "tsv" else ",")
        table.writeheader()
        table.writerows(rows)
        path.write_text(stream.getvalue())
    return path


def shard(path: Path, labels: list[str]) -> Path:
    """A WebDataset shard of texts with their labels."""
    with tarfile.open(path, "w") as tar:
        for i, label in enumerate(labels):
            for end, text in (("txt", "words"), ("cls", label)):
                info = tarfile.TarInfo(f"k{i}.{end}")
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
    return path


def pack(folder: Path, manifest: Path, *more: str) -> Result:
    command = ["data", "pack", str(folder / "r.toml"), "--manifest", str(manifest), "--overwrite", *more]
    return CliRunner().invoke(main, command)


def refused(result: Result) -> str:
    """The one line that a command says that was refused."""
    assert result.exit_code == 2, result.output
    line = result.stderr.strip()
    assert line.count("\n") == 0
    return line


#: Classes; labels, each of which is exactly a class's name.
EXACT = {
    "backwards": (["2.0", "1.0", "0.0"], ["2.0", "0.0", "1.0", "2.0"]),
    "from one": (["1.0", "2.0", "3.0", "4.0"], ["1.0", "2.0", "3.0"]),
    "rates": (["1.0", "1.5", "2.0"], ["1.5", "2.0", "1.0"]),
    "three from one": (["1.0", "2.0", "3.0"], ["3.0", "1.0", "2.0"]),
    "with zeros before and after": (["007", "7", "7.0"], ["7.0", "007", "7", "7.0"]),
    "zeros before": (["02", "01", "00"], ["00", "01", "02"]),
    "with and without a point": (["1.0", "1", "0", "0.0"], ["0", "1.0", "0.0", "1", "1.0"]),
    "exponents": (["1e3", "1000", "5"], ["1000", "1e3", "5"]),
    "signs": (["+1", "-0", "-1", "0"], ["-1", "+1", "0", "-0"]),
    "a point alone": (["1.", "0.", "x"], ["0.", "1.", "x"]),
    "zeros and ones, with a point": (["1.0", "0.0"], ["0.0", "1.0"]),
    "booleans": (["true", "false"], ["false", "true"]),
}


@pytest.mark.parametrize("numbers", [(), ("--numbers", "names")], ids=["unsaid", "names"])
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("kind", EXACT)
def test_a_text_that_is_a_classs_name_is_that_class(
    tmp_path: Path, kind: str, suffix: str, numbers: tuple[str, ...]
) -> None:
    classes, labels = EXACT[kind]
    recipe_in(tmp_path, classes)
    done = pack(tmp_path, write(tmp_path, suffix, rows_of(labels)), *numbers)
    assert done.exit_code == 0, done.output
    assert "places" not in done.stderr
    assert stored(tmp_path) == [[label] for label in labels]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("kind", [kind for kind in EXACT if kind != "booleans"])
def test_several_names_that_look_like_numbers(tmp_path: Path, kind: str, suffix: str) -> None:
    classes, labels = EXACT[kind]
    sets = [labels[-2:], labels[:1], labels[1:3], classes]  # the last is as long as a multi-hot vector
    recipe_in(tmp_path, classes, "multi_label")
    cells = ["|".join(one) for one in sets] if suffix == "csv" else sets
    done = pack(tmp_path, write(tmp_path, suffix, rows_of(cells, "labels")))
    assert done.exit_code == 0, done.output
    assert list(map(set, stored(tmp_path))) == list(map(set, sets))


#: Classes; labels that are no texts, or numbers written in another way than the class; their classes.
NUMBERS = {
    "floats": (["2.0", "1.0", "0.0"], [2.0, 0.0, 1.0], ["2.0", "0.0", "1.0"]),
    "whole, of classes with a point": (["1.0", "2.0", "3.0"], [3, 1, 2], ["3.0", "1.0", "2.0"]),
    "floats, of classes without": (["3", "1", "2"], [3.0, 1.0, 2.0], ["3", "1", "2"]),
    "both": (["7.0", "7", "x"], [7.0, 7, "x", "7.0"], ["7.0", "7", "x", "7.0"]),
    "written longer": (["5", "7"], ["7.00", "5.0", 5], ["7", "5", "5"]),
    "places, floats": (["b", "a", "c"], [0.0, 2.0, 1.0], ["b", "c", "a"]),
    "places, texts": (["b", "a", "c"], ["0", "2.0", "1."], ["b", "c", "a"]),
    "minus nothing": (["3", "0"], [-0.0, 3.0], ["0", "3"]),
    "booleans, of ones": (["0", "1"], [True, False], ["1", "0"]),
    "booleans, of ones and more": (["3", "1", "0"], [True, False, 3], ["1", "0", "3"]),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_names_where_all_are(tmp_path: Path, kind: str) -> None:
    classes, labels, right = NUMBERS[kind]
    recipe_in(tmp_path, classes)
    done = pack(tmp_path, write(tmp_path, "jsonl", rows_of(labels)))
    assert done.exit_code == 0, done.output
    assert stored(tmp_path) == [[name] for name in right]


#: Classes, labels that are partly names and partly places, and what is said of them.
MIXED = {
    "a name, then a place": (["0.5", "1.0", "2.0"], ["2.0", "1.0", 0], "0 is no class's name, but '1.0' is"),
    "two classes of one number": (["7.0", "7.00", "x"], [7], "label '7' is none of the 3 classes"),
    "a half": (["0.5", "1.0", "2.0"], ["0.5", "0"], "0 is no class's name, but '0.5' is one"),
    "by value or place": (["1.0", "2.0", "3.0"], [1, 2], "label 1 is the class '1.0' by name, and by"),
    "a Boolean beside names": (["cat", "dog"], ["cat", True], "true is no class's name, but 'cat' is one"),
    "a Boolean of ones": (["1", "0"], [True, False], "label false is the class '0' by name, and by place '1'"),
    "zeros before one": (["02", "01", "00"], ["00", "1"], "1 is no class's name, but '00' is one"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MIXED)
def test_no_label_is_a_name_beside_one_that_is_a_place(tmp_path: Path, kind: str) -> None:
    classes, labels, message = MIXED[kind]
    recipe_in(tmp_path, classes)
    assert message in refused(pack(tmp_path, write(tmp_path, "jsonl", rows_of(labels))))
    assert not (tmp_path / "shards").exists()


def test_numbers_that_are_said_to_be_places_are(tmp_path: Path) -> None:
    recipe_in(tmp_path, ["0.5", "1.0", "2.0"])
    manifest = write(tmp_path, "csv", rows_of(["2.0", "1.0", "0.0"]))
    assert refused(pack(tmp_path, manifest)).endswith("if all are places: --numbers places")
    assert pack(tmp_path, manifest, "--numbers", "places").exit_code == 0
    assert stored(tmp_path) == [["2.0"], ["1.0"], ["0.5"]]
    manifest = write(tmp_path, "csv", rows_of(["2.0", "1.0", "0.5"]))
    said = refused(pack(tmp_path, manifest, "--numbers", "places"))
    assert "--numbers places, but not all labels are: '0.5' is a class's name" in said


def test_numbers_that_are_said_to_be_names_and_are_none(tmp_path: Path) -> None:
    recipe_in(tmp_path, ["cat", "dog", "3"])
    for label in ("1", 1, 1.0, "1.0"):
        said = refused(pack(tmp_path, write(tmp_path, "jsonl", rows_of([label])), "--numbers", "names"))
        assert said.endswith(f"line 1: label '{label}' is none of the 3 classes")
    said = refused(pack(tmp_path, write(tmp_path, "jsonl", rows_of([True])), "--numbers", "names"))
    assert "line 1: label 'true' is not one of the recipe's classes" in said


def test_what_a_person_wrote_is_what_is_shown(tmp_path: Path) -> None:
    recipe_in(tmp_path, ["a", "b", "c"])
    done = pack(tmp_path, write(tmp_path, "jsonl", rows_of([1.0, "2.0", 1])))
    assert "1.0 = 'b' (1), 1 = 'b' (1), 2.0 = 'c' (1)" in " ".join(done.stderr.split())
    assert "off by one" in done.stderr
    said = refused(pack(tmp_path, write(tmp_path, "jsonl", rows_of(["3.0"]))))
    assert "label '3.0' is none of the 3 classes, nor a place in them (places count from 0)" in said


@pytest.mark.parametrize("labels", [[1, 1.0], ["2", 2], ["7.0", "7.0"], [True, 1]])
def test_a_label_that_is_there_twice_is_named_by_its_line(tmp_path: Path, labels: list[object]) -> None:
    recipe_in(tmp_path, ["a", "b", "c"] if labels[1] in (1, 2) else ["7.0", "8.0", "x"], "multi_label")
    said = refused(pack(tmp_path, write(tmp_path, "jsonl", rows_of([labels, labels], "labels"))))
    assert "line 1: names a label twice (and 1 more lines like this: 2)" in said


def test_a_name_and_its_number_are_one_label(tmp_path: Path) -> None:
    recipe_in(tmp_path, ["8.0", "7.0", "x"], "multi_label")
    said = refused(pack(tmp_path, write(tmp_path, "jsonl", rows_of([["7.0", "8.0"], ["7", "7.0"]], "labels"))))
    assert said.endswith("line 2: names a label twice")
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("said", [(), ("--numbers", "places")])
def test_a_place_that_is_another_labels_name_is_another_label(tmp_path: Path, said: tuple[str, ...]) -> None:
    recipe_in(tmp_path, ["5", "0", "x"], "multi_label")
    sets = [[0, 1], [2, 1], [0, 2]]
    assert pack(tmp_path, write(tmp_path, "jsonl", rows_of(sets, "labels")), *said).exit_code == 0
    assert stored(tmp_path) == [["5", "0"], ["x", "0"], ["5", "x"]]


def test_vectors_of_zeros_and_ones_beside_classes_of_such_names(tmp_path: Path) -> None:
    recipe_in(tmp_path, ["1.0", "0.0", "x"], "multi_label")
    vectors = [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], "[0. 1. 0.]"]
    manifest = write(tmp_path, "jsonl", rows_of(vectors))
    assert "--numbers multihot" in refused(pack(tmp_path, manifest))
    assert pack(tmp_path, manifest, "--numbers", "multihot").exit_code == 0
    assert stored(tmp_path) == [["1.0", "x"], ["x"], ["0.0"]]
    recipe_in(tmp_path, ["a", "b", "c"], "multi_label")
    assert pack(tmp_path, manifest).exit_code == 0
    assert stored(tmp_path) == [["a", "c"], ["c"], ["b"]]
    recipe_in(tmp_path, ["true", "false"], "multi_label")
    assert pack(tmp_path, write(tmp_path, "jsonl", rows_of([["true", "false"]]))).exit_code == 0
    assert list(map(sorted, stored(tmp_path))) == [["false", "true"]]


def test_a_label_that_changes_while_it_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(recipe_in(tmp_path, ["a", "b"]))
    manifest = write(tmp_path, "jsonl", rows_of(["a", "b"]))
    decide = LabelRule.decide

    def changed(rule: LabelRule) -> None:
        write(tmp_path, "jsonl", rows_of(["a", "d"]))
        decide(rule)

    monkeypatch.setattr(plan_module.LabelRule, "decide", changed)
    with pytest.raises(U2AError, match=r"m\.jsonl: line 2: label 'd' is not one of the recipe's classes"):
        pack_manifest(recipe, manifest, tmp_path / "shards", tell=lambda note: None)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("declared", [True, False])
def test_shards_made_elsewhere(tmp_path: Path, kind: str, declared: bool) -> None:
    classes, labels = EXACT[kind]
    path = shard(tmp_path / "x.tar", labels)
    command = ["data", "index", str(path), "--map", "txt=text", "--label", "cls"]
    done = CliRunner().invoke(main, [*command, *(("--classes", ",".join(classes)) if declared else ())])
    assert done.exit_code == 0, done.output
    index = ShardIndex(path)
    assert [index.info.classes[int(index.label_ids(i)[0])] for i in range(len(labels))] == labels
    for order in (classes, classes[::-1]):
        split = open_split({"a": str(path)}, "a", modalities=("text",), classes=tuple(order), multi_label=False)
        assert [order[split.labels(i)[0]] for i in range(len(labels))] == labels


def test_an_index_without_classes_knows_numbers_by_their_value(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", ["2.0", "1", "0.0"])
    done = CliRunner().invoke(main, ["data", "index", str(path), "--map", "txt=text", "--label", "cls"])
    assert done.exit_code == 0, done.output
    for classes in (("0", "1", "2"), ("0.0", "1.0", "2.0"), ("2", "1.0", "0"), ("2", "2.0", "1", "0")):
        split = open_split({"a": str(path)}, "a", modalities=("text",), classes=classes, multi_label=False)
        found = [classes[split.labels(i)[0]] for i in range(3)]
        assert np.array_equal([float(name) for name in found], [2, 1, 0])
        assert found[0] == ("2.0" if "2.0" in classes else "2")
