"""Shards on disk: plain webdataset reads them, and everything it would swallow is refused by name."""

import hashlib
import io
import json
import pickle
import tarfile
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from u2a.common.hints import nearest
from u2a.data.inspection.findings import labels_of
from u2a.data.reading.split import open_split, split_names
from u2a.data.shards.dataset import fingerprint, shard_addresses
from u2a.data.shards.index import ShardIndex, index_path, write_index
from u2a.data.shards.samples import Sample, encode_key, split_member
from u2a.data.shards.writer import SplitWriter
from u2a.errors import ShardError
from u2a.training.gaps import class_counts

CLASSES = ("cat", "dog", "owl")
ODD_KEYS = [
    "clip.v1",
    "clip.v2",
    "a/b/c.d",
    "../../etc/x",
    ".hidden",
    "größe ☃",
    "50%",
    "__meta__",
    "x\ny",
    "C:\\z",
]


def declare(*present, **more):
    return json.dumps({"present": present, **more}).encode()


def make_tar(path, members):
    """A tar of exactly these (name or TarInfo, bytes), in this order; nothing is checked."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def typed(name, kind):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd"
    return info


def good(key, label="cat"):
    return [
        (f"{key}.json", declare("image", "text", label=label)),
        (f"{key}.image.jpg", b"jpeg " + key.encode()),
        (f"{key}.text.txt", b"words"),
    ]


def write_split(folder, samples, shard_size=1000):
    """Samples: key, Sample, members by suffix. Returns data.shards for `open_split`."""
    with SplitWriter(folder, "train", ("image", "text"), shard_size) as writer:
        for key, sample, members in samples:
            writer.add(key, sample, members)
    return {"train": tuple(str(folder / entry.name) for entry in writer.entries)}


def opened(shards, split="train", modalities=("image", "text"), multi_label=False, **more):
    return open_split(shards, split, modalities=modalities, classes=CLASSES, multi_label=multi_label, **more)


def many(count):
    """Samples with every presence pattern, and bytes that tell them apart."""
    for i in range(count):
        present = (("image", "text"), ("image",), ("text",))[i % 3]
        content = {
            "image": {"image.jpg": b"\xff\xd8" + bytes([i % 256]) * (i + 1)},
            "text": {"text.txt": f"text {i}".encode()},
        }
        members = {name: data for m in present for name, data in content[m].items()}
        yield f"k{i}", Sample(key=f"k{i}", present=present, label=CLASSES[i % 3]), members


def test_plain_webdataset_reads_the_same_samples(tmp_path):
    import webdataset as wds

    samples = [
        *many(23),
        *((k, Sample(key=k, present=("text",), label="owl"), {"text.txt": k.encode()}) for k in ODD_KEYS),
    ]
    shards = write_split(tmp_path, samples, shard_size=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = list(wds.WebDataset(list(shards["train"]), shardshuffle=False))
    split = opened(shards)
    assert split.shard_sizes == [7, 7, 7, 7, 5]
    assert len(read) == len(split) == len(samples)
    for i, (sample, (key, declared, members)) in enumerate(zip(read, samples, strict=True)):
        assert sample["__key__"] == encode_key(key)
        assert json.loads(sample["json"])["key"] == split.key(i) == key
        assert {k: v for k, v in sample.items() if not k.startswith("__") and k != "json"} == members
        assert split.members(i, declared.present) == {s.split(".")[0]: data for s, data in members.items()}


def test_equal_samples_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_split(tmp_path / name, many(10), shard_size=4)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == [f"train-00000{i}.tar{e}" for i in range(3) for e in ("", ".idx")]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_failed_write_leaves_no_shard(tmp_path):
    def write():
        with SplitWriter(tmp_path, "train", ("text",), 10) as writer:
            for content in (b"x", 3.5):
                writer.add("a", Sample(key="a", present=("text",)), {"text.txt": content})

    with pytest.raises(ValueError, match="bytes"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_presence_labels_and_order_of_modalities(tmp_path):
    shards = write_split(tmp_path, many(9), shard_size=4)
    split = opened(shards, modalities=("text", "image"))
    assert split.modalities == ("text", "image")
    assert split.present_NM.dtype == np.bool_
    assert split.present_NM.tolist() == [[True, True], [False, True], [True, False]] * 3
    assert [split.labels(i) for i in range(9)] == [(0,), (1,), (2,)] * 3
    assert split.where(5) == "train-000001.tar: sample 'k5'"
    with pytest.raises(ShardError, match=r"train-000000.tar: sample 'k1': has no text"):
        split.members(1, ["text"])
    for i in (-1, 9):
        with pytest.raises(IndexError):
            split.key(i)


def test_only_the_recipes_modalities_count(tmp_path):
    shards = write_split(tmp_path, list(many(9))[:2])
    assert opened(shards, modalities=("image",)).present_NM.tolist() == [[True], [True]]
    texts = opened(shards, modalities=("text",))
    assert texts.keys() == ["k0"]
    assert texts.notes == ("train: 1 samples have none of text: left out, 1 remain",)
    with pytest.raises(ShardError, match=r"train-000000.tar: .*'train' knows 'txet'; did you mean 'text'"):
        opened(shards, modalities=("image", "txet"))


def test_samples_that_have_none_of_the_modalities_are_as_if_never_packed(tmp_path):
    samples = list(many(12))
    for name in ("all", "none"):
        (tmp_path / name).mkdir()
    shards = write_split(tmp_path / "all", samples, shard_size=3)
    split = opened(shards, modalities=("text",))
    kept = [i for i in range(12) if i % 3 != 1]
    assert split.keys() == [f"k{i}" for i in kept]
    assert split.present_NM.tolist() == [[True]] * 8
    assert split.shard_sizes == [2] * 4
    whole = opened(shards, modalities=("image", "text"))
    for place, i in enumerate(kept):
        assert split.members(place, ["text"]) == whole.members(i, ["text"])
        assert split.labels(place) == whole.labels(i)
    used = np.arange(8) != 0
    counts = class_counts(split, used, 3)
    assert counts.tolist() == np.bincount([split.labels(i)[0] for i in range(1, 8)], minlength=3).tolist()
    assert labels_of(split) == [split.labels(i) for i in range(8)]
    only = write_split(tmp_path / "none", samples[1:2])
    with pytest.raises(ShardError):
        opened(only, modalities=("text",))


def test_a_pickled_split_reads_on(tmp_path):
    split = opened(write_split(tmp_path, many(12), shard_size=5))
    before = [split.members(i, ["image"] if i % 3 < 2 else ["text"]) for i in range(12)]
    copy = pickle.loads(pickle.dumps(split))
    assert [copy.members(i, ["image"] if i % 3 < 2 else ["text"]) for i in range(12)] == before
    assert (copy.fingerprint, copy.shard_sizes, copy.key(11)) == (split.fingerprint, split.shard_sizes, "k11")


def test_more_shards_than_are_kept_open_and_many_threads(tmp_path):
    split = opened(write_split(tmp_path, many(210), shard_size=3))
    assert len(split.shard_sizes) == 70
    order = np.random.default_rng(0).permutation(210).tolist() * 3

    def key_and_image(i):
        return split.key(i), split.members(i, ["image"])["image"] if i % 3 < 2 else b""

    with ThreadPoolExecutor(8) as pool:
        for i, (key, image) in zip(order, pool.map(key_and_image, order), strict=True):
            assert key == f"k{i}"
            assert len(image) == (i + 3 if i % 3 < 2 else 0)


def test_multi_label(tmp_path):
    labels = [("owl", "cat"), (), ("dog",), None]
    samples = [
        (f"k{i}", Sample(present=("text",), labels=names), {"text.txt": b"x"}) for i, names in enumerate(labels)
    ]
    shards = write_split(tmp_path, samples)
    split = opened(shards, multi_label=True, labelled=False)
    assert [split.labels(i) for i in range(4)] == [(2, 0), (), (1,), ()]
    with pytest.raises(ShardError, match=r"train-000000\.tar: sample 'k3': has no label"):
        opened(shards, multi_label=True)
    with pytest.raises(ShardError, match=r"train-000000\.tar: sample 'k0': has 2 labels"):
        opened(shards, labelled=False)


def test_unlabelled_samples_only_where_allowed(tmp_path):
    shards = write_split(tmp_path, [("a.b", Sample(key="a.b", present=("text",)), {"text.txt": b"x"})])
    assert opened(shards, labelled=False).labels(0) == ()
    with pytest.raises(ShardError, match=r"train-000000.tar: sample 'a.b': has no label, nor have 0 more"):
        opened(shards)
    with pytest.raises(ShardError, match=r"no split 'train'; did you mean 'Train'\?; pack with --rename-split"):
        open_split({"Train": ["a.tar"]}, "train", modalities=("text",), classes=("x",), multi_label=False)
    with pytest.raises(ShardError, match=r"has no split 'dev'.*; name one with --split"):
        open_split({"Train": ["a.tar"]}, "dev", modalities=("text",), classes=("x",), multi_label=False)


def test_a_label_outside_the_classes_names_sample_and_nearest(tmp_path):
    samples = [
        *many(5),
        ("bad", Sample(present=("text",), label="dgo"), {"text.txt": b"x"}),
        *list(many(9))[6:],
    ]
    with pytest.raises(ShardError, match=r"train-000000.tar: sample 'bad': label 'dgo'.*did you mean 'dog'\?"):
        opened(write_split(tmp_path, samples))


def test_a_shared_member_is_stored_once_and_read_for_both(tmp_path):
    clip = b"ftyp" + bytes(range(256)) * 40
    sample = Sample(present=("audio", "video"), label="cat", members={"audio": "video.mp4"})
    shards = write_split(tmp_path, [("a", sample, {"video.mp4": clip})])
    assert (tmp_path / "train-000000.tar").read_bytes().count(clip) == 1
    split = opened(shards, modalities=("audio", "video"))
    found = split.members(0, ["audio", "video"])
    assert found == {"audio": clip, "video": clip}
    assert found["audio"] is found["video"]


BROKEN = {
    "no json": ([("a.image.jpg", b"x")], "'a'.*no a.json"),
    "not adjacent": (
        [*good("a")[:2], *good("b"), good("a")[2]],
        r"'a': declares text, but a\.text.* not next to",
    ),
    "not adjacent, json apart": ([*good("a")[1:], *good("b"), good("a")[0]], "'a'.*no a.json.*next"),
    "sample comes again": ([*good("a"), *good("b"), *good("a")], "a.json.*not next to each other"),
    "twice": ([*good("a"), ("a.text.txt", b"other")], "a.text.txt.*twice"),
    "twice, other case": ([*good("a"), ("a.text.TXT", b"other")], "a.text.TXT.*twice"),
    "two for one modality": ([*good("a"), ("a.image.png", b"p")], "'a'.*image.jpg and image.png"),
    "no extension": ([*good("a"), ("README", b"x")], "README.*drop it"),
    "hidden file": ([(".a.image.jpg", b"x"), *good("a")], r"\.a\.image\.jpg.*drop it"),
    "no modality": ([*good("a"), ("a.jpg", b"x")], "a.jpg.*<key>.<modality>.<ext>"),
    "bad sample marker": ([*good("a"), ("a.__bad__", b"1")], "a.__bad__.*reserved"),
    "forged key": ([*good("a"), ("a.__key__", b"1")], "a.__key__.*reserved"),
    "skipped name": ([*good("a"), ("__m__/b.json", b"{}")], "__m__/b.json.*reserved"),
    "symbolic link": ([*good("a"), (typed("b.image.jpg", tarfile.SYMTYPE), b"")], "b.image.jpg.*link"),
    "hard link": ([*good("a"), (typed("b.image.jpg", tarfile.LNKTYPE), b"")], "b.image.jpg.*link"),
    "device": ([*good("a"), (typed("b.image.jpg", tarfile.CHRTYPE), b"")], "b.image.jpg.*link, device"),
    "absolute name": ([("/etc/b.image.jpg", b"x")], "/etc/b.image.jpg.*unsafe"),
    "leaves folder": ([("../b.image.jpg", b"x")], r"\.\./b.image.jpg.*unsafe"),
    "control character": ([("b\x07.image.jpg", b"x")], r"b\\x07.image.jpg.*unsafe"),
    "lost": ([good("a")[0], good("a")[2]], r"'a': declares image, but a\.image\.\* is lost or not next to"),
    "undeclared": ([*good("a"), ("a.audio.wav", b"x")], "a.audio.wav.*not declare"),
    "zero bytes": ([*good("a")[:2], ("a.text.txt", b"")], "a.text.txt: is empty"),
    "empty json": ([("a.json", b"")], "a.json: is empty"),
    "not JSON": ([("a.json", b"{"), ("a.text.txt", b"x")], "a.json: Invalid JSON"),
    "presence not declared": ([("a.json", b"{}"), ("a.text.txt", b"x")], "a.json: present: Field required"),
    "nothing present": ([("a.json", declare())], "a.json: present: .*at least 1"),
    "presence not a list": ([("a.json", b'{"present": "text"}'), ("a.text.txt", b"x")], "a.json: present:"),
    "present twice": ([("a.json", declare("text", "text")), ("a.text.txt", b"x")], "a.json.*present.*twice"),
    "label and labels": (
        [("a.json", declare("text", label="x", labels=[])), ("a.text.txt", b"x")],
        "json.*both",
    ),
    "label of a wrong type": ([("a.json", declare("text", label=3)), ("a.text.txt", b"x")], "a.json: label:"),
    "wrong sample's json": ([("a.json", declare("text", key="b")), ("a.text.txt", b"x")], "a.json.*key is 'b'"),
    "member of an undeclared modality": (
        [("a.json", declare("video", members={"audio": "video.mp4"})), ("a.video.mp4", b"x")],
        "a.json.*members names 'audio'",
    ),
    "shared member lost": (
        [("a.json", declare("audio", "video", members={"audio": "movie.mp4"})), ("a.video.mp4", b"x")],
        "'a': declares audio, but a.movie.mp4 is lost",
    ),
    "own and shared member": (
        [
            ("a.json", declare("audio", "video", members={"audio": "video.mp4"})),
            ("a.video.mp4", b"x"),
            ("a.audio.wav", b"x"),
        ],
        "'a': audio has a member and points at video.mp4",
    ),
    "huge json": ([("a.json", b" " * (1 << 20) + declare("text")), ("a.text.txt", b"x")], "a.json.*limit"),
    "no samples": ([], "holds no samples"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_shard_is_refused_by_name(tmp_path, case):
    members, reason = BROKEN[case]
    path = make_tar(tmp_path / "s.tar", members)
    with pytest.raises(ShardError, match=rf"(?s)s\.tar: .*{reason}") as caught:
        write_index(path)
    assert "\n" not in str(caught.value)
    assert not index_path(path).exists()


def test_a_sparse_member_is_refused(tmp_path):
    path = make_tar(tmp_path / "s.tar", [*good("a"), (typed("b.image.jpg", tarfile.GNUTYPE_SPARSE), b"")])
    with pytest.raises(ShardError, match=r"s\.tar: "):
        write_index(path)


def test_shards_of_other_tools_that_lose_nothing_are_read(tmp_path):
    folder = tarfile.TarInfo("./part")
    folder.type = tarfile.DIRTYPE
    members = [(folder, b""), *((f"./part/{name}", data) for name, data in good("a") + good("b"))]
    path = make_tar(tmp_path / "s.tar", members)
    write_index(path)
    split = opened({"train": str(path)})
    assert [split.key(i) for i in range(2)] == ["./part/a", "./part/b"]
    assert split.members(1, ["image"]) == {"image": b"jpeg b"}


def test_every_truncation_is_refused(tmp_path):
    whole = make_tar(tmp_path / "whole.tar", good("a") + good("b")).read_bytes()
    write_index(tmp_path / "whole.tar")
    end = len(whole.rstrip(b"\0"))
    end += -end % 512 + 1024  # the marker: two blocks of zeros; what follows is padding
    assert end < len(whole)
    path = tmp_path / "cut.tar"
    path.write_bytes(whole)
    for size in range(end - 1, -1, -1):
        with open(path, "r+b") as stream:
            stream.truncate(size)
        with pytest.raises(ShardError, match=r"cut\.tar: "):
            write_index(path)
    index_path(path).write_bytes(index_path(tmp_path / "whole.tar").read_bytes())
    for size in (*range(end, len(whole), 97), len(whole) - 1, len(whole) + 1):
        path.write_bytes(whole[:size].ljust(size, b"\0"))
        with pytest.raises(ShardError, match=rf"cut\.tar: has {size} bytes, but {len(whole)}"):
            opened({"train": str(path)})


def test_a_damaged_header_does_not_end_the_shard_early(tmp_path):
    path = make_tar(tmp_path / "s.tar", good("a") + good("b"))
    data = bytearray(path.read_bytes())
    data[512 * 6 + 150] ^= 1  # in the checksum of b.json's header
    path.write_bytes(data)
    with pytest.raises(ShardError, match=r"s\.tar: damaged header.* at byte 3072"):
        write_index(path)


def test_shards_glued_together_and_compressed_ones_are_refused(tmp_path):
    one = make_tar(tmp_path / "one.tar", good("a")).read_bytes()
    (tmp_path / "two.tar").write_bytes(one + make_tar(tmp_path / "x.tar", good("b")).read_bytes())
    with pytest.raises(ShardError, match=r"two\.tar: .*after the end of the archive"):
        write_index(tmp_path / "two.tar")
    with tarfile.open(tmp_path / "z.tar", "w:gz") as tar:
        tar.add(tmp_path / "one.tar", "a.image.jpg")
    with pytest.raises(ShardError, match=r"z\.tar: is compressed \(gzip\), and so not readable in parts"):
        write_index(tmp_path / "z.tar")


def test_a_shard_that_changed_after_indexing(tmp_path):
    shards = write_split(tmp_path, many(6))
    path = tmp_path / "train-000000.tar"
    split = opened(shards, verify=True)
    data = bytearray(path.read_bytes())
    data[data.index(b"text 0")] ^= 1
    path.write_bytes(data)
    opened(shards)
    with pytest.raises(ShardError, match=r"train-000000\.tar: its content has changed.*u2a data index"):
        opened(shards, verify=True)
    split.members(0, ["text"])
    with open(path, "r+b") as stream:
        stream.truncate(2048)
    with pytest.raises(ShardError, match=r"train-000000\.tar: ended \d+ bytes early"):
        split.members(5, ["text"])
    with pytest.raises(ShardError, match=r"train-000000\.tar: has changed since it was indexed"):
        pickle.loads(pickle.dumps(split)).members(0, ["text"])
    path.unlink()
    with pytest.raises(ShardError, match=r"train-000000\.tar: missing shard"):
        opened(shards)


def test_a_missing_or_damaged_index(tmp_path):
    shards = write_split(tmp_path, many(6))
    index = index_path(tmp_path / "train-000000.tar")
    data = index.read_bytes()
    for broken in (b"", data[:-1], data[:100], b"{}" + data):
        index.write_bytes(broken)
        with pytest.raises(ShardError, match=r"train-000000\.tar\.idx: .*u2a data index"):
            opened(shards)
    index.write_bytes(data.replace(b'\\"format\\":1', b'\\"format\\":9'))
    with pytest.raises(ShardError, match=r"train-000000\.tar\.idx: not an index of format 1"):
        opened(shards)
    index.unlink()
    with pytest.raises(
        ShardError, match=r"train-000000\.tar: has no index .*u2a data index .*train-000000\.tar"
    ):
        opened(shards)


def test_index_holds_offsets_of_the_exact_bytes(tmp_path):
    shards = write_split(tmp_path, many(4))
    index = ShardIndex(tmp_path / "train-000000.tar")
    assert index.info.modalities == ("image", "text")
    assert index.info.extensions == {"image": ("jpg",), "text": ("txt",)}
    with tarfile.open(shards["train"][0]) as tar:
        for row in range(4):
            for column, suffix in enumerate(("image.jpg", "text.txt")):
                names = tar.getnames()
                where = index.array("offset")[row, column], index.array("size")[row, column]
                if f"k{row}.{suffix}" in names:
                    info = tar.getmember(f"k{row}.{suffix}")
                    assert where == (info.offset_data, info.size)
                else:
                    assert where == (-1, -1)


def test_brace_ranges_and_splits(tmp_path):
    write_split(tmp_path, many(12), shard_size=3)
    shards = {
        "train": str(tmp_path / "train-{000000..000002}.tar"),
        "val": (str(tmp_path / "train-000003.tar"),),
    }
    assert split_names(shards) == ["train", "val"]
    assert opened(shards).shard_sizes == [3, 3, 3]
    assert [opened(shards, "val").key(i) for i in range(3)] == ["k9", "k10", "k11"]
    with pytest.raises(ShardError, match=r"data\.shards: has no split 'trian'; did you mean 'train'"):
        opened(shards, "trian")
    with pytest.raises(ShardError, match=r"train-000004\.tar: "):
        opened({"train": str(tmp_path / "train-{000000..000004}.tar")})
    with pytest.raises(ShardError, match=r"train-000001\.tar is named twice"):
        shard_addresses({"t": ("train-{000000..000001}.tar", "train-000001.tar")}, "t")
    with pytest.raises(ShardError, match=r"over a million shards"):
        shard_addresses({"t": "t-{0..99999999}.tar"}, "t")
    with pytest.raises(ShardError, match=r"t-\{0\.\.1\.tar"):
        shard_addresses({"t": "t-{0..1.tar"}, "t")


def test_a_split_keeps_one_presence_row_per_sample(tmp_path):
    small, large = (tmp_path / name for name in ("small", "large"))
    sizes = []
    for folder, count in ((small, 200), (large, 2000)):
        folder.mkdir()
        sizes.append(len(pickle.dumps(opened(write_split(folder, many(count))))))
    assert sizes[1] - sizes[0] < 1800 * 2 + 500  # two bytes a sample, and one more shard


def test_names():
    assert [encode_key(k) for k in ("a.b", "a/b", "é", "x%2Ey")] == ["a%2Eb", "a%2Fb", "%C3%A9", "x%252Ey"]
    assert split_member("dir.x/a.image.tar.GZ") == ("dir.x/a", "image.tar.gz")
    assert nearest("horse", CLASSES) == " (known: cat, dog, owl)"


def test_a_data_set_is_known_by_its_shards_in_their_order():
    one, other = "a" * 64, "b" * 64
    assert fingerprint([one, other]) == hashlib.sha256(f"{one}\n{other}".encode()).hexdigest()
    assert fingerprint([other, one]) != fingerprint([one, other])
