"""Shards from servers: the same losses as from local ones, whatever cache and server do meanwhile."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import toys
from servers import WebServer, object_store

from u2a.common import remote
from u2a.common.distributed import World
from u2a.common.files import sha256_file, write_text
from u2a.common.remote import beside, fetch, fetch_range, show
from u2a.data.feeding.plan import TrainingPlan
from u2a.data.feeding.prefetch import upcoming
from u2a.data.reading.split import Split, open_split
from u2a.data.shards.dataset import Shards
from u2a.data.storage import cache as cache_module
from u2a.data.storage.cache import Cache, RemoteShard
from u2a.errors import ShardError, U2AError
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer

JOB = Path(__file__).parents[1] / "cache_job.py"
ANNA, BERT, GROUP = 54_321, 54_322, 54_320
ALONE = World(0, 1, 0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 40, "test": 8}
    return toys.make(tmp_path_factory.mktemp("remote"), checkpoints, counts=counts, shard_size=4)


@pytest.fixture
def server(toy: Path) -> Iterator[WebServer]:
    made = WebServer(toy.parent / "shards")
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "RETRY_SECONDS", 20.0)
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(remote, "LONGEST_WAIT", 0.1)


def opened(shards: Shards, cache: Cache | None = None) -> Split:
    return open_split(
        shards, "train", modalities=("image", "text"), classes=toys.WORDS, multi_label=False, cache=cache
    )


def shard_bytes(toy: Path) -> int:
    return (toy.parent / "shards/train-000000.tar").stat().st_size


def gigabytes(shards: float, toy: Path) -> str:
    return f"data.cache_gb={shards * shard_bytes(toy) / 1e9:.9f}"


def trainer(toy: Path, run: Path, *sets: str) -> Trainer:
    recipe = load_recipe(toy, sets)
    made = Trainer(recipe, Run(run), ALONE)
    made.run.create(recipe)
    return made


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["type"] == "train"]


@pytest.fixture(scope="module")
def expected(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    run = tmp_path_factory.mktemp("local") / "run"
    trainer(toy, run).fit()
    found = losses(run)
    assert len(found) == 10
    assert len(set(found)) == 10
    return found


@pytest.mark.parametrize(("room", "workers"), [(0.5, 0), (3, 0), (3, 1), (100, 0)])
def test_losses_do_not_depend_on_the_cache(
    toy: Path, server: WebServer, expected: list[float], tmp_path: Path, room: float, workers: int
) -> None:
    sets = [f"data.shards={server.url}", f"data.cache_dir={tmp_path / 'cache'}", gigabytes(room, toy)]
    trainer(toy, tmp_path / "run", *sets, f"data.workers={workers}").fit()
    assert losses(tmp_path / "run") == expected
    stored = list((tmp_path / "cache/shards").glob("*.tar"))
    assert sum(path.stat().st_size for path in stored) <= room * shard_bytes(toy)
    assert (len(stored) == 0, len(stored) == 10) == (room < 1, room > 10)
    ranges = [asked for path, asked in server.log if path.endswith(".tar") and asked]
    assert bool(ranges) is (room < 10)
    if room == 100:  # every shard travelled once in two epochs
        gets = [path for path, asked in server.log if path.endswith(".tar") and asked is None]
        assert sum(server.sent_by_name.values()) < 2 * 10 * shard_bytes(toy)
        assert len(set(gets)) == 10


def test_a_second_run_finds_the_shards_here(toy: Path, server: WebServer, tmp_path: Path) -> None:
    sets = [f"data.shards={server.url}", f"data.cache_dir={tmp_path / 'cache'}"]
    trainer(toy, tmp_path / "a", *sets).fit()
    server.sent_by_name.clear()
    trainer(toy, tmp_path / "b", *sets).fit()
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert set(server.sent_by_name) == {"dataset.json"}


def test_a_server_that_dies_and_returns_costs_no_sample(
    toy: Path, server: WebServer, expected: list[float], tmp_path: Path
) -> None:
    sets = [f"data.shards={server.url}", f"data.cache_dir={tmp_path / 'cache'}", gigabytes(2, toy)]
    made = trainer(toy, tmp_path / "run", *sets)
    step, back = made.train_step, []

    def dying_step(*args):
        if made.done in (3, 7):
            server.stop()
            back.append(threading.Timer(0.5, server.start))
            back[-1].start()
        if made.done == 5:
            server.fail_next, server.cut_next = 2, 2
        return step(*args)

    made.train_step = dying_step
    made.fit()
    for timer in back:
        timer.join()
    assert len(back) == 2
    assert losses(tmp_path / "run") == expected


def test_a_server_that_dies_for_good_is_told_and_the_run_resumes(
    toy: Path, server: WebServer, expected: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [f"data.shards={server.url}", f"data.cache_dir={tmp_path / 'cache'}", gigabytes(0.5, toy)]
    made = trainer(toy, tmp_path / "run", *sets)
    step = made.train_step

    def dying_step(*args):
        if made.done == 3:
            monkeypatch.setattr(remote, "RETRY_SECONDS", 0.3)
            server.stop()
        return step(*args)

    made.train_step = dying_step
    with pytest.raises(
        U2AError, match=r"^http://127\.0\.0\.1:\d+/train-\d+\.tar: cannot be read: .* \(tried \d+ times"
    ) as caught:
        made.fit()
    assert "\n" not in str(caught.value)
    server.start()
    again = Trainer(load_recipe(toy, sets), Run(tmp_path / "run"), ALONE)
    again.resume()
    assert again.done >= 3
    again.fit()
    assert losses(tmp_path / "run") == expected


@pytest.fixture
def remote_split(toy: Path, server: WebServer, tmp_path: Path):
    def make(room: float = 100):
        return opened(server.url, Cache(tmp_path / "cache", int(room * shard_bytes(toy))))

    return make


def read_all(split) -> list[dict[str, bytes]]:
    return [split.members(i, ("image", "text")) for i in range(len(split))]


def local(toy: Path) -> list[dict[str, bytes]]:
    return read_all(
        open_split(
            str(toy.parent / "shards"),
            "train",
            modalities=("image", "text"),
            classes=toys.WORDS,
            multi_label=False,
        )
    )


@pytest.mark.parametrize("damage", ["cut", "changed", "removed", "index"])
def test_damaged_entries_are_fetched_again(toy: Path, remote_split, tmp_path: Path, damage: str) -> None:
    assert read_all(remote_split()) == local(toy)
    folder = tmp_path / "cache" / ("index" if damage == "index" else "shards")
    for path in folder.glob("*.idx" if damage == "index" else "*.tar"):
        data = bytearray(path.read_bytes())
        if damage == "removed":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(data[:-512])
        else:
            data[700] ^= 255
            path.write_bytes(data)
    assert read_all(remote_split()) == local(toy)


def test_touched_but_whole_entries_are_kept(toy: Path, server: WebServer, remote_split, tmp_path: Path) -> None:
    read_all(remote_split())
    for path in (tmp_path / "cache/shards").glob("*.tar"):
        path.write_bytes(path.read_bytes())
    server.sent_by_name.clear()
    assert read_all(remote_split()) == local(toy)
    assert set(server.sent_by_name) == {"dataset.json"}


def test_the_least_recently_used_goes_and_what_is_in_use_stays(
    toy: Path, server: WebServer, tmp_path: Path
) -> None:
    paths = sorted((toy.parent / "shards").glob("train-*.tar"))[:4]
    shards = [RemoteShard(f"{server.url}/{p.name}", p.stat().st_size, sha256_file(p)) for p in paths]
    size = max(shard.bytes for shard in shards)
    a, b = (Cache(tmp_path, int(2.5 * size)) for _ in range(2))

    def here() -> set[int]:
        return {n for n, shard in enumerate(shards) if (tmp_path / "shards" / f"{shard.sha256}.tar").exists()}

    first = a.hold(shards[0])
    b.hold(shards[1]).close()
    b.hold(shards[2]).close()
    assert here() == {0, 2}  # 0 was used before 1, but is in use
    second = b.hold(shards[2])
    assert b.hold(shards[3]) is None
    assert here() == {0, 2}
    first.close()
    assert b.hold(shards[3]) is not None
    assert here() == {2, 3}
    assert second.file.read(0, 10) == paths[2].read_bytes()[:10]


@pytest.fixture
def _old_objects_aside() -> Iterator[None]:
    """Collecting garbage looks at what is made from here on alone: the rest are millions."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def files_open_in(folder: Path) -> int:
    """What this process has open below a folder."""
    gc.collect()
    places = (os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd"))
    return sum(place.startswith(str(folder)) for place in places)


def tiny_shards(folder: Path, count: int) -> dict[int, tuple[bytes, str]]:
    """Content and SHA-256 of files that stand for shards."""
    folder.mkdir()
    found = {}
    for n in range(count):
        (folder / f"{n}.tar").write_bytes(b"%03d" % n * 100)
        found[n] = ((folder / f"{n}.tar").read_bytes(), sha256_file(folder / f"{n}.tar"))
    return found


COUNTS_FILES = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")


@COUNTS_FILES
@pytest.mark.usefixtures("_old_objects_aside")
def test_many_cached_shards_need_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MOST_HANDLES", 4)
    content = tiny_shards(tmp_path / "made", 12)
    server = WebServer(tmp_path / "made")
    shards = [RemoteShard(f"{server.url}/{n}.tar", len(data), sha) for n, (data, sha) in content.items()]
    try:
        for cache in (Cache(tmp_path / "c"), Cache(tmp_path / "c")):  # one fetches, one finds all there
            for n, shard in enumerate(shards):
                assert cache.read(shard, 0, 300) == content[n][0]
                assert files_open_in(tmp_path / "c") <= 2 * 4 * 2
        del cache
        assert files_open_in(tmp_path / "c") == 0
    finally:
        server.stop()


@COUNTS_FILES
@pytest.mark.usefixtures("_old_objects_aside")
def test_room_is_made_in_a_cache_of_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    content = tiny_shards(tmp_path / "made", 60)
    server = WebServer(tmp_path / "made")
    shards = [RemoteShard(f"{server.url}/{n}.tar", len(data), sha) for n, (data, sha) in content.items()]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for shard in shards[:-1]:
            Cache(tmp_path / "c").hold(shard).close()
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, before[1]))
        cache = Cache(tmp_path / "c", sum(shard.bytes for shard in shards[:-1]))
        assert cache.read(shards[-1], 0, 300) == content[59][0]
        there = {path.stem for path in (tmp_path / "c/shards").glob("*.tar")}
        assert there == {shard.sha256 for shard in shards[1:]}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        server.stop()


