"""The official layouts of the five data sets, as published and as found in the wild."""

import csv
import json
import unicodedata
from collections import Counter

import miniatures
import pytest
from click.testing import CliRunner

from u2a.cli.data import data
from u2a.data.reading.split import open_split
from u2a.data.shards.dataset import read_dataset
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.recipe.shipped import shipped_recipes
from u2a_prepare import food101, kinetics_sound
from u2a_prepare.command import PUBLIC
from u2a_prepare.common import Report
from u2a_prepare.crema_d import assign
from u2a_prepare.run import prepare
from u2a_prepare.sets import DATA_SETS, Choice


@pytest.fixture
def make(tmp_path, checkpoints):
    """Prepare ``tmp_path / "source"`` with tiny encoders into ``tmp_path / "out"``."""

    def run(name, *sets, **how):
        recipe = load_recipe(shipped_recipes()[name], [*miniatures.small(name, checkpoints), *sets])
        how = {"overwrite": True, **how}
        return prepare(name, recipe, tmp_path / "source", tmp_path / "out", **how)

    return run


def problems(folder):
    return [json.loads(line) for line in (folder / "out/problems.jsonl").read_text().splitlines()]


def kinds(folder):
    return dict(Counter(p["kind"] for p in problems(folder)))


def counts(result):
    return {name: split.samples for name, split in result.summary.splits.items()}


def samples(folder, split, name):
    recipe = load_recipe(shipped_recipes()[name])
    multi = recipe.task.kind == "multi_label"
    return open_split(
        str(folder / "out"),
        split,
        modalities=DATA_SETS[name].columns,
        classes=recipe.task.classes,
        multi_label=multi,
    )


def by_key(split, classes):
    """Key to labels and members."""
    found = {}
    for i in range(len(split)):
        present = [m for m, here in zip(split.modalities, split.present_NM[i], strict=True) if here]
        found[split.key(i)] = ([classes[c] for c in split.labels(i)], split.members(i, present))
    return found


def test_food101(tmp_path, make):
    root = miniatures.food101(tmp_path / "source", ("apple_pie", "waffles"))
    train = root / "texts/train_titles.csv"
    text = train.read_text()
    text = text.replace(
        'apple_pie_0.jpg,"The best ""apple_pie"", ever | number 0",apple_pie', "apple_pie_0.jpg,a, b,apple_pie"
    )
    text += 'waffles_6.jpg,"a quote that never ends,waffles\nwaffles_7.jpg,next,waffles\n'  # two pictures
    text += "waffles_1.jpg,again,waffles\nwaffles_9.jpg,lost,waffles\nodd\nsoup_1.jpg,x,soup\n"
    text += "waffles_8.jpg,,waffles\n"
    text += 'waffles_11.jpg,"two\nlines, quoted",waffles\n'
    train.write_text(text)
    images = root / "images/train/waffles"
    for n in (6, 7, 8, 10, 11):
        miniatures.write(images / f"waffles_{n}.jpg", miniatures.picture(n))
    (images / "waffles_2.jpg").rename(images / "waffles_2.JPG")
    (images / "waffles_3.jpg").rename(images / "waffles_3..jpg")
    (images / "waffles_4.jpg").write_bytes(b"")
    (images / "Thumbs.db").write_bytes(b"x")
    result = make("food101")
    assert counts(result) == {"train": 15, "test": 6}
    assert result.summary.splits["train"].difference == 15 - 67_988
    assert result.summary.splits["train"].presence == {"image + text": 14, "image": 1}
    assert kinds(tmp_path) == {
        "odd line": 2,  # the open quote, and a line with one field
        "duplicate": 1,
        "missing file": 1,
        "unknown class": 1,
        "no text": 1,
        "empty file": 1,
        "picture without title": 1,
    }
    train = by_key(
        samples(tmp_path, "train", "food101"), load_recipe(shipped_recipes()["food101"]).task.classes
    )
    assert train["apple_pie_0"] == (["apple_pie"], {"image": miniatures.picture(0), "text": b"a, b"})
    assert train["apple_pie_1"][1]["text"] == b'The best "apple_pie", ever | number 1'
    assert train["waffles_6"][1]["text"] == b'"a quote that never ends'
    assert train["waffles_7"][1]["text"] == b"next"
    assert train["waffles_11"][1]["text"] == b"two\nlines, quoted"
    assert {"waffles_2", "waffles_3"} <= train.keys()


