"""Streaming without an index: trains, and what webdataset would swallow stops it by name."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import toys
from servers import WebServer

from u2a.common import remote
from u2a.common.distributed import World
from u2a.data.feeding import stream
from u2a.data.feeding.batches import Batch, unwrap
from u2a.errors import RecipeError, U2AError
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
STREAM = ["data.streaming=true", "data.samples_per_epoch=24", "training.modality_dropout=random"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    """Six shards of four samples, some incomplete, and an indexed test split; no index beside the others."""
    recipe = toys.make(
        tmp_path_factory.mktemp("stream"),
        checkpoints,
        counts={"train": 24, "test": 8},
        presence=lambda i: (i % 5 != 1, i % 5 != 2),
        shard_size=4,
    )
    for path in (recipe.parent / "shards").glob("train*.idx"):
        path.unlink()
    return recipe


def trainer(toy: Path, run: Path, *sets: str) -> Trainer:
    recipe = load_recipe(toy, [*STREAM, *sets])
    made = Trainer(recipe, Run(run), ALONE)
    made.run.create(recipe)
    return made


def keys(made: Trainer, first: int, count: int) -> list[str]:
    batches = itertools.islice(made.data.loader(first, 0), count)
    return [key for batch in batches for key in unwrap(batch).keys]


def test_a_pass_reads_every_sample_once_and_each_pass_and_resume_another_order(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BUFFER", 1)
    made = trainer(toy, tmp_path / "run")
    read = keys(made, 0, 6)
    everything = [f"train-{i}" for i in range(24)]
    assert sorted(read[:24]) == sorted(read[24:]) == sorted(everything)
    assert read[:24] != read[24:] != everything
    assert keys(made, 0, 6) == read
    assert keys(made, 3, 6) != read


def test_samples_of_different_shards_are_mixed_as_the_seed_says(toy: Path, tmp_path: Path) -> None:
    read = keys(trainer(toy, tmp_path / "run"), 0, 3)
    shards = [int(key.split("-")[1]) // 4 for key in read]
    assert any(len(set(shards[i : i + 4])) > 1 for i in range(0, 24, 4))
    assert keys(trainer(toy, tmp_path / "other", "seed=1"), 0, 3) != read


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_shards_is_drawn_from_the_seed(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(stream, "BUFFER", 1)
    read = [keys(trainer(toy, tmp_path / str(s), f"seed={s}"), 0, 3) for s in (0, seed)]
    assert read[0] != read[1]


def test_targets_are_the_recipes_classes_in_its_order(toy: Path, tmp_path: Path) -> None:
    for batch in itertools.islice(trainer(toy, tmp_path / "run").data.loader(0, 0), 3):
        wanted = [int(key.split("-")[1]) % 4 for key in unwrap(batch).keys]
        assert unwrap(batch).target.tolist() == wanted


def test_augmentation_is_drawn_anew_in_every_step(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BUFFER", 1)  # else a step may hold a sample twice

    def seeds(run: str, *sets: str) -> list[int]:
        made, drawn = trainer(toy, tmp_path / run, "training.modality_dropout=off", *sets), []
        inner = made.data.preprocessors["text"]

        class Spy:
            collate = staticmethod(inner.collate)

            def __call__(self, member: bytes, *, train: bool, seed: int) -> object:
                assert train
                drawn.append(seed)
                return inner(member, train=train, seed=seed)

        made.data.preprocessors["text"] = Spy()
        assert len(keys(made, 0, 9)) == 72  # three passes
        return drawn

    first = seeds("first")
    assert len(set(first)) == len(first) > 48
    assert seeds("again") == first
    assert not set(seeds("other", "seed=1")) & set(first)


def test_streaming_trains_with_and_without_workers(toy: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        run = tmp_path / f"run{workers}"
        trainer(toy, run, f"data.workers={workers}", "training.accumulation=2").fit()
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if line["type"] == "train"] == [1, 2, 3, 4, 5, 6]


def test_dropout_is_one_draw_a_step(toy: Path, tmp_path: Path) -> None:
    from u2a.method.selection import draw_kept

    made = trainer(toy, tmp_path / "run", "training.accumulation=2", "data.workers=2")
    dropped = set()
    for n, batch in enumerate(itertools.islice(made.data.loader(5, 0), 16)):
        kept = draw_kept(2, 0, 5 + n // 2)
        assert len(unwrap(batch).keys) == 4  # half of a step
        for present in unwrap(batch).present_BM.tolist():
            assert sum(present)
            if sum(present) == 2:
                assert all(kept)
        dropped.add(kept)
    assert len(dropped) > 1


def test_a_sample_of_other_modalities_alone_is_left_out(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BUFFER", 1)
    text = toy.read_text()
    pictures = toy.with_name("pictures.toml")
    pictures.write_text(re.sub(r"\[modalities.text\][^\[]*", "", text))
    read = keys(trainer(pictures, tmp_path / "run", "training.modality_dropout=off"), 0, 2)
    assert len(set(read)) == 16
    assert not {f"train-{i}" for i in range(1, 24, 5)} & set(read)


def test_a_head_start_sees_a_streams_samples_as_they_are(toy: Path, tmp_path: Path) -> None:
    """Without modality dropout, and without augmentation."""
    made = trainer(toy, tmp_path / "run")
    inner, trained, seen = made.data.preprocessors["image"], [], {}

    class Spy:
        collate = staticmethod(inner.collate)

        def __call__(self, member: bytes, *, train: bool, seed: int) -> object:
            trained.append(train)
            return inner(member, train=train, seed=seed)

    def columns(model: object, batch: Batch) -> tuple[torch.Tensor, ...]:
        seen.update(zip(batch.keys, batch.present_BM.tolist(), strict=True))
        return ()

    made.data.preprocessors["image"] = Spy()
    made.data.encode_training(made.model, columns, 24)
    assert len(seen) > 8
    assert seen == {key: [int(key[6:]) % 5 != 1, int(key[6:]) % 5 != 2] for key in seen}
    assert set(trained) == {False}


def damaged(toy: Path, folder: Path, how: str) -> Path:
    shutil.copytree(toy.parent / "shards", folder)
    path = folder / "train-000002.tar"
    with tarfile.open(path) as tar:
        members = [(info.name, tar.extractfile(info).read()) for info in tar]
        last = max(info.offset for info in tar.getmembers())
    if how == "cut between members":
        path.write_bytes(path.read_bytes()[:last])
        return path
    if how == "scattered":
        members = members[1:3] + members[4:] + members[:1]
    elif how == "twice":
        members = [*members, members[-1]]
    elif how == "lost":
        members = [
            (name, data)
            for name, data in members
            if not name.startswith(members[0][0].split(".")[0]) or name.endswith("json")
        ]
    elif how == "pickle":
        members = [*members[:1], (members[0][0].split(".")[0] + ".pyd", b"cos\nsystem\n"), *members[1:]]
    elif how == "copied from elsewhere":
        members = [*members[:-1], (members[-1][0], members[-1][1] + b" ")]
    elif how == "label":
        members = [(name, data.replace(b'"label":"sea"', b'"label":"lake"')) for name, data in members]
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    if how == "label":  # as it was packed
        listed, before = folder / "dataset.json", toy.parent / "shards" / path.name
        hashes = [hashlib.sha256(one.read_bytes()).hexdigest() for one in (before, path)]
        listed.write_text(listed.read_text().replace(*hashes))
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut between members", "truncated"),
        ("scattered", "not next to"),
        ("twice", "twice"),
        ("lost", "is lost"),
        ("pickle", "pyd"),
        ("label", "label 'lake' is not one of the recipe's classes"),
        ("copied from elsewhere", "is not the shard that dataset\\.json lists"),
    ],
)
def test_damage_stops_the_training_by_name(toy: Path, tmp_path: Path, how: str, message: str) -> None:
    path = damaged(toy, tmp_path / "shards", how)
    made = trainer(toy, tmp_path / "run", f"data.shards={path.parent}", "data.workers=1")
    with pytest.raises(U2AError, match=message) as caught:
        made.fit()
    assert "train-000002.tar" in str(caught.value)
    assert (tmp_path / "run/checkpoints/LAST").exists()


def test_fewer_shards_than_readers_is_told_and_does_not_hang(toy: Path, tmp_path: Path) -> None:
    shards = f'data.shards={{train=["{toy.parent}/shards/train-000000.tar"]}}'
    made = trainer(toy, tmp_path / "run", shards, "data.workers=2")
    with pytest.raises(U2AError, match=r"1 shards cannot be streamed by 2 processes"):
        made.fit()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["data.streaming=true", "training.modality_dropout=off"], r"data\.samples_per_epoch: is required"),
        ([*STREAM, "data.samples_per_epoch=7"], "less than the batch size"),
        ([*STREAM, "data.holdout=0.1"], r"data\.holdout: needs an index"),
        ([*STREAM, "data.missing.rate=0.5"], r"data\.missing: a table for train needs an index"),
        ([*STREAM, "training.modality_dropout=auto"], "a stream cannot tell in advance"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(toy: Path, tmp_path: Path, sets: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Trainer(load_recipe(toy, sets), Run(tmp_path), ALONE)


def test_a_server_that_dies_and_returns_costs_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(remote, "LONGEST_WAIT", 0.1)
    monkeypatch.setattr(stream, "BUFFER", 1)
    server = WebServer(toy.parent / "shards")
    made = trainer(toy, tmp_path / "run", f"data.shards={server.url}")
    local = trainer(toy, tmp_path / "local")
    batches, read = iter(made.data.loader(0, 0)), []
    for n in range(6):
        if n == 2:
            server.stop()
            back = threading.Timer(0.5, server.start)
            back.start()
        server.cut_next = int(n == 4)
        read += unwrap(next(batches)).keys
    back.join()
    server.stop()
    assert read == keys(local, 0, 6)


@pytest.fixture
def server(toy: Path) -> Iterator[WebServer]:
    made = WebServer(toy.parent / "shards")
    yield made
    made.stop()


def signed(server: WebServer, signature: str) -> str:
    return f'data.shards={{train=["{server.url}/train-{{000000..000005}}.tar?signature={signature}"]}}'


def test_a_run_resumes_from_addresses_that_were_signed_again(
    toy: Path, server: WebServer, tmp_path: Path
) -> None:
    made = trainer(toy, tmp_path / "run", signed(server, "a"))
    made.fit()
    again = Trainer(load_recipe(toy, [*STREAM, signed(server, "b")]), Run(tmp_path / "run"), ALONE)
    again.resume()
    assert again.done == made.done
    fewer = signed(server, "a").replace("000005", "000004")
    other = Trainer(load_recipe(toy, [*STREAM, fewer]), Run(tmp_path / "run"), ALONE)
    with pytest.raises(U2AError, match="data"):
        other.resume()


def test_shards_pass_through_the_cache_folder_and_its_faults_are_told(
    toy: Path, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def full(address: str, target: Path) -> None:
        seen.append(target)
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "cache"
    sets = [signed(server, "secret"), f"data.cache_dir={folder}"]
    made = trainer(toy, tmp_path / "run", *sets)
    monkeypatch.setattr(stream, "download", full)
    with pytest.raises(
        U2AError, match=rf"^{folder}: cannot hold .*\.tar: No space left .* data\.cache_dir"
    ) as caught:
        made.fit()
    assert "secret" not in str(caught.value)
    assert [target.parent for target in seen] == [folder]
    assert list(folder.iterdir()) == []
    monkeypatch.undo()
    trainer(toy, tmp_path / "workers", *sets, "data.workers=1").fit()
    assert list(folder.iterdir()) == []
    folder.rmdir()
    folder.write_text("a file")
    with pytest.raises(U2AError, match=rf"^{folder}: cannot hold"):
        trainer(toy, tmp_path / "other", *sets).fit()