def test_nothing_goes_if_the_room_would_not_suffice(toy: Path, server: WebServer, tmp_path: Path) -> None:
    paths = sorted((toy.parent / "shards").glob("train-*.tar"))[:3]
    shards = [RemoteShard(f"{server.url}/{p.name}", p.stat().st_size, sha256_file(p)) for p in paths]
    cache = Cache(tmp_path, shards[0].bytes + shards[1].bytes)
    cache.hold(shards[0]).close()
    used = cache.hold(shards[1])
    large = RemoteShard(shards[2].address, 2 * shards[2].bytes, shards[2].sha256)
    assert cache.hold(large) is None
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 2
    used.close()


def test_reads_in_ranges_while_there_is_no_room_and_whole_shards_later(
    toy: Path, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "IDLE_READS", 3)
    monkeypatch.setattr(cache_module, "PATIENCE", 2)
    paths = sorted((toy.parent / "shards").glob("train-*.tar"))[:2]
    one, two = (RemoteShard(f"{server.url}/{p.name}", p.stat().st_size, sha256_file(p)) for p in paths)
    cache = Cache(tmp_path, int(1.2 * one.bytes))
    cache.read(one, 0, 10)
    for _ in range(8):
        assert cache.read(two, 512, 100) == paths[1].read_bytes()[512:612]
    asked = [span for path, span in server.log if path.endswith(paths[1].name)]
    assert asked[:2] == ["bytes=512-611"] * 2
    assert None in asked
    assert (tmp_path / "shards" / f"{two.sha256}.tar").exists()


