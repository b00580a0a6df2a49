"""``u2a data index`` on shards that webdataset itself wrote for others, and everything odd in them."""

from __future__ import annotations

import gc
import io
import json
import re
import subprocess
import sys
import tarfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import webdataset
from click.testing import CliRunner
from servers import WebServer
from webdataset.writer import TarWriter

from u2a.cli.main import main
from u2a.data.reading.split import open_split
from u2a.data.shards.dataset import read_dataset
from u2a.data.shards.index import ShardIndex
from u2a.data.storage.cache import Cache
from u2a.errors import ShardError

CLASSES = ("cat", "dog", "owl")
MAP = ("--map", "jpg=image", "--map", "png=image", "--map", "txt=text")


def shard(path: Path, samples: list[dict[str, object]]) -> Path:
    """Written by webdataset's own writer."""
    with TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def raw(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def ordinary(first: int, count: int) -> list[dict[str, object]]:
    return [
        {"__key__": f"{i:05d}", ("jpg", "png")[i % 2]: b"picture %d" % i, "txt": f"words {i}", "cls": i % 3}
        for i in range(first, first + count)
    ]


def run(*args: object) -> str:
    result = CliRunner().invoke(main, ["data", "index", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result.output


def fails(*args: object) -> str:
    result = CliRunner().invoke(main, ["data", "index", *map(str, args)])
    assert result.exit_code == 2, (result.output, result.exception)
    assert len([line for line in result.stderr.splitlines() if line.startswith("error:")]) == 1
    return result.stderr.strip()


def test_shards_of_others_read_as_one_split(tmp_path: Path) -> None:
    for number in range(2):
        shard(tmp_path / f"x-{number}.tar", ordinary(number * 5, 5))
    said = run(
        tmp_path / "x-{0..1}.tar", *MAP, "--label", "cls", "--classes", "cat,dog,owl", "--split", "train"
    )
    assert "indexed 2 shards, 10 samples" in said
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves its files open
        paths = [str(tmp_path / f"x-{i}.tar") for i in range(2)]
        theirs = list(webdataset.WebDataset(paths, shardshuffle=False))
        gc.collect()
    for shards in (str(tmp_path), {"train": [str(tmp_path / "x-0.tar"), str(tmp_path / "x-1.tar")]}):
        split = open_split(
            shards, "train", modalities=("text", "image"), classes=CLASSES, multi_label=False, verify=True
        )
        for i, sample in enumerate(theirs):
            assert split.key(i) == sample["__key__"]
            picture = sample.get("jpg", sample.get("png"))
            assert split.members(i, ("text", "image")) == {"text": sample["txt"], "image": picture}
            assert split.labels(i) == (int(sample["cls"]),)
        assert len(split) == 10
        assert split.present_NM.all()


def test_dataset_json_is_what_a_later_split_adds_to(tmp_path: Path) -> None:
    for number in range(2):
        shard(tmp_path / f"x-{number}.tar", ordinary(number * 3, 3))
    for number, split in enumerate(("train", "test")):
        run(tmp_path / f"x-{number}.tar", *MAP, "--label", "cls", "--split", split)
    found = read_dataset(str(tmp_path))
    assert [entry.name for split in ("train", "test") for entry in found.splits[split]] == [
        "x-0.tar",
        "x-1.tar",
    ]
    assert found.classes == {str(c): {"train": 1, "test": 1} for c in range(3)}
    assert found.task_kind == "single_label"
    assert "belongs to split 'train' already" in fails(
        tmp_path / "x-0.tar", *MAP, "--label", "cls", "--split", "val"
    )


def test_what_a_sample_may_lack_is_declared_and_stored(tmp_path: Path) -> None:
    samples = ordinary(0, 4)
    del samples[1]["txt"], samples[2]["jpg"]
    path = shard(tmp_path / "x.tar", samples)
    options = (*MAP, "--label", "cls", "--classes", "cat,dog,owl")
    assert "sample '00001': 00001.txt is lost" in fails(path, *options)
    said = fails(path, *options, "--missing-ok", "text")
    assert "sample '00002': 00002.jpg or 00002.png is lost" in said
    assert "--missing-ok image" in said
    run(path, *options, "--missing-ok", "text,image")
    split = open_split({"a": str(path)}, "a", modalities=("image", "text"), classes=CLASSES, multi_label=False)
    assert split.present_NM.tolist() == [[True, True], [True, False], [False, True], [True, True]]
    mapping = ShardIndex(path).info.mapping
    assert mapping is not None
    assert mapping.model_dump() == {
        "modalities": {"image": ("jpg", "png"), "text": ("txt",)},
        "may_lack": ("text", "image"),
        "ignored": (),
        "label": "cls",
        "numbers": None,
        "last_dot": None,
    }


def test_json_labels_shared_members_and_ignored_ones(tmp_path: Path) -> None:
    tags = [["cat"], ["dog", "owl"], []]
    path = shard(
        tmp_path / "x.tar",
        [
            {"__key__": f"dir/{i}", "mp4": b"film", "json": {"meta": {"tags": t}}, "flac": b""}
            for i, t in enumerate(tags)
        ],
    )
    run(path, "--map", "mp4=audio", "--map", "mp4=video", "--ignore", "flac", "--label", "json:meta.tags")
    split = open_split({"a": str(path)}, "a", modalities=("audio", "video"), classes=CLASSES, multi_label=True)
    assert [split.labels(i) for i in range(3)] == [(0,), (1, 2), ()]
    assert split.members(1, ("audio", "video")) == {"audio": b"film", "video": b"film"}
    assert split.key(2) == "dir/2"


ODD = {
    "unmapped": ([("a.jpg", b"x"), ("a.txt", b"y"), ("a.seg.png", b"z")], "a.seg.png: is mapped to nothing"),
    "two for one": (
        [("a.jpg", b"x"), ("a.png", b"x"), ("a.txt", b"y")],
        "jpg and png are two members for image",
    ),
    "scattered": ([("a.jpg", b"x"), ("b.jpg", b"x"), ("a.txt", b"y")], "00|not next to|is lost"),
    "twice": ([("a.jpg", b"x"), ("a.jpg", b"x")], "a.jpg: is there twice"),
    "empty": ([("a.jpg", b""), ("a.txt", b"y")], "a.jpg: is empty"),
    "first dot": ([("a.v1.jpg", b"x"), ("a.v2.jpg", b"x")], "a.v[12].jpg: is mapped to nothing"),
    "resource fork": ([("._a.jpg", b"x")], r"holds no samples; 1 files were left out: '\._a\.jpg'"),
    "no extension": ([("0001", b"x")], "holds no samples; 1 files were left out: '0001'"),
    "deleted": ([("a.__bad__", b"x")], "reserved extension"),
    "climbs": ([("../a.jpg", b"x")], "unsafe name"),
    "nothing": ([], "holds no samples"),
    "no modality": ([("a.cls", b"1")], "a.jpg or a.png is lost"),
}


@pytest.mark.parametrize("odd", ODD)
def test_everything_odd_is_named(tmp_path: Path, odd: str) -> None:
    members, message = ODD[odd]
    path = raw(tmp_path / "odd.tar", members)
    said = fails(path, *MAP, *(("--label", "cls") if odd == "no modality" else ()))
    assert str(path) in said
    assert re.search(message, said), said
    assert list(tmp_path.iterdir()) == [path]


def test_scattered_members_are_named_even_when_both_halves_could_be_samples(tmp_path: Path) -> None:
    path = raw(tmp_path / "odd.tar", [("a.jpg", b"x"), ("b.txt", b"x"), ("a.txt", b"y")])
    said = fails(path, *MAP, "--missing-ok", "image,text")
    assert "a.txt: the members of 'a' are not next to each other" in said


@pytest.mark.parametrize("cut", [1, 511, 512, 1024, 1025, 2048])
def test_truncation_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    path = shard(tmp_path / "x.tar", ordinary(0, 1))
    with tarfile.open(path) as tar:
        end = max(info.offset_data + -(-info.size // 512) * 512 for info in tar) + 1024
    whole = path.read_bytes()[:end]
    path.write_bytes(whole)
    run(path, *MAP, "--label", "cls")
    path.with_name("x.tar.idx").unlink()
    path.write_bytes(whole[:-cut])
    said = fails(path, *MAP, "--label", "cls")
    assert "truncated" in said or "not a whole" in said


@pytest.mark.parametrize(
    ("data", "label", "message"),
    [
        (b"3", "cls", "a.cls: label '3' is none of the 3 classes, nor a place in them"),
        (b"", "cls", "a.cls: is empty, and no label"),
        (b"\xff", "cls", "a.cls: is no UTF-8 text"),
        (b"\x93NUMPY\x01", "cls", "a.cls: is no UTF-8 text, but a NumPy array"),
        (b'{"x": "cat", "x": "dog"}', "json:x", "a.json: names 'x' twice"),
        (b"[", "json:x", "a.json: is not JSON"),
        (b"{}", "json:x", "a.json: has no 'x'"),
        (b'{"x": 1.5}', "json:x", "a.json: 1.5 is not a label"),
        (b'{"x": {"y": 1}}', "json:x", "a.json: an object of y is not a label"),
        (b'{"x": ["cat", "cat"]}', "json:x", "a.json: names a label twice"),
        (b"[" * 100000, "json:x", "a.json: "),
    ],
)
def test_odd_labels_are_named(tmp_path: Path, data: bytes, label: str, message: str) -> None:
    suffix = label.partition(":")[0]
    path = raw(tmp_path / "x.tar", [("a.jpg", b"x"), (f"a.{suffix}", data)])
    said = fails(path, "--map", "jpg=image", "--label", label, "--classes", "cat,dog,owl")
    assert message in said


def test_extensions_may_be_written_in_any_way(tmp_path: Path) -> None:
    path = raw(tmp_path / "x.tar", [("a.JPG", b"x"), ("a.Cls", b"dog"), ("a.url", b"y")])
    run(path, "--map", ".jpg=image", "--map", "JPG=image", "--label", ".CLS", "--ignore", ".URL")
    split = open_split({"a": str(path)}, "a", modalities=("image",), classes=CLASSES, multi_label=False)
    assert split.labels(0) == (1,)
    run(path, "--map", "jpg=image", "--label", "CLS", "--ignore", "url")


def test_wrong_options_are_told(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", ordinary(0, 2))
    assert "--map jpg: expected EXTENSION=MODALITY" in fails(path, "--map", "jpg")
    assert "--missing-ok audio: no extension" in fails(path, *MAP, "--missing-ok", "audio")
    assert "go with --map" in fails(path, "--label", "cls")
    assert "has no 00000.json" in fails(path)
    assert "cannot be read: No such file" in fails(tmp_path / "nowhere.tar", *MAP)


def test_another_label_is_seen_by_those_who_cached_the_old_index(tmp_path: Path) -> None:
    path = raw(tmp_path / "x.tar", [("a.txt", b"words"), ("a.cls", b"cat"), ("a.other", b"dog")])
    server = WebServer(tmp_path)
    seen = []
    try:
        for label, ignored in (("cls", "other"), ("other", "cls"), ("other", "cls")):
            run(path, "--map", "txt=text", "--label", label, "--ignore", ignored, "--split", "train")
            server.sent_by_name.clear()
            split = open_split(
                server.url,
                "train",
                modalities=("text",),
                classes=CLASSES,
                multi_label=False,
                cache=Cache(tmp_path / "cache"),
            )
            seen.append((split.labels(0), split.fingerprint, server.sent_by_name["x.tar.idx"] > 0))
    finally:
        server.stop()
    (old, old_data, _), (new, new_data, fetched), again = seen
    assert (old, new, fetched) == ((0,), (1,), True)
    assert old_data != new_data
    assert again == (new, new_data, False)


def test_a_shard_that_changes_after_indexing_is_refused(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", ordinary(0, 2))
    run(path, *MAP, "--label", "cls", "--classes", "cat,dog,owl")
    path.write_bytes(path.read_bytes() + b"\0" * 512)
    with pytest.raises(ShardError, match="when it was indexed"):
        open_split({"a": str(path)}, "a", modalities=("image",), classes=CLASSES, multi_label=False)


def test_own_shards_need_no_mapping(tmp_path: Path) -> None:
    from u2a.data.shards.samples import Sample
    from u2a.data.shards.writer import SplitWriter

    with SplitWriter(tmp_path, "train", ("image",), 10) as writer:
        writer.add("a", Sample(present=("image",), label="cat"), {"image.jpg": b"x"})
    before = (tmp_path / "train-000000.tar.idx").read_bytes()
    (tmp_path / "train-000000.tar.idx").unlink()
    run(tmp_path / "train-000000.tar")
    assert (tmp_path / "train-000000.tar.idx").read_bytes() == before
    assert json.loads(ShardIndex(tmp_path / "train-000000.tar").info.model_dump_json())["mapping"] is None


@pytest.mark.parametrize(
    ("data", "label", "right"),
    [
        (b"\xef\xbb\xbfdog\r\n", "cls", ["dog"]),
        (b'{"x.y": "cat"}', "json:x.y", ["cat"]),
        (b'{"x": null}', "json:x", []),
    ],
)
def test_labels_as_other_tools_write_them(tmp_path: Path, data: bytes, label: str, right: list[str]) -> None:
    path = raw(tmp_path / "x.tar", [("a.jpg", b"x"), (f"a.{label.partition(':')[0]}", data)])
    run(path, "--map", "jpg=image", "--label", label, "--classes", "cat,dog,owl")
    index = ShardIndex(path)
    assert [index.info.classes[i] for i in index.label_ids(0)] == right


def test_what_is_no_tar_and_what_is_no_split_is_named(tmp_path: Path) -> None:
    path = raw(tmp_path / "x.tar", [("a.jpg", b"x")])
    assert "--split: 'a/b' may hold letters, digits, - and _ only" in fails(
        path, "--map", "jpg=image", "--split", "a/b"
    )
    assert "note: split 'Valid': only 'val' picks the checkpoint" in run(
        path, "--map", "jpg=image", "--split", "Valid"
    )
    path.write_bytes(b"<!DOCTYPE html><title>404</title>" * 99)
    assert "an HTML page (a failed download?)" in fails(path, "--map", "jpg=image")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    assert "git lfs pull" in fails(path, "--map", "jpg=image")


def test_a_split_grows_with_each_command_and_refuses_what_it_has(tmp_path: Path) -> None:
    for number in range(4):
        path = shard(tmp_path / f"part-{number}.tar", ordinary(number * 5, 5))
        said = run(path, *MAP, "--label", "cls", "--classes", "cat,dog,owl", "--split", "train")
    assert "split 'train' has 4 shards, 20 samples, 1 of them added to the 3 it had" in said
    assert [(e.name, e.samples) for e in read_dataset(str(tmp_path)).splits["train"]] == [
        (f"part-{number}.tar", 5) for number in range(4)
    ]
    again = run(path, *MAP, "--label", "cls", "--classes", "cat,dog,owl", "--split", "train")
    assert "split 'train' has 4 shards, 20 samples" in again
    (tmp_path / "copy.tar").write_bytes(path.read_bytes())
    said = fails(tmp_path / "copy.tar", *MAP, "--label", "cls", "--split", "test")
    assert "copy.tar: is a copy of part-3.tar, which is in split 'train'" in said
    assert list(read_dataset(str(tmp_path)).splits) == ["train"]


def test_two_at_once_lose_no_split(tmp_path: Path) -> None:
    for name in ("train", "test"):
        shard(tmp_path / f"{name}.tar", ordinary(0 if name == "train" else 9, 3))
        run(tmp_path / f"{name}.tar", *MAP, "--label", "cls")
    program = (
        "import sys, time, pathlib; from u2a.data.shards.splits import add_split\n"
        "shard, at = pathlib.Path(sys.argv[1]), float(sys.argv[2]); time.sleep(max(0, at - time.time()))\n"
        "add_split([shard], shard.stem)"
    )
    for _ in range(3):
        (tmp_path / "dataset.json").unlink(missing_ok=True)
        at = str(time.time() + 1.5)
        both = [
            subprocess.Popen([sys.executable, "-c", program, str(tmp_path / f"{name}.tar"), at])
            for name in ("train", "test")
        ]
        assert [process.wait(60) for process in both] == [0, 0]
        assert sorted(read_dataset(str(tmp_path)).splits) == ["test", "train"]


def test_an_index_of_another_tool_is_never_overwritten(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", ordinary(0, 3))
    theirs = np.arange(0, 9 * 512, 512, dtype="<u8").tobytes()  # Megatron-Energon's: offsets
    (tmp_path / "x.tar.idx").write_bytes(theirs)
    said = fails(path, *MAP, "--label", "cls", "--classes", "cat,dog,owl")
    assert "x.tar.idx: is no index of u2a's" in said
    assert "--index-dir" in said
    assert (tmp_path / "x.tar.idx").read_bytes() == theirs
    run(path, *MAP, "--label", "cls", "--classes", "cat,dog,owl", "--index-dir", tmp_path / "ours")
    assert (tmp_path / "x.tar.idx").read_bytes() == theirs
    split = open_split(
        {"train": str(path)},
        "train",
        modalities=("image", "text"),
        classes=CLASSES,
        multi_label=False,
        indexes={"train": str(tmp_path / "ours" / "x.tar.idx")},
    )
    assert [split.labels(i) for i in range(3)] == [(0,), (1,), (2,)]


def labels_in(path: Path) -> list[str]:
    index = ShardIndex(path)
    return [index.info.classes[int(index.label_ids(row)[0])] for row in range(index.info.samples)]


def numbered(path: Path, labels: list[int]) -> Path:
    return shard(path, [{"__key__": f"{i}", "jpg": b"x", "cls": label} for i, label in enumerate(labels)])


def test_numbers_that_are_class_names(tmp_path: Path) -> None:
    image = ("--map", "jpg=image", "--label", "cls", "--classes")
    path = numbered(tmp_path / "a.tar", [0, 1, 2, 3, 4])
    said = run(path, *image, "1,2,3,4,5")  # 0 is no name: places
    assert labels_in(path) == ["1", "2", "3", "4", "5"]
    assert "taken as places in the classes, from 0: 0 = '1'" in said
    path = numbered(tmp_path / "b.tar", [5, 1, 3])  # 5 is no place: names
    run(path, *image, "1,2,3,4,5")
    assert labels_in(path) == ["5", "1", "3"]
    path = numbered(tmp_path / "c.tar", [0, 1, 2])
    said = fails(path, *image, "2,0,1")
    assert "label 0 is the class '0' by name, and by place '2'" in said
    assert "--numbers names or --numbers places" in said
    assert not (tmp_path / "c.tar.idx").exists()
    run(path, *image, "2,0,1", "--numbers", "places")
    assert labels_in(path) == ["2", "0", "1"]
    run(path, *image, "2,0,1", "--numbers", "names")
    assert labels_in(path) == ["0", "1", "2"]
    # each shard alone could be read in one way, both together in none
    one, other = numbered(tmp_path / "d.tar", [0]), numbered(tmp_path / "e.tar", [5])
    assert "partly names, partly numbers" in fails(one, other, *image, "1,2,3,4,5")
    path = numbered(tmp_path / "f.tar", [1, 2])
    assert "if your numbers count from 1, every label is off by one" in run(path, *image, "cat,dog,owl")


LABELS = {
    "whole floats": ([1.0, 0.0], [(1,), (0,)]),
    "booleans": ([True, False], [(1,), (0,)]),
    "null": ([None, "owl"], [(), (2,)]),
    "multi-hot": ([[0, 1, 1], [0, 0, 0]], [(1, 2), ()]),
    "multi-hot booleans": ([[False, True, False]], [(1,)]),
    "places": ([[0, 2], [1]], [(0, 2), (1,)]),
    "names, decomposed and with spaces": ([" owl", ["do\u0067"]], [(2,), (1,)]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_type(tmp_path: Path, kind: str) -> None:
    values, right = LABELS[kind]
    members = [(f"{i}.{end}", data) for i, value in enumerate(values) for end, data in
               (("jpg", b"x"), ("json", json.dumps({"y": value}).encode()))]  # fmt: skip
    path = raw(tmp_path / "x.tar", members)
    run(path, "--map", "jpg=image", "--label", "json:y", "--classes", "cat,dog,owl")
    split = open_split(
        {"a": str(path)}, "a", modalities=("image",), classes=CLASSES, multi_label=True, labelled=False
    )
    assert [split.labels(i) for i in range(len(values))] == right


def test_what_archivers_add_is_left_out_and_counted(tmp_path: Path) -> None:
    good = [(f"./{i}.{end}", b"x") for i in range(3) for end in ("jpg", "txt")]
    junk = [
        "./._0.jpg",
        ".DS_Store",
        "__MACOSX/._0.jpg",
        "a/Thumbs.db",
        "@eaDir/0.jpg",
        "README",
        "LICENSE.txt",
        "labels.csv",
    ]
    path = raw(tmp_path / "x.tar", [(junk[0], b"x"), *good, *((name, b"x") for name in junk[1:])])
    said = run(path, *MAP)
    assert "note: 8 files that belong to no sample were left out: './._0.jpg'" in said
    assert ShardIndex(path).info.samples == 3
    path = raw(tmp_path / "y.tar", [*good, ("./0_thumb.jpg", b"x"), ("./notes.webp", b"x")])
    assert "is lost" in fails(path, *MAP) or "is mapped to nothing" in fails(path, *MAP)
    run(path, *MAP, "--ignore", "*_thumb.*,notes.webp")
    assert ShardIndex(path).info.samples == 3


def test_dots_in_names(tmp_path: Path) -> None:
    names = ["Track 1.0 (Clean 2)", "Track 1.5", "été 🙂\u200d", "\u3000wide"]
    path = raw(tmp_path / "x.tar", [(f"{n}.{end}", end.encode()) for n in names for end in ("jpg", "txt")])
    assert "--last-dot" in fails(path, *MAP)
    run(path, *MAP, "--last-dot")
    split = open_split(
        {"a": str(path)}, "a", modalities=("image", "text"), classes=CLASSES, multi_label=False, labelled=False
    )
    assert split.keys() == names
    assert split.members(1, ("image", "text")) == {"image": b"jpg", "text": b"txt"}


def test_an_empty_member_is_missing_where_the_modality_may_be(tmp_path: Path) -> None:
    path = raw(tmp_path / "x.tar", [("0.jpg", b"x"), ("0.txt", b""), ("1.jpg", b"x"), ("1.txt", b"y")])
    said = fails(path, *MAP)
    assert "0.txt: is empty" in said
    assert "--missing-ok text" in said
    run(path, *MAP, "--missing-ok", "text")
    assert ShardIndex(path).array("present").tolist() == [[True, False], [True, True]]