def test_annotations_and_links_cannot_lead_out_of_the_source(tmp_path, make):
    miniatures.write(tmp_path / "secret/apple_pie_77.jpg", miniatures.picture(1))
    root = miniatures.food101(tmp_path / "source", ("apple_pie", "waffles"))
    train = root / "texts/train_titles.csv"
    up = "../../../../../secret/apple_pie_77.jpg"
    inside = "../apple_pie/apple_pie_0.JPG"  # leads back in; but there is no such file
    train.write_text(train.read_text() + f"{up},title,apple_pie\n{inside},title,apple_pie\na\0.jpg,x,waffles\n")
    (root / "images/train/waffles/waffles_0.jpg").unlink()
    (root / "images/train/waffles/waffles_0.jpg").symlink_to(tmp_path / "secret/apple_pie_77.jpg")
    result = make("food101")
    assert counts(result) == {"train": 11, "test": 6}
    assert kinds(tmp_path) == {"outside the source": 2, "missing file": 2}
    named = [p["name"] for p in problems(tmp_path) if p["kind"] == "outside the source"]
    assert any(name.endswith(up) for name in named)


def test_ave_names_cannot_lead_out_of_the_source(tmp_path, make):
    root = miniatures.ave(tmp_path / "source") / "AVE_Dataset"
    miniatures.write(tmp_path / "secret.mp4", miniatures.clip())
    with (root / "trainSet.txt").open("a") as lines:
        lines.write("Church bell&../../../secret&good&0&10\n")
    result = make("ave")
    assert counts(result) == {"train": 6, "val": 2, "test": 2}
    assert kinds(tmp_path) == {"outside the source": 2}  # its audio and its video


def test_food101_with_the_json_files_of_later_code(tmp_path, make):
    root = miniatures.food101(tmp_path / "source", ("apple_pie", "waffles"))
    (root / "texts/train_titles.csv").unlink()
    names = [f"{c}_{n}.jpg" for c in ("apple_pie", "waffles") for n in range(6)]
    tests = [f"{c}_{n}.jpg" for c in ("apple_pie", "waffles") for n in range(100, 103)]
    (root / "text.json").write_text(json.dumps({n: f"title of {n}" for n in names + tests[1:]}))
    (root / "split.json").write_text(json.dumps({"train": names[:9], "val": names[9:], "test": tests}))
    result = make("food101")
    assert counts(result) == {"train": 9, "val": 3, "test": 6}
    assert result.summary.splits["val"].paper is None
    assert kinds(tmp_path) == {"no text": 1}
    (root / "split.json").write_text(json.dumps({"train": names[:9], "dev": names[9:], "test": tests}))
    found = food101.read(root, Report(), Choice(), ("apple_pie", "waffles"))
    assert Counter(one.split for one in found) == {"train": 9, "val": 3, "test": 6}


def test_food101_with_decomposed_names(tmp_path, make):
    root = miniatures.food101(tmp_path / "source")
    folder = root / "images/train/crème_brûlée"
    for path in list(folder.iterdir()):
        path.rename(folder / unicodedata.normalize("NFD", path.name))
    result = make("food101", 'task.classes=["apple_pie", "crème_brûlée"]')
    assert counts(result) == {"train": 12, "test": 6}
    assert problems(tmp_path) == []


def test_mm_imdb(tmp_path, make):
    root = miniatures.mm_imdb(tmp_path / "source") / "dataset"
    change = {
        "0000001": {"plot outline": None, "plot": ["the first", "the second"]},
        "0000002": {"genres": ["News", "Talk-Show"]},
        "0000003": {"genres": ["Comedy", "Short", "Comedy", "Slapstick"]},
        "0000004": {"plot outline": " ", "plot": []},
    }
    for film, fields in change.items():
        record = json.loads((root / f"{film}.json").read_text())
        (root / f"{film}.json").write_text(json.dumps({**record, **fields}))
    (root / "0000005.jpeg").unlink()
    (root / "0000006.jpeg").rename(root / "0000006.JPEG")
    (root / "0000011.json").unlink()
    miniatures.write(root / "9999999.json", "{}")
    split = json.loads((root.parent / "split.json").read_text())
    split["test"] += ["0000021", "0000001"]
    (root.parent / "split.json").write_text(json.dumps(split))
    result = make("mm_imdb")
    assert counts(result) == {"train": 4, "val": 1, "test": 2}
    assert kinds(tmp_path) == {
        "no genre": 1,
        "unknown genre": 1,
        "no text": 1,
        "missing file": 2,
        "duplicate": 1,
        "in two splits": 1,
        "in no split": 1,
    }
    classes = load_recipe(shipped_recipes()["mm_imdb"]).task.classes
    train = by_key(samples(tmp_path, "train", "mm_imdb"), classes)
    assert train["0000001"][1]["text"] == b"the first"
    assert train["0000003"][0] == ["Comedy", "Short"]
    assert train["0000004"] == (["Drama"], {"image": miniatures.picture(3)})
    assert train["0000006"][1]["text"] == b"a town 5"