def test_processes_share_one_cache(toy: Path, server: WebServer, tmp_path: Path) -> None:
    outs = [tmp_path / f"out{n}" for n in range(3)]
    limit = 4 * shard_bytes(toy)
    jobs = [
        subprocess.Popen([sys.executable, str(JOB), server.url, str(tmp_path / "c"), str(limit), str(out)])
        for out in outs
    ]
    assert [job.wait(120) for job in jobs] == [0, 0, 0]
    wanted = "\n".join((sample["image"] + sample["text"]).hex() for sample in local(toy))
    assert [out.read_text() for out in outs] == [wanted] * 3
    left = [path.suffix for path in (tmp_path / "c/shards").iterdir()]
    assert ".part" not in left
    assert ".room" not in left
    assert sum(path.stat().st_size for path in (tmp_path / "c/shards").glob("*.tar")) <= limit


def test_what_a_dead_process_left_is_removed(toy: Path, remote_split, tmp_path: Path) -> None:
    folder = tmp_path / "cache/shards"
    folder.mkdir(parents=True)
    for kind in ("part", "get"):
        (folder / f"{'0' * 64}.{kind}").write_bytes(b"half")
    with open(folder / f"{'0' * 64}.room", "wb") as room:
        room.truncate(99 * shard_bytes(toy))
    assert read_all(remote_split(12)) == local(toy)
    assert not list(folder.glob("*.room"))
    assert not list(folder.glob("*.part"))
    assert len(list(folder.glob("*.tar"))) == 10


