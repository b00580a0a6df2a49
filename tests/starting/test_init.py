"""``u2a init`` and ``u2a run`` on data as people have it: files made here, the real command."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from click.testing import CliRunner

from u2a.cli.main import main
from u2a.starting.divide import divide

PLOTS = ("the red boat number {} is at sea", "two friends find town {} old and small")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    for name in ("clip", "bert", "ast"):
        (folder / name).mkdir()
        tiny.SAVERS[name](folder / name)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoders: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "enc").symlink_to(encoders)
    return tmp_path


def u2a(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    return result.exit_code, result.output


def started(*words: str) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The recipe and the manifest's rows that a successful ``u2a init`` wrote, and what it printed."""
    code, said = u2a("init", *words)
    assert code == 0, said
    recipe = next(Path().glob("*.toml"))
    manifest = next(Path().glob("*.manifest.*"))
    rows = (
        pq.read_table(manifest).to_pylist()
        if manifest.suffix == ".parquet"
        else [json.loads(line) for line in manifest.read_text().splitlines()]
    )
    return tomllib.loads(recipe.read_text()), rows, said


def refused(*words: str) -> str:
    code, said = u2a("init", *words)
    assert code == 2, said
    assert not list(Path().glob("*.manifest.*"))
    return said


def picture(seed: int) -> bytes:
    return tiny.image_bytes(tiny.picture(40, 36, seed))


def films(folder: Path, count: int = 40) -> list[dict[str, Any]]:
    """Posters in a folder, and rows with a path, a text, a class and things that nobody can learn from."""
    (folder / "img").mkdir(parents=True)
    rows = []
    for i in range(count):
        (folder / f"img/p{i}.png").write_bytes(picture(i))
        plot = PLOTS[i % 2].format(i)
        rows.append(
            {"poster": f"img/p{i}.png", "plot": plot, "genre": ["drama", "war"][i % 2], "year": 1990 + i % 7}
        )
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]], separator: str = ",", encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def class_folders(root: Path, counts: dict[str, int], start: int = 0) -> None:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            start += 1
            (root / name / f"{i}.png").write_bytes(picture(start))


