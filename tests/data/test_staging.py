"""Two packings of one data set: whoever holds the folder beside it keeps it, whenever the other one ends."""

import shutil

import pytest

from u2a.data.packing import staging
from u2a.data.packing.staging import LOCK, staged
from u2a.data.storage.locks import EXCLUSIVE, NOW, Lock
from u2a.errors import U2AError


@pytest.fixture
def target(tmp_path):
    return tmp_path / "shards"


def test_a_folder_that_goes_while_it_is_being_locked_is_made_again(target, monkeypatch):
    class Late(Lock):
        """The process before ends between this one's opening of the file and its lock."""

        def __init__(self, path, kind):
            super().__init__(path, kind)
            monkeypatch.setattr(staging, "Lock", Lock)
            shutil.rmtree(path.parent)

    monkeypatch.setattr(staging, "Lock", Late)
    with staged(target, "plan", overwrite=False) as stage:
        assert stage.folder.is_dir()
        with pytest.raises(U2AError, match="another process is packing it"), staged(target, "plan", False):
            pass  # the lock is one that others see
        stage.save()
        (stage.folder / "train-000000.tar").touch()
    assert [path.name for path in target.iterdir()] == ["train-000000.tar"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_next_process_has_begun_is_left_alone(target, monkeypatch, fails):
    held = []

    def put_folder(folder, target):
        (shutil.rmtree if fails else lambda f: f.rename(target))(folder)
        folder.mkdir()
        held.append(Lock(folder / LOCK, EXCLUSIVE | NOW))
        if fails:
            raise OSError("no")
        return target.with_name("nothing was there")

    monkeypatch.setattr(staging, "put_folder", put_folder)
    try:
        with staged(target, "plan", overwrite=False) as stage:
            stage.save()
    except OSError:
        assert fails
    assert held[0].at(stage.folder / LOCK)
    with pytest.raises(U2AError, match="another process is packing it"), staged(target, "plan", False):
        pass