def test_content_that_is_not_the_indexed_one_is_refused(toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy.parent / "shards", tmp_path / "shards")
    path = tmp_path / "shards/train-000001.tar"
    data = bytearray(path.read_bytes())
    data[600] ^= 255
    path.write_bytes(data)
    server = WebServer(tmp_path / "shards")
    try:
        split = opened(server.url, Cache(tmp_path / "cache"))
        with pytest.raises(ShardError, match=r"train-000001\.tar: its content is not what its index says"):
            read_all(split)
        assert not list((tmp_path / "cache/shards").glob("*.part"))
        path.write_bytes(data[:-512])
        with pytest.raises(ShardError, match=r"train-000001\.tar: has \d+ bytes, but \d+ when it was indexed"):
            opened(server.url, Cache(tmp_path))
        path.unlink()
        with pytest.raises(ShardError, match=r"train-000001\.tar: no such file"):
            opened(server.url, Cache(tmp_path))
    finally:
        server.stop()


def test_a_server_that_sends_more_than_the_index_says_is_not_listened_to(toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy.parent / "shards", tmp_path / "shards")
    server = WebServer(tmp_path / "shards")
    try:
        split = opened(server.url, Cache(tmp_path / "cache", int(100 * shard_bytes(toy))))
        with open(tmp_path / "shards/train-000001.tar", "r+b") as shard:
            shard.truncate(1 << 26)
        with pytest.raises(ShardError, match=r"train-000001\.tar: the server sends more than the \d+ bytes"):
            read_all(split)
        assert not list((tmp_path / "cache/shards").glob("*.part"))
    finally:
        server.stop()


def test_a_server_without_ranges_is_told(toy: Path, tmp_path: Path) -> None:
    server = WebServer(toy.parent / "shards", ranges=False)
    try:
        for room in (0.5, 100):
            split = opened(server.url, Cache(tmp_path, int(room * shard_bytes(toy))))
            if room > 1:
                assert read_all(split) == local(toy)
            else:
                with pytest.raises(ShardError, match=r"cannot serve parts of files; a larger data\.cache_gb"):
                    read_all(split)
    finally:
        server.stop()


def test_addresses_by_range_and_with_signatures(toy: Path, server: WebServer, tmp_path: Path) -> None:
    shards = {"train": server.url + "/train-{000000..000009}.tar?token=secret"}
    split = opened(shards, Cache(tmp_path / "cache"))
    assert read_all(split) == local(toy)
    with pytest.raises(ShardError) as caught:
        opened({"train": server.url + "/nowhere.tar?token=secret"}, Cache(tmp_path / "cache"))
    assert "nowhere.tar.idx: no such file" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_signed_address_is_asked_for_as_it_is_written(server: WebServer, tmp_path: Path) -> None:
    """Servers may sign the very characters, and %2F and / are two."""
    asked = "dataset.json?Credential=A%2F20%2Fs3&sig=a%2Bb%2F%3d%3D&who=a%40b&tilde=%7E&plus=a+b"
    fetch(f"{server.url}/{asked}")
    fetch_range(f"{server.url}/{asked}", 1, 5)
    remote.download(f"{server.url}/{asked}", tmp_path / "x")
    assert {path for path, _ in server.log} == {f"/{asked}"}