def test_kinetics_sound(tmp_path, make):
    root = miniatures.kinetics_sound(tmp_path / "source")
    names = [f"{v}_{s:06d}_{e:06d}" for _, v, s, e, _ in miniatures.kinetics_clips("train", 8)]
    guitar, tap = root / "train/playing_guitar", root / "train/tap_dancing"
    (guitar / f"{names[0]}.mp4").unlink()
    (tap / f"{names[1]}.mp4").write_bytes(miniatures.clip(sound=False))
    (guitar / f"{names[2]}.mp4").write_bytes(b"moov atom not found")
    (tap / f"{names[3]}.mp4").rename(tap / f"{names[3]}.mp4.MKV")
    (guitar / f"{names[4]}.mp4").write_bytes(b"broken, but replaced")
    miniatures.write(root / f"replacement/replacement_for_corrupted/{names[4]}.mp4", miniatures.clip())
    miniatures.write(root / "train/tap_dancing/abcdefghijk_000001_000011.mp4", miniatures.clip())
    annotations = root / "annotations/train.csv"
    first = annotations.read_text().splitlines()[6]
    annotations.write_text(annotations.read_text() + first + "\ntap dancing,short,x,y,train\n")
    with pytest.raises(U2AError, match=rf"{names[2]}\.mp4: audio: .*\n.*--on-error skip") as caught:
        make("kinetics_sound")
    assert len(str(caught.value).splitlines()) == 2
    assert not (tmp_path / "out").exists()
    result = make("kinetics_sound", on_error="skip")
    assert counts(result) == {"train": 6, "val": 2, "test": 4}
    assert result.summary.splits["train"].presence == {"audio + video": 5, "video": 1}
    assert kinds(tmp_path) == {
        "missing clip": 1,
        "duplicate file": 1,
        "clip without annotation": 1,
        "duplicate": 1,
        "odd line": 1,
        "undecodable": 1,
        "no audio": 1,
    }
    skipped = [json.loads(line) for line in (tmp_path / "out/skipped.jsonl").read_text().splitlines()]
    assert [(s["key"], s["split"], s["modality"]) for s in skipped] == [(names[2], "train", "audio")]
    classes = load_recipe(shipped_recipes()["kinetics_sound"]).task.classes
    train = by_key(samples(tmp_path, "train", "kinetics_sound"), classes)
    assert train[names[4]] == (["playing guitar"], {"audio": miniatures.clip(), "video": miniatures.clip()})
    assert (tmp_path / "out/train-000000.tar").read_bytes().count(miniatures.clip()) == 5  # stored once each


def test_of_two_annotations_of_a_clip_the_first_counts_and_labels_are_words(tmp_path):
    header = "label,youtube_id,time_start,time_end,split\n"
    (tmp_path / "val.csv").write_text(header + "tap_dancing,abcdefghijk,1,11,val\n")
    (tmp_path / "train.csv").write_text(header + "playing__guitar,abcdefghijk,1,11,train\n")
    report = Report()
    wanted, _ = kinetics_sound._annotations(tmp_path, report, ("playing guitar", "tap dancing"))
    assert wanted == {("abcdefghijk", 1, 11): ("train", "playing guitar")}
    assert report.counts() == {"conflict": 1}


def test_kinetics_sound_without_test_annotations(tmp_path, make):
    root = miniatures.kinetics_sound(tmp_path / "source")
    (root / "annotations/test.csv").unlink()
    assert counts(make("kinetics_sound")) == {"train": 8, "test": 2}
    assert kinds(tmp_path)["no test annotations"] == 1


