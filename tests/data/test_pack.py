"""From a manifest to a data set in place: complete, reproducible, and never half replaced."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from u2a.cli.data import data
from u2a.data.packing.pack import pack_manifest
from u2a.data.reading.split import open_split, split_names
from u2a.data.shards.dataset import read_dataset
from u2a.errors import ShardError, U2AError
from u2a.recipe.file import load_recipe

RECIPE = """
name = "pets"
[data]
shards = "shards"
[task]
kind = "{kind}"
classes = ["cat", "dog", "owl"]
[modalities.image]
encoder = "tiny/vit"
[modalities.text]
encoder = "tiny/bert"
[training]
batch_size = 4
epochs = 6
lr = 1e-3
"""


@pytest.fixture
def source(tmp_path):
    """A folder with a recipe, files and a manifest of 7 samples in two splits."""
    (tmp_path / "pets.toml").write_text(RECIPE.format(kind="single_label"))
    rows = []
    for i in range(7):
        (tmp_path / f"{i}.png").write_bytes(b"\x89PNG" + bytes([i]) * (i + 1))
        row = {"key": f"pet.{i}", "split": "test" if i % 3 == 2 else "train", "label": ("cat", "dog")[i % 2]}
        row |= {"image": f"{i}.png"} if i != 3 else {}
        row |= {"text": f"größe {i}"} if i != 4 else {"text": None}
        rows.append(row)
    write(tmp_path, rows)
    return tmp_path


def write(folder, rows):
    (folder / "m.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def rows_of(folder):
    return [json.loads(line) for line in (folder / "m.jsonl").read_text().splitlines()]


def pack(folder, **more):
    return pack_manifest(load_recipe(folder / "pets.toml"), folder / "m.jsonl", folder / "shards", **more)


def opened(folder, split="train", **changes):
    usual = {"modalities": ("image", "text"), "classes": ("cat", "dog", "owl"), "multi_label": False}
    return open_split(str(folder / "shards"), split, **{**usual, **changes})


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_sample_is_read_back(source):
    summary = pack(source, shard_size=2)
    assert split_names(str(source / "shards")) == ["train", "test"]
    read = {}
    for name in ("train", "test"):
        split = opened(source, name, classes=("owl", "dog", "cat"), verify=True)
        assert len(split) == summary[name].samples
        for i in range(len(split)):
            present = [m for m, here in zip(split.modalities, split.present_NM[i], strict=True) if here]
            read[split.key(i)] = (name, split.labels(i), split.members(i, present))
    expected = {}
    for row in rows_of(source):
        members = {"image": (source / row["image"]).read_bytes()} if "image" in row else {}
        members |= {"text": row["text"].encode()} if row["text"] else {}
        expected[row["key"]] = (row["split"], ({"cat": 2, "dog": 1}[row["label"]],), members)
    assert read == expected


def test_dataset_json_and_summary(source):
    summary = pack(source, shard_size=2)
    found = read_dataset(str(source / "shards"))
    assert found.modalities == ("image", "text")
    assert found.task_kind == "single_label"
    assert [entry.samples for entry in found.splits["train"]] == [2, 2, 1]
    assert found.classes == {"cat": {"train": 3, "test": 1}, "dog": {"train": 2, "test": 1}}
    assert summary["train"].presence == {("image", "text"): 3, ("text",): 1, ("image",): 1}
    assert summary["train"].bytes == sum(entry.bytes for entry in found.splits["train"])
    listed = {f"{e.name}{x}" for s in found.splits.values() for e in s for x in ("", ".idx")}
    assert set(os.listdir(source / "shards")) == {"dataset.json", *listed}
    assert not [name for name in os.listdir(source) if name.startswith(".")]


def test_the_same_manifest_gives_the_same_bytes(source):
    pack(source, shard_size=2)
    first = content(source / "shards")
    os.utime(source / "0.png", (1, 1))
    pack(source, shard_size=2, overwrite=True)
    assert content(source / "shards") == first
    (source / "0.png").write_bytes(b"other")
    before = read_dataset(str(source / "shards")).fingerprint
    pack(source, shard_size=2, overwrite=True)
    assert read_dataset(str(source / "shards")).fingerprint != before


def test_a_file_named_for_two_modalities_is_stored_once(source):
    clip = b"ftypisom" + bytes(range(256)) * 9
    (source / "clip.mp4").write_bytes(clip)
    (source / "link.mp4").symlink_to("clip.mp4")
    audio_video = RECIPE.replace("[modalities.text]", "[modalities.audio]").replace(".image]", ".video]")
    (source / "pets.toml").write_text(audio_video.format(kind="multi_label"))
    cells = [("clip.mp4", "clip.mp4"), ("./clip.mp4", "link.mp4"), ("clip.mp4", None)]
    write(
        source,
        [
            {"key": f"c{i}", "split": "train", "video": v, "audio": a, "labels": ["owl", "cat"][:i]}
            for i, (v, a) in enumerate(cells)
        ],
    )
    pack(source)
    assert (source / "shards/train-000000.tar").read_bytes().count(clip) == 3
    split = opened(source, modalities=("audio", "video"), multi_label=True)
    assert split.present_NM.tolist() == [[True, True], [True, True], [False, True]]
    assert [split.members(i, ["audio", "video"]) for i in (0, 1)] == [{"audio": clip, "video": clip}] * 2
    assert [split.labels(i) for i in range(3)] == [(), (2,), (2, 0)]


def test_unlabelled_data_may_be_packed(source):
    write(source, [{"key": "a", "split": "new", "text": "x"}])
    assert pack(source)["new"].unlabelled == 1
    assert opened(source, "new", labelled=False).labels(0) == ()
    with pytest.raises(ShardError, match="'a': has no label"):
        opened(source, "new")


def test_all_faults_at_once_before_anything_is_written(source):
    rows = rows_of(source)
    rows += [
        {**rows[0], "split": "train"},
        {**rows[0], "split": "val"},
        {**rows[1], "key": "x", "label": "dgo"},
        {**rows[1], "key": "y", "label": None, "labels": ["cat", "dog"]},
        {**rows[1], "key": "z", "image": "none.png"},
    ]
    write(source, rows)
    with pytest.raises(U2AError) as caught:
        pack(source)
    manifest = source / "m.jsonl"
    assert str(caught.value).splitlines() == [
        f"{manifest}: line 8: key 'pet.0' is already on line 1",
        f"{manifest}: line 9: key 'pet.0' is already on line 1 (split 'train'; here 'val')",
        f"{manifest}: line 10: label 'dgo' is not one of the recipe's classes; did you mean 'dog'?",
        f"{manifest}: line 11: has 2 labels, but task.kind = single_label wants one",
        f"{manifest}: line 12: column 'image': none.png: no such file",
    ]
    assert not (source / "shards").exists()


def test_many_faults_of_a_kind_are_counted(source):
    rows = [{"key": f"{i}", "split": "train"} for i in range(500)]
    write(source, [*rows, {"key": "x", "split": "train", "text": "words", "label": "nothing"}])
    with pytest.raises(U2AError) as caught:
        pack(source)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[2].endswith("line 3: sample '2' has none of the modalities image, text (and 497 more lines "
                             "like this: 4, 5, 6, 7, 8, 9 ...)")  # fmt: skip
    assert "line 501: label 'nothing' is not" in lines[3]


def test_at_most_20_kinds_of_faults(source):
    words = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)]
    write(source, [{"key": w, "split": "train", "text": w, f"text{w}_path": 1, "label": w} for w in words])
    with pytest.raises(U2AError) as caught:
        pack(source)
    assert len(str(caught.value).splitlines()) <= 21


def test_an_empty_manifest(source):
    (source / "m.jsonl").write_text("\n\n")
    with pytest.raises(U2AError, match=r"m\.jsonl: holds no samples"):
        pack(source)


def test_what_may_be_written_over(source):
    out = source / "shards"
    out.mkdir()
    pack(source)
    before = content(out)
    with pytest.raises(U2AError, match="already holds a data set; give --overwrite"):
        pack(source)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(U2AError, match=r"--overwrite would delete 'notes\.txt'"):
        pack(source, overwrite=True)
    (out / "notes.txt").unlink()
    assert content(out) == before
    shutil.rmtree(out)
    out.mkdir()
    (out / "photo.jpg").write_text("mine")
    with pytest.raises(U2AError, match="not empty and holds no data set"):
        pack(source, overwrite=True)
    shutil.rmtree(out)
    out.write_text("a file")
    with pytest.raises(U2AError, match="is not a folder"):
        pack(source, overwrite=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_the_old_data_set_stays_until_the_new_one_is_complete(source, error):
    pack(source, shard_size=2)
    before = content(source / "shards")

    def fail(done, total):
        assert total == 7
        if done == 5:
            raise error

    expected = KeyboardInterrupt if error is KeyboardInterrupt else U2AError
    with pytest.raises(expected, match=None if error is KeyboardInterrupt else "No space left"):
        pack(source, shard_size=3, overwrite=True, progress=fail)
    assert content(source / "shards") == before
    assert [name for name in os.listdir(source) if name.startswith(".")] == [".shards.packing"]


def test_an_interrupted_packing_goes_on_from_its_finished_shards(source):
    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    pack(source, shard_size=2)
    expected = content(source / "shards")
    shutil.rmtree(source / "shards")
    with pytest.raises(KeyboardInterrupt):
        pack(source, shard_size=2, progress=interrupt)
    stage = source / ".shards.packing"
    finished = {path.name: path.stat().st_mtime_ns for path in stage.glob("*.tar")}
    assert sorted(finished) == ["train-000000.tar", "train-000001.tar"]
    (stage / ".half.part").write_bytes(b"x")
    pack(source, shard_size=2)
    made = {path.name: path.stat().st_mtime_ns for path in (source / "shards").glob("*.tar")}
    assert finished.items() <= made.items()
    assert content(source / "shards") == expected
    assert not stage.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_was_put_at_the_target_meanwhile_stays(source, overwrite):
    def put(done, total):
        if done == 5:
            (source / "shards").mkdir(exist_ok=True)
            (source / "shards/thesis.txt").write_text("mine")

    if overwrite:
        pack(source)
    with pytest.raises(U2AError, match=r"thesis\.txt|is not empty and holds no data set"):
        pack(source, shard_size=2, overwrite=overwrite, progress=put)
    assert (source / "shards/thesis.txt").read_text() == "mine"
    (source / "shards/thesis.txt").unlink()
    pack(source, shard_size=2, overwrite=overwrite)
    assert len(read_dataset(str(source / "shards")).splits["train"]) == 3


KILLED = """
import os, sys
from u2a.common import files
from u2a.data.packing.pack import pack_manifest
from u2a.recipe.file import load_recipe