def test_the_plan_is_fetched_window_by_window(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from u2a.data.feeding import plan as plan_module

    monkeypatch.setattr(plan_module, "WINDOW", 3)
    sizes = [5, 1, 9, 4, 7, 6, 2]
    plan = TrainingPlan(
        np.ones((34, 2), bool), sizes, use_N=np.arange(34) % 5 != 0, batch_size=4, seed=3, dropout=False
    )
    for t in range(3 * plan.steps_per_epoch):
        soon = upcoming(plan, t)
        needed = np.searchsorted(plan.starts, plan.step(t).index_B, side="right") - 1
        assert set(needed) <= set(soon)
        assert len(soon) <= 6


@pytest.mark.parametrize("scheme", ["file", "pipe", "sftp", "local"])
def test_other_schemes_stay_refused(toy: Path, scheme: str) -> None:
    with pytest.raises(U2AError, match=r"data\.shards"):
        load_recipe(toy, [f"data.shards={scheme}://x"])
    if scheme == "pipe":
        with pytest.raises(U2AError, match="never starts a program"):
            load_recipe(toy, ["data.shards=pipe:cat x"])


@pytest.fixture(scope="module")
def bucket(toy: Path) -> Iterator[str]:
    """moto's S3 server with the shards in a bucket."""
    with object_store("films") as client:
        for path in (toy.parent / "shards").iterdir():
            client.upload_file(str(path), "films", f"toy/{path.name}")
        yield "s3://films/toy"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore.*")
def test_an_object_store_gives_the_same_losses(
    toy: Path, bucket: str, expected: list[float], tmp_path: Path
) -> None:
    sets = [f"data.shards={bucket}", f"data.cache_dir={tmp_path / 'cache'}", gigabytes(2.5, toy)]
    trainer(toy, tmp_path / "run", *sets).fit()
    assert losses(tmp_path / "run") == expected
    assert 1 <= len(list((tmp_path / "cache/shards").glob("*.tar"))) <= 2
    with pytest.raises(ShardError, match=r"s3://films/nothing/dataset\.json: no such file"):
        trainer(toy, tmp_path / "none", "data.shards=s3://films/nothing")


@contextmanager
def another_user() -> Iterator[None]:
    """As root, somebody who is not; others have no power over read-only folders anyway."""
    if os.geteuid():
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
    shutil.rmtree(folder)


def test_a_full_cache_that_one_may_only_read_is_read(toy: Path, shared_folder: Path) -> None:
    shutil.copytree(toy.parent / "shards", shared_folder / "web")
    server = WebServer(shared_folder / "web")
    try:
        _read_only(server, shared_folder / "cache")
    finally:
        server.stop()


def _read_only(server: WebServer, cache: Path) -> None:
    shards = {"train": server.url + "/train-{000000..000003}.tar"}
    whole = {"train": server.url + "/train-{000000..000009}.tar"}
    right = read_all(opened(shards, Cache(cache)))
    for path in sorted(cache.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    cache.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    with another_user():
        server.sent_by_name.clear()
        assert read_all(opened(shards, Cache(cache))) == right
        assert not any(sent for name, sent in server.sent_by_name.items() if name.endswith(".tar"))
        with pytest.raises(U2AError, match="the cache cannot be written"):
            opened(whole, Cache(cache))
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may become two other users")
def test_two_users_of_a_group_share_one_cache(toy: Path, server: WebServer, shared_folder: Path) -> None:
    """Anna and Bert at once, with room for four shards of ten; then what Anna left when she was killed."""
    (shared_folder / "cache").mkdir()
    os.chown(shared_folder / "cache", ANNA, GROUP)
    (shared_folder / "cache").chmod(0o2775)
    shards, limit = shared_folder / "cache/shards", 4 * shard_bytes(toy)
    wanted = "\n".join((sample["image"] + sample["text"]).hex() for sample in local(toy))
    assert _read_as((ANNA, BERT), server, shared_folder, limit) == [wanted] * 2
    stored = list(shards.glob("*.tar"))
    assert 0 < sum(path.stat().st_size for path in stored) <= limit
    assert {path.stat().st_mode & 0o777 for path in shards.iterdir()} == {0o664}
    assert {path.stat().st_gid for path in shards.iterdir()} == {GROUP}
    killed = stored[0]
    killed.with_suffix(".part").write_bytes(killed.read_bytes()[:100])
    os.chown(killed.with_suffix(".part"), ANNA, GROUP)
    killed.with_suffix(".part").chmod(0o664)
    killed.unlink()
    server.log.clear()
    assert _read_as((BERT,), server, shared_folder, 10 * shard_bytes(toy)) == [wanted]
    assert len(list(shards.glob("*.tar"))) == 10
    assert killed.stat().st_uid == BERT
    assert not any(asked for _, asked in server.log)  # nothing had to be read in ranges


def _read_as(users: tuple[int, ...], server: WebServer, folder: Path, limit: int) -> list[str]:
    """What each user reads of the whole split, all at once, through the cache in `folder`."""
    outs = [folder / f"out-{user}" for user in users]
    jobs = []
    for user, out in zip(users, outs, strict=True):
        out.touch()
        os.chown(out, user, GROUP)
        words = [server.url, folder / "cache", limit, out, user, GROUP]
        jobs.append(subprocess.Popen([sys.executable, str(JOB), *map(str, words)]))
    assert [job.wait(120) for job in jobs] == [0] * len(users)
    return [out.read_text() for out in outs]


@pytest.mark.parametrize(("umask", "others"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_files_of_the_cache_follow_the_umask(
    server: WebServer, tmp_path: Path, umask: int, others: int
) -> None:
    before = os.umask(umask)
    try:
        read_all(opened({"train": server.url + "/train-000000.tar"}, Cache(tmp_path / "cache")))
        write_text(tmp_path / "note.txt", "x")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".tar", ".use", ".get", ".idx"}
    assert {oct(path.stat().st_mode & 0o777) for path in [*files, tmp_path / "note.txt"]} == {oct(others)}
    folders = {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "cache").rglob("*") if path.is_dir()}
    assert folders == {oct(0o777 & ~umask)}


def test_an_index_has_an_address_of_its_own(toy: Path, server: WebServer, tmp_path: Path) -> None:
    """A signature is good for one object; the index needs another, or lies elsewhere."""
    shutil.copytree(toy.parent / "shards", tmp_path / "elsewhere")
    for index in (
        [f"{server.url}/train-00000{i}.tar.idx?signature=other" for i in range(2)],
        [str(tmp_path / "elsewhere" / f"train-00000{i}.tar.idx") for i in range(2)],
    ):
        shards = {"train": [f"{server.url}/train-00000{i}.tar?signature=one" for i in range(2)]}
        usual = {"modalities": ("image", "text"), "multi_label": False}
        split = open_split(
            shards,
            "train",
            classes=toys.WORDS,
            cache=Cache(tmp_path / "cache"),
            indexes={"train": index},
            **usual,
        )
        assert len(read_all(split)) == len(split) > 0
    with pytest.raises(ShardError, match=r"data\.indexes\.train: names 1 indexes for 2 shards"):
        open_split(shards, "train", classes=toys.WORDS, indexes={"train": index[:1]}, **usual)


def test_a_question_mark_in_the_key_of_an_object(tmp_path: Path) -> None:
    assert show("s3://bucket/what?.tar") == "s3://bucket/what?.tar"
    assert beside("s3://bucket/what?.tar", ".idx") == "s3://bucket/what?.tar.idx"
    assert beside("https://host/x.tar?sig=1", ".idx") == "https://host/x.tar.idx?sig=1"
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/what?.tar", b"right")
    memory.pipe_file("/bucket/what", b"wrong")
    assert fetch("memory://bucket/what?.tar") == b"right"
    assert fetch_range("memory://bucket/what?.tar", 1, 2) == b"ig"