def test_ave(tmp_path, make):
    base = miniatures.ave(tmp_path / "source") / "AVE_Dataset"
    (base / "AVE/-train_00001.mp4").unlink()
    (base / "AVE/-train_00002.mp4").rename(base / "AVE/-train_00002.MP4")
    (base / "AVE/-train_00003.mp4").write_bytes(miniatures.clip(sound=False))
    with open(base / "trainSet.txt", "a") as stream:
        stream.write("Church bell&-train_00002&good&0&10\nnonsense\n\nDogs&-train_00004&good&0&1\n")
    with open(base / "testSet.txt", "a") as stream:
        stream.write("Goat&-train_00004&good&0&10\n")
    with open(base / "Annotations.txt", "a") as stream:
        stream.write("Goat&-other_00000&good&0&10\n")
    result = make("ave")
    assert counts(result) == {"train": 5, "val": 2, "test": 3}
    assert kinds(tmp_path) == {
        "missing file": 2,  # the same file for both modalities
        "no audio": 1,
        "duplicate": 1,
        "odd line": 1,
        "unknown class": 1,
        "in two splits": 1,
        "in no split": 1,
    }
    classes = load_recipe(shipped_recipes()["ave"]).task.classes
    train = by_key(samples(tmp_path, "train", "ave"), classes)
    assert train["-train_00000 Church bell 0-10"][0] == ["Church bell"]
    assert train["-train_00000 Male speech, man speaking 2-7"][0] == ["Male speech, man speaking"]
    assert train["-train_00003"][1] == {"video": miniatures.clip(sound=False)}
    assert {"-train_00002", "-train_00004 Church bell 0-10"} <= train.keys()


def test_crema_d(tmp_path, make):
    root = miniatures.crema_d(tmp_path / "source")
    sound, film = root / "AudioWAV", root / "VideoFlash"
    (sound / "1001_DFA_ANG_XX.wav").unlink()
    (sound / "1002_DFA_ANG_XX.wav").rename(sound / "1002_DFA_ANG_XX.WAV")
    miniatures.write(sound / "1003_DFA_ANG_XX.wav", miniatures.tiny.sound_bytes(miniatures.tiny.tone(0.0)))
    for name in ("1004_DFA_ANG_XX.wav", "1004_DFA_ANG_XX.flv"):
        (sound if name.endswith("wav") else film).joinpath(name).unlink()
    miniatures.write(sound / "1076_MTI_SAD_XX.wav", b"")
    miniatures.write(film / "1076_MTI_SAD_XX.flv", miniatures.flash())
    miniatures.write(sound / "copy of 1005_DFA_ANG_XX.wav", miniatures.speech())
    with open(root / "SentenceFilenames.csv", "a") as stream:
        stream.write('"41","1076_MTI_SAD_XX"\n')
    result = make("crema_d")
    assert sum(counts(result).values()) == 39
    assert kinds(tmp_path) == {
        "missing file": 1,
        "missing clip": 1,
        "no audio": 2,
        "not a listed clip": 1,
    }
    classes = load_recipe(shipped_recipes()["crema_d"]).task.classes
    read = {}
    for name in ("train", "test"):
        read |= by_key(samples(tmp_path, name, "crema_d"), classes)
    assert read["1076_MTI_SAD_XX"] == (["SAD"], {"video": miniatures.flash()})
    assert read["1003_DFA_ANG_XX"] == (["ANG"], {"video": miniatures.flash()})
    assert read["1002_DFA_ANG_XX"] == (["ANG"], {"audio": miniatures.speech(1), "video": miniatures.flash()})


SENTENCES = ["dfa", "iom", "itd", "ith", "its", "iwl", "iww", "maa", "mti", "tai", "tie", "tsi", "wsi"][:11]
EMOTIONS = ["ang", "dis", "fea", "hap", "sad", "neu"]
TAKES = [
    *(f"{sentence}_{emotion}_xx" for sentence in SENTENCES for emotion in EMOTIONS),
    *(f"ieo_{emotion}_{level}" for emotion in EMOTIONS[:5] for level in ("lo", "md", "hi")),
    "ieo_neu_xx",
]
#: As many clips as CREMA-D has (20 of the takes were never recorded).
GRID = [f"{actor}_{take}" for actor in range(1001, 1092) for take in TAKES][20:]