def die_at(number, rename=os.rename):
    calls = []
    def renaming(*args):
        calls.append(args)
        if len(calls) == number:
            os._exit(9)
        rename(*args)
    return renaming

def dies_beside_the_target(path, sync_folder=files.sync_folder):
    sync_folder(path)
    if os.path.samefile(path, "."):
        os._exit(9)

os.rename = die_at(int(sys.argv[1]))
files.sync_folder = dies_beside_the_target
pack_manifest(load_recipe("pets.toml"), "m.jsonl", "shards", shard_size=2, overwrite=True)
"""


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_kill_while_the_data_set_is_put_in_place_loses_nothing(source, at):
    pack(source)
    result = subprocess.run([sys.executable, "-c", KILLED, str(at)], cwd=source, check=False)
    assert result.returncode == 9
    place = source / ("shards" if at == 3 else ".shards.packing")  # at 3 all was renamed
    finished = {path.name: path.stat().st_mtime_ns for path in place.glob("*.tar")}
    assert len(finished) == 4
    if at < 3:
        pack(source, shard_size=2, overwrite=True)
        made = {path.name: path.stat().st_mtime_ns for path in (source / "shards").glob("*.tar")}
        assert made == finished
    assert len(opened(source)) == 5
    pack(source, overwrite=True)  # what a kill left is no stranger
    assert set(os.listdir(source / "shards")) == {
        "dataset.json",
        *(f"{split}-000000.tar{end}" for split in ("train", "test") for end in ("", ".idx")),
    }


@pytest.mark.parametrize(
    "change", ["a file", "a file of its size", "a label", "a group", "the shard size", "a shard"]
)
def test_shards_of_another_plan_are_made_anew(source, change):
    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, shard_size=2, progress=interrupt)
    if change == "a file":
        (source / "0.png").write_bytes(b"another")
    if change == "a file of its size":
        (source / "0.png").write_bytes((source / "0.png").read_bytes()[::-1])
    if change in ("a label", "a group"):
        first, *others = rows_of(source)
        write(source, [first | ({"label": "owl"} if change == "a label" else {"group": "g"}), *others])
    if change == "a shard":
        shard = source / ".shards.packing/train-000000.tar"
        shard.write_bytes(shard.read_bytes()[:-512])
    pack(source, shard_size=3 if change == "the shard size" else 2)
    made = content(source / "shards")
    shutil.rmtree(source / "shards")
    pack(source, shard_size=3 if change == "the shard size" else 2)
    assert content(source / "shards") == made


def test_two_packings_at_once(source):
    def again(done, total):
        pack(source)

    with pytest.raises(U2AError, match="another process is packing it"):
        pack(source, progress=again)
    pack(source)


def test_a_file_that_vanishes_while_packing(source):
    def remove(done, total):
        if done == 1:
            (source / "5.png").unlink()

    with pytest.raises(U2AError, match=r"line 6: column 'image': 5\.png: no such file"):
        pack(source, progress=remove)
    assert not (source / "shards").exists()


def test_a_file_that_is_away_for_a_while_costs_no_sample(source):
    def away(done, total):
        if done == 1:
            (source / "1.png").rename(source / "away")

    pack(source, shard_size=2)
    expected = content(source / "shards")
    shutil.rmtree(source / "shards")
    with pytest.raises(U2AError, match=r"line 2: column 'image': 1\.png: no such file"):
        pack(source, shard_size=2, progress=away)
    (source / "away").rename(source / "1.png")
    pack(source, shard_size=2)
    assert content(source / "shards") == expected


def test_a_manifest_that_shrinks_while_packing(source):
    def shrink(done, total):
        if done == 1:
            write(source, rows_of(source)[:5])

    with pytest.raises(U2AError, match=r"split 'test' had 2 samples when it was read first and 1 now"):
        pack(source, progress=shrink)
    assert not (source / "shards").exists()


def test_a_folder_that_is_a_link(source):
    (source / "disk").mkdir()
    (source / "shards").symlink_to("disk")
    pack(source)
    assert (source / "shards").is_symlink()
    assert (source / "disk/dataset.json").exists()


def test_dataset_json_that_cannot_be_trusted(source):
    pack(source)
    path = source / "shards/dataset.json"
    good = json.loads(path.read_text())

    for change, reason in [
        ({"format": 2}, "dataset.json: not a data set of format 1: format"),
        ({"splits": {"train": [{**good["splits"]["train"][0], "name": "../x.tar"}]}}, "dataset.json: .*name"),
        ({"splits": {}}, "dataset.json: .*splits: .*at least 1 item"),
        ({"splits": {"train": []}}, r"dataset.json: .*splits\.train: .*at least 1 item"),
        ({"splits": {"train": [{**good["splits"]["train"][0], "sha256": "/tmp/x"}]}}, "dataset.json: .*sha256"),
        (
            {"splits": {"train": [{**good["splits"]["train"][0], "name": "lost-000000.tar"}]}},
            "lost-000000.tar: ",
        ),
        (
            {"splits": {"train": [{**good["splits"]["train"][0], "sha256": "0" * 64}]}},
            "dataset.json and .* disagree",
        ),
    ]:
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(ShardError, match=reason):
            opened(source)
    path.write_text("{")
    with pytest.raises(ShardError, match=r"dataset\.json: not a data set of format 1: file: Invalid JSON"):
        opened(source)
    path.unlink()
    with pytest.raises(ShardError, match=r"dataset\.json: No such file.*u2a data pack"):
        opened(source)


def test_the_command(source, monkeypatch):
    monkeypatch.chdir(source)
    command = ["pack", "pets.toml", "--manifest", "m.jsonl", "--shard-size", "2", "--no-check"]
    result = CliRunner().invoke(data, command)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"wrote {source / 'shards'}",
        "train: 5 samples, 0.0 MB",
        "         3  image + text",
        "         1  image",
        "         1  text",
        "test: 2 samples, 0.0 MB",
        "         2  image + text",
    ]
    assert "packed 7 of 7 samples" in result.stderr
    again = CliRunner().invoke(data, command)
    assert again.exit_code == 2
    assert again.stderr.startswith("error: ")
    assert "--overwrite" in again.stderr
    other = CliRunner().invoke(data, [*command, "--out", "other", "--set", 'task.classes=["cat","cow"]'])
    assert other.exit_code == 2
    assert "line 2: label 'dog' is not one of the recipe's classes" in other.stderr
    assert not (source / "other").exists()


def test_the_command_says_when_a_modality_never_occurs(source):
    rows = [{"bild" if name == "image" else name: v for name, v in row.items()} for row in rows_of(source)]
    write(source, [row for row in rows if row["text"]])
    result = CliRunner().invoke(
        data, ["pack", str(source / "pets.toml"), "--manifest", str(source / "m.jsonl"), "--no-check"]
    )
    assert result.exit_code == 0, result.output
    assert "note: no sample has 'image'" in result.stderr