TABLES: dict[str, Callable[[Path, list[dict[str, Any]]], Any]] = {
    "films.csv": write_csv,
    "semicolons.csv": lambda path, rows: write_csv(path, rows, ";", "utf-8-sig"),
    "utf16.csv": lambda path, rows: write_csv(path, rows, encoding="utf-16"),
    "films.tsv": lambda path, rows: write_csv(path, rows, "\t"),
    "films.jsonl": lambda path, rows: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    "array.json": lambda path, rows: path.write_text(json.dumps(rows)),
    "films.parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_any_kind_gives_the_same_recipe_and_manifest(here: Path, name: str) -> None:
    rows = films(here / "data")
    TABLES[name](here / "data" / name, rows)
    recipe, samples, said = started(
        f"data/{name}", "--label", "genre", "--encoder", "poster=enc/clip", "--encoder", "text=enc/bert"
    )
    assert recipe["task"] == {"kind": "single_label", "classes": ["drama", "war"]}
    assert list(recipe["modalities"]) == ["poster", "plot"]
    assert recipe["modalities"]["poster"]["kind"] == "image"
    assert recipe["modalities"]["plot"] == {
        "kind": "text",
        "encoder": str((here / "enc/bert").resolve()),
        "max_length": 16,
    }
    assert [(s["poster_path"], s["plot"], s["label"]) for s in samples] == [
        (row["poster"], row["plot"], row["genre"]) for row in rows
    ]
    assert {(s["split"], s["label"]): n for s, n in ((s, 1) for s in samples)}.keys() == {
        (split, label) for split in ("train", "val", "test") for label in ("drama", "war")
    }
    assert "column 'year' (numbers) is left out" in said
    assert said.count("  u2a ") == 3


def test_class_folders_with_what_people_leave_in_them(here: Path) -> None:
    class_folders(here / "pets", {"cat": 12, "dog": 10, "newt": 1})
    (here / "pets/Thumbs.db").write_bytes(b"x")
    (here / "pets/cat/.DS_Store").write_bytes(b"x")
    (here / "pets/__MACOSX/cat").mkdir(parents=True)
    (here / "pets/__MACOSX/cat/._0.png").write_bytes(b"x")
    (here / "pets/@eaDir").mkdir()
    (here / "pets/@eaDir/0.png").write_bytes(picture(98))
    (here / "pets/dog/deeper").mkdir()
    (here / "pets/dog/deeper/x.png").write_bytes(picture(99))
    recipe, samples, _ = started("pets", "--encoder", "image=enc/clip")
    assert recipe["task"]["classes"] == ["cat", "dog", "newt"]
    assert Counter(s["label"] for s in samples) == {"cat": 12, "dog": 11, "newt": 1}
    assert next(s["split"] for s in samples if s["label"] == "newt") == "train"
    text = (here / "pets.toml").read_text()
    assert '"newt",  # 1  too few' in text.replace('"newt", ', '"newt", ')


def test_classes_that_differ_by_case_alone_are_told(here: Path) -> None:
    class_folders(here / "pets", {"cat": 6, "Cat": 5, "dog": 6})
    _, _, said = started("pets", "--encoder", "image=enc/clip")
    assert "classes that differ by case alone, and count as several: 'Cat' and 'cat'\n" in said


def test_files_of_one_name_are_one_sample_if_different_plugins_read_them(here: Path) -> None:
    for label in ("a", "b"):
        (here / "both" / label).mkdir(parents=True)
        for i in range(8):
            (here / "both" / label / f"{i}.png").write_bytes(picture(i + 10 * (label == "a")))
            (here / "both" / label / f"{i}.txt").write_text(f"red boat {label} {i}")
    (here / "both/a/0.jpg").write_bytes(tiny.image_bytes(tiny.picture(40, 36, 77), "JPEG"))
    recipe, samples, said = started("both", "--encoder", "image=enc/clip", "--encoder", "text=enc/bert")
    assert set(recipe["modalities"]) == {"image", "text"}
    whole = [s for s in samples if {"image_path", "text_path"} <= s.keys()]
    assert len(whole) == len(samples) == 16
    assert samples[0]["key"] == "a/0"
    assert samples[0]["image_path"] == "a/0.jpg"
    assert "modality image: 1 files are not read for it, whose samples have another (a/0.png)" in said


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "dev", "testing"), ("train", "test")])
def test_folders_of_splits_are_no_classes(here: Path, names: tuple[str, ...]) -> None:
    for place, name in enumerate(names):
        class_folders(here / "unpacked/pets" / name, {"cat": 4, "dog": 3}, start=100 * place)
    recipe, samples, _ = started("unpacked", "--encoder", "image=enc/clip")
    assert recipe["task"]["classes"] == ["cat", "dog"]
    assert Counter(s["split"] for s in samples) == dict.fromkeys(
        ("train", "val", "test") if len(names) == 3 else ("train", "test"), 7
    )
    assert ("holdout" in recipe["data"]) == (len(names) == 2)


def test_splits_without_class_folders_are_refused(here: Path) -> None:
    for split in ("train", "test"):
        (here / "flat" / split).mkdir(parents=True)
        (here / "flat" / split / "1.png").write_bytes(picture(1))
    assert "holds no class folders" in refused("flat")


def hf_table(rows: list[dict[str, Any]]) -> pa.Table:
    """As ``datasets`` writes: pictures as structs of bytes, class names in the schema."""
    features = {"image": {"_type": "Image"}, "label": {"names": ["bean", "leaf"], "_type": "ClassLabel"}}
    table = pa.Table.from_pylist(rows)
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def hf_rows(start: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "image": {"bytes": picture(start + i), "path": f"{i}.png"},
            "caption": PLOTS[i % 2].format(i),
            "label": i % 2,
        }
        for i in range(count)
    ]