def test_the_split_of_crema_d():
    by_sample = assign(GRID, Choice(0))
    assert Counter(by_sample.values()) == {"train": 6_698, "test": 744}
    assert assign(GRID[::-1], Choice(0)) == by_sample
    first = sorted(name for name in by_sample if by_sample[name] == "test")[:3]
    assert first == ["1001_its_sad_xx", "1001_iwl_fea_xx", "1001_iwl_hap_xx"]  # pinned for ever
    other = assign(GRID, Choice(1))
    assert Counter(other.values()) == Counter(by_sample.values())
    assert sum(other[name] == by_sample[name] == "test" for name in GRID) < 150  # 74 expected
    fewer = assign(GRID[50:], Choice(0))
    assert sum(fewer[name] != by_sample[name] for name in GRID[50:]) <= 5


def test_the_split_of_crema_d_by_speaker():
    by_speaker = assign(GRID, Choice(0, "speaker"))
    actors = {split: {n[:4] for n, s in by_speaker.items() if s == split} for split in ("train", "test")}
    assert not actors["train"] & actors["test"]
    pinned = "1010 1018 1020 1030 1034 1038 1039 1041 1084"
    assert " ".join(sorted(actors["test"])) == pinned
    assert assign(GRID, Choice(1, "speaker")) != by_speaker


def test_lost_files_do_not_move_the_split_of_crema_d(tmp_path, make):
    root = miniatures.crema_d(tmp_path / "source")
    make("crema_d")
    before = {name: set(by_key(samples(tmp_path, name, "crema_d"), ["x"] * 6)) for name in ("train", "test")}
    lost = sorted(before["test"])[0]
    (root / f"VideoFlash/{lost}.flv").unlink()
    make("crema_d")
    after = {name: set(by_key(samples(tmp_path, name, "crema_d"), ["x"] * 6)) for name in ("train", "test")}
    assert after == {"train": before["train"], "test": before["test"] - {lost}}


def test_what_cannot_be_prepared(tmp_path, make):
    with pytest.raises(U2AError, match="no such folder"):
        make("ave")
    (tmp_path / "source").mkdir()
    for name, reason in [
        ("food101", "has none of the folders images"),
        ("mm_imdb", "has none of the folders dataset, images"),
        ("kinetics_sound", "no annotation CSV file"),
        ("ave", "has none of the folders AVE"),
        ("crema_d", "has none of the folders AudioWAV"),
    ]:
        with pytest.raises(U2AError, match=reason):
            make(name)
    with pytest.raises(U2AError, match="cannot be split by speaker"):
        make("ave", choice=Choice(split_by="speaker"))
    with pytest.raises(U2AError, match="--seed would change nothing"):
        make("ave", choice=Choice(seed=1))
    assert not (tmp_path / "out").exists()


def test_git_lfs_pointers_are_told_from_broken_files(tmp_path, make):
    root = miniatures.crema_d(tmp_path / "source")
    (root / "AudioWAV/1001_DFA_ANG_XX.wav").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    with pytest.raises(U2AError, match="git lfs pull"):
        make("crema_d")


def test_a_second_run_changes_nothing(tmp_path, make):
    miniatures.mm_imdb(tmp_path / "source")
    first = make("mm_imdb", overwrite=False)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    second = make("mm_imdb", overwrite=False)
    assert (first.made, second.made) == (True, False)
    assert second.summary == first.summary
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == stamps
    (tmp_path / "out/train-000000.tar").unlink()
    with pytest.raises(U2AError, match="already holds a data set"):
        make("mm_imdb", overwrite=False)
    assert make("mm_imdb").made
    (tmp_path / "source/dataset/0000001.jpeg").write_bytes(miniatures.picture(9))
    with pytest.raises(U2AError, match="already holds a data set"):
        make("mm_imdb", overwrite=False)


def test_an_interrupted_run_goes_on(tmp_path, make):
    miniatures.crema_d(tmp_path / "source")
    expected = make("crema_d", shard_size=5).summary
    fingerprint = read_dataset(str(tmp_path / "out")).fingerprint
    (tmp_path / "out").rename(tmp_path / "first")

    def interrupt(done, total):
        if done == 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("crema_d", shard_size=5, progress=interrupt)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".out.packing").glob("*.tar")}
    assert len(kept) == 3
    result = make("crema_d", shard_size=5)
    assert result.summary == expected
    assert read_dataset(str(tmp_path / "out")).fingerprint == fingerprint
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.tar")}.items()


def test_the_command(tmp_path, checkpoints):
    assert tuple(DATA_SETS) == PUBLIC
    miniatures.ave(tmp_path / "source")
    sets = [part for value in miniatures.small("ave", checkpoints) for part in ("--set", value)]
    command = ["prepare", "ave", "--source", str(tmp_path / "source"), "--out", str(tmp_path / "out"), *sets]
    first = CliRunner().invoke(data, command)
    assert first.exit_code == 0, first.output
    lines = first.stdout.splitlines()
    assert lines[0] == f"wrote {tmp_path / 'out'}"
    assert lines[2].split() == ["train", "6", "3,339", "-3,333"]
    assert "audio + video" in lines[3]
    again = CliRunner().invoke(data, command)
    assert again.stdout.splitlines()[0] == f"complete already, nothing was changed: {tmp_path / 'out'}"
    assert again.stdout.splitlines()[1:] == lines[1:]
    assert (tmp_path / "out/classes.txt").read_text().splitlines()[0] == "Church bell"


ODD = {
    "another split": (
        "food101",
        "split.json",
        {"validation": []},
        "'validation' is not one of the lists",
    ),
    "a split that is a list": ("food101", "split.json", ["a_1.jpg"], "is not a JSON object"),
    "a split of lists": ("food101", "split.json", {"train": [["a_1.jpg"]]}, "train: .* is not a name"),
    "texts in a list": ("food101", "text.json", ["a"], "is not a JSON object"),
    "no list of films": (
        "mm_imdb",
        "split.json",
        {"train": None},
        "'train' is not one of the lists",
    ),
    "a film in a list": ("mm_imdb", "dataset/0000001.json", ["Drama"], "is not a JSON object"),
    "endless brackets": ("mm_imdb", "split.json", "[" * 100_000, "not JSON"),
    "an endless field": (
        "crema_d",
        "SentenceFilenames.csv",
        'Stimulus,Filename\n1,"' + "x" * 200_000,
        "not CSV",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_annotations_of_another_shape_are_told_in_one_line(tmp_path, make, odd, monkeypatch):
    name, file, content, message = ODD[odd]
    root = getattr(miniatures, name)(tmp_path / "source")
    if name == "food101":
        (root / "texts/train_titles.csv").unlink()
        for other in ("text.json", "split.json"):
            (root / other).write_text("{}")
    (root / file).write_text(content if isinstance(content, str) else json.dumps(content))
    before = csv.field_size_limit(131_072)  # the default, which other readers raise
    try:
        with pytest.raises(U2AError, match=message) as caught:
            make(name)
    finally:
        csv.field_size_limit(before)
    assert str(caught.value).startswith(f"{root / file}: ")
    assert "\n" not in str(caught.value)


def test_odd_values_in_annotations_are_counted(tmp_path, make):
    root = miniatures.kinetics_sound(tmp_path / "kinetics")
    with (root / "annotations/train.csv").open("a") as lines:
        lines.write("tap dancing,abcdefghijk,inf,10,train\ntap dancing,abcdefghijk,nan,10,train\n")
    (tmp_path / "kinetics").rename(tmp_path / "source")
    make("kinetics_sound")
    assert kinds(tmp_path)["odd line"] == 2
    (tmp_path / "source").rename(tmp_path / "kinetics")
    film = miniatures.mm_imdb(tmp_path / "source") / "dataset/0000001.json"
    film.write_text(json.dumps({**json.loads(film.read_text()), "genres": ["Drama", ["Comedy"], None]}))
    make("mm_imdb")
    assert kinds(tmp_path)["unknown genre"] == 2


def test_a_quote_that_is_never_closed_is_read_once():
    lines = ["apple_pie_1.jpg,plain,apple_pie", 'apple_pie_2.jpg,"open', *(f"line {n}" for n in range(200_000))]
    records = list(food101._logical_lines("\n".join(lines)))
    assert records == ["", lines[0], "\n".join(lines[1:])]