def write_arrow(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("layout", ["saved_dict", "saved", "cache", "parquet", "file"])
def test_datasets_of_hugging_face(here: Path, layout: str) -> None:
    root = here / "beans"
    root.mkdir()
    source = "beans"
    if layout == "saved_dict":
        for split, start in (("train", 0), ("validation", 50), ("test", 90)):
            (root / split).mkdir()
            write_arrow(root / split / "data-00000-of-00001.arrow", hf_table(hf_rows(start, 12)))
            write_arrow(root / split / "cache-1f.arrow", hf_table(hf_rows(500, 3)))
            state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
            (root / split / "state.json").write_text(json.dumps(state))
        (root / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    elif layout == "saved":
        write_arrow(root / "data-00000-of-00002.arrow", hf_table(hf_rows(0, 20)))
        write_arrow(root / "data-00001-of-00002.arrow", hf_table(hf_rows(20, 16)))
    elif layout == "cache":
        for split, start in (("train", 0), ("validation", 50), ("test", 90)):
            write_arrow(root / f"beans-{split}.arrow", hf_table(hf_rows(start, 12)))
    elif layout == "parquet":
        (root / "data").mkdir()
        for split, start in (("train", 0), ("validation", 50), ("test", 90)):
            pq.write_table(hf_table(hf_rows(start, 12)), root / f"data/{split}-00000-of-00001.parquet")
    else:
        pq.write_table(hf_table(hf_rows(0, 36)), root / "all.parquet")
        source = "beans/all.parquet"
    recipe, samples, said = started(source, "--encoder", "image=enc/clip", "--encoder", "caption=enc/bert")
    assert recipe["task"]["classes"] == ["bean", "leaf"]
    assert len(samples) == 36
    assert set(recipe["modalities"]) == {"image", "caption"}
    counts = Counter(s["split"] for s in samples)
    if layout in ("saved", "file"):
        assert counts["train"] > 20
        assert set(counts) == {"train", "val", "test"}
    else:
        assert counts == {"train": 12, "val": 12, "test": 12}
    words = next(line for line in said.splitlines() if "data pack" in line).split()[1:]
    code, packed = u2a(*words)
    assert code == 0, packed


def test_metadata_beside_files(here: Path) -> None:
    for split in ("train", "test"):
        (here / "audio" / split).mkdir(parents=True)
        rows = []
        for i in range(6):
            wave = tiny.tone(0.5, hertz=200 + 30 * i + (split == "test"))
            (here / "audio" / split / f"{i}.wav").write_bytes(tiny.sound_bytes(wave))
            rows.append({"file_name": f"{i}.wav", "label": "ab"[i % 2]})
        write_csv(here / "audio" / split / "metadata.csv", rows)
    recipe, samples, _ = started("audio", "--encoder", "audio=enc/ast")
    assert list(recipe["modalities"]) == ["audio"]
    assert samples[0]["audio_path"] == "test/0.wav"
    assert Counter(s["split"] for s in samples) == {"train": 6, "test": 6}


def test_a_film_with_sound_is_two_modalities_and_one_without_lacks_the_sound(here: Path) -> None:
    (here / "clips/x").mkdir(parents=True)
    (here / "clips/y").mkdir()
    for i in range(6):
        sound = None if i == 1 else tiny.tone(0.5, hertz=200 + 40 * i)
        data = tiny.clip_bytes(tiny.numbered_frames(6 + i), sound)
        (here / "clips" / "xy"[i % 2] / f"{i}.mp4").write_bytes(data)
    recipe, samples, _ = started("clips", "--encoder", "audio=enc/ast", "--encoder", "video=enc/clip")
    assert set(recipe["modalities"]) == {"audio", "video"}
    assert sum("audio_path" in s for s in samples) == 5
    assert sum("video_path" in s for s in samples) == 6


@pytest.mark.parametrize(
    "spelt", ["{}", "img\\p{}.png", "/home/alice/old place/p{}.png", "P{}.PNG", "p{}", "file://img/p{}.png"]
)
def test_files_are_found_the_way_people_write_them(here: Path, spelt: str) -> None:
    rows = films(here / "data")
    for i, row in enumerate(rows):
        row["poster"] = f"img/p{i}.png" if spelt == "{}" else spelt.format(i)
    write_csv(here / "data/films.csv", rows)
    _, samples, _ = started(
        "data/films.csv", "--label", "genre", "--encoder", "poster=enc/clip", "--encoder", "text=enc/bert"
    )
    assert [s["poster_path"] for s in samples] == [f"img/p{i}.png" for i in range(len(rows))]


def test_paths_never_leave_the_folder(here: Path) -> None:
    rows = films(here / "data")
    (here / "secret.png").write_bytes(picture(5))
    rows[3]["poster"] = "../secret.png"
    write_csv(here / "data/films.csv", rows)
    said = refused(
        "data/films.csv", "--label", "genre", "--encoder", "poster=enc/clip", "--encoder", "text=enc/bert"
    )
    assert "line 5: column 'poster': '../secret.png': no such file" in said


REFUSED = {
    "no label": (lambda r: [r.pop("genre"), r.pop("year")], [], "which column is to be predicted"),
    "two may be it": (
        lambda r: r.update(mood="sad" if r["genre"] == "war" else "odd"),
        [],
        "'genre' and 'year' and 'mood'",
    ),
    "a quantity": (
        lambda r: r.update(score=float(r["poster"][5:-4]) + 0.5),
        ["--label", "score"],
        "not quantities",
    ),
    "one class": (lambda r: r.update(genre="war"), ["--label", "genre"], "two classes are needed"),
    "files elsewhere": (
        lambda r: r.update(poster="x/" + r["poster"][5:] + ".png"),
        ["--label", "genre"],
        "--root DIR",
    ),
    "multi-hot": (
        lambda r: r.update(genre=f"[{int(r['genre'] == 'war')}, 1, 0]"),
        ["--label", "genre"],
        "holds vectors of zeros and ones, which do not say how their classes are called",
    ),
    "no such column": (lambda r: None, ["--label", "genres"], "has no column 'genres'"),
    "odd encoder": (lambda r: None, ["--label", "genre", "--encoder", "sound=x"], "no such modality"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_decided_is_asked(here: Path, case: str) -> None:
    change, words, expected = REFUSED[case]
    rows = films(here / "data")
    for row in rows:
        change(row)
    if case == "files elsewhere":
        shutil.rmtree(here / "data/img")
    write_csv(here / "data/films.csv", rows)
    assert expected in refused("data/films.csv", *words)


def test_a_column_that_says_the_label_again_is_no_modality(here: Path) -> None:
    rows = films(here / "data")
    for row in rows:
        row["said"] = f"this is a {row['genre']} film"
        row["label"] = int(row.pop("genre") == "war")
    write_csv(here / "data/films.csv", rows)
    recipe, _, said = started("data/films.csv", "--encoder", "poster=enc/clip", "--encoder", "plot=enc/bert")
    assert list(recipe["modalities"]) == ["poster", "plot"]
    assert "--label said" in said


def test_ids_that_files_are_called_by_are_no_second_modality(here: Path) -> None:
    rows = films(here)
    for number, row in enumerate(rows):
        row["code"] = f"film-{number:03d}"
        (here / row["poster"]).rename(here / f"{row['code']}.jpg")
        row["poster"] = "" if number == 7 else f"{row['code']}.jpg"
    (here / "film-007.jpg").unlink()
    write_csv(here / "films.csv", [dict(code=row.pop("code"), **row) for row in rows])
    recipe, found, said = started("films.csv", "--label", "genre")
    assert list(recipe["modalities"]) == ["poster", "plot"]
    assert "column 'code' names the files of 'poster' and is left out" in said
    assert [row.get("poster_path", "") for row in found] == [row["poster"] for row in rows]


@pytest.mark.parametrize("name", ["code", "id"])
def test_ids_name_files_of_several_kinds(here: Path, name: str) -> None:
    rows = films(here)
    (here / "sounds").mkdir()
    for number in (30, 31, 32):
        (here / f"img/{number}.png").write_bytes(picture(number))
    for number, row in enumerate(rows):
        row[name] = 1000 + number
        row["age"] = 30 + number % 3  # an amount, though files are called so
        (here / row.pop("poster")).rename(here / f"img/{row[name]}.png")
        if number != 7:
            (here / f"sounds/{row[name]}.wav").write_bytes(tiny.sound_bytes(tiny.tone(hertz=200.0 + number)))
    write_csv(here / "films.csv", rows)
    recipe, found, said = started("films.csv", "--label", "genre")
    assert set(recipe["modalities"]) == {"plot", "image", "audio"}
    assert f"files are called by column {name!r}: *.png 40, *.wav 39 of 40 samples" in said
    assert [row["image_path"] for row in found] == [f"img/{row[name]}.png" for row in rows]
    assert [n for n, row in enumerate(found) if "audio_path" not in row] == [7]


def test_several_labels_a_sample(here: Path) -> None:
    rows = films(here / "data")
    for i, row in enumerate(rows):
        row["genres"] = "Drama, War" if i % 3 == 0 else ["Drama", "War"][i % 2]
        del row["genre"]
    write_csv(here / "data/films.csv", rows)
    recipe, samples, _ = started("data/films.csv", "--encoder", "poster=enc/clip", "--encoder", "text=enc/bert")
    assert recipe["task"] == {"kind": "multi_label", "classes": ["Drama", "War"]}
    assert samples[0]["labels"] == ["Drama", "War"]


def test_nothing_that_is_there_is_written_over(here: Path) -> None:
    class_folders(here / "pets", {"cat": 3, "dog": 3})
    started("pets", "--encoder", "image=enc/clip")
    (here / "pets.toml").write_text("mine")
    code, said = u2a("init", "pets", "--encoder", "image=enc/clip")
    assert code == 2
    assert "exists already" in said
    assert (here / "pets.toml").read_text() == "mine"


def test_twins_and_groups_are_never_parted(here: Path) -> None:
    rows = films(here / "data", 60)
    for i in range(0, 60, 6):  # the same poster under another name, in another group
        (here / f"data/img/p{i + 3}.png").write_bytes((here / f"data/img/p{i}.png").read_bytes())
    for i, row in enumerate(rows):
        row["director"] = f"d{i // 3}"
    write_csv(here / "data/films.csv", rows)
    options = ("--label", "genre", "--encoder", "poster=enc/clip", "--encoder", "text=enc/bert")
    _, samples, _ = started("data/films.csv", *options, "--group", "director")
    by_group, by_file = defaultdict(set), defaultdict(set)
    for sample in samples:
        by_group[sample["group"]].add(sample["split"])
        by_file[(here / "data" / sample["poster_path"]).read_bytes()].add(sample["split"])
    assert all(len(splits) == 1 for splits in (*by_group.values(), *by_file.values()))
    assert len(set.union(*by_group.values())) == 3
    first = (here / "films.manifest.jsonl").read_bytes()
    started("data/films.csv", *options, "--group", "director", "--overwrite")
    assert (here / "films.manifest.jsonl").read_bytes() == first
    started("data/films.csv", *options, "--group", "director", "--overwrite", "--seed", "1")
    assert (here / "films.manifest.jsonl").read_bytes() != first


@pytest.mark.parametrize("counts", [(500, 300, 100), (90, 10, 4), (40, 3, 2), (7, 7, 7), (30, 1, 1), (2, 2, 1)])
def test_a_division_keeps_shares_of_every_class(counts: tuple[int, ...]) -> None:
    labels = [(str(c),) for c, n in enumerate(counts) for _ in range(n)]
    found = divide(labels, [[i] for i in range(len(labels))], seed=3)
    held = Counter(zip(found, (one[0] for one in labels), strict=True))
    assert set(found) == {"train", "val", "test"}
    for label, n in enumerate(counts):
        for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
            assert abs(held[split, str(label)] - share * n) < 2
        assert held["train", str(label)] >= min(n, 1)


def test_run_goes_from_files_to_a_report_and_goes_on_after_a_stop(here: Path) -> None:
    rows = films(here / "my data")
    write_csv(here / "my data/films.csv", rows)
    words = [
        "run",
        "my data/films.csv",
        "--label",
        "genre",
        "--encoder",
        "poster=enc/clip",
        "--encoder",
        "text=enc/bert",
    ]
    words += ["--set", "training.epochs=1", "--set", "data.workers=0"]
    code, said = u2a(*words)
    assert code == 0, said
    assert [line[:4] for line in said.splitlines() if line[1:3] == "/5"] == [
        "1/5 ",
        "2/5 ",
        "3/5 ",
        "4/5 ",
        "5/5 ",
    ]
    assert (here / "runs/films/report/index.html").exists() or list((here / "runs/films").rglob("*.html"))
    steps = (here / "runs/films/metrics.jsonl").read_bytes()
    code, said = u2a(*words)
    assert code == 0, said
    assert "used as it is" in said
    assert (here / "runs/films/metrics.jsonl").read_bytes() == steps
