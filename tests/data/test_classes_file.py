"""``--classes`` of ``u2a data index``: names in a file, in whatever form an editor writes them, or a list."""

import unicodedata
from pathlib import Path

import pytest

from u2a.cli.data_index import _classes
from u2a.errors import U2AError

NAMES = ("cat", "d\u00f6g", "a, b")
TEXT = unicodedata.normalize("NFD", "\n".join(["cat", " d\u00f6g ", "", "a, b"]))
WRITTEN = {
    "UTF-8": TEXT.encode(),
    "with its mark": ("\ufeff" + TEXT).encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "of Windows": TEXT.replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_classes_of_a_file(tmp_path: Path, written: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(WRITTEN[written])
    assert _classes(str(path)) == NAMES


def test_a_list_is_as_long_as_it_is(tmp_path: Path) -> None:
    names = tuple(f"class {i}" for i in range(1000))
    assert _classes(", ".join(names)) == names
    assert _classes("do\u0308g,cat.2") == ("d\u00f6g", "cat.2")


def test_what_is_no_list_of_classes(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("d\u00f6g\ncat".encode("latin-1"))
    for given, why in (
        (tmp_path / "latin", "text is not UTF-8"),
        (tmp_path / "no.txt", "no file is called so"),
    ):
        with pytest.raises(U2AError, match=why):
            _classes(str(given))
    with pytest.raises(U2AError, match="names a class twice"):
        _classes("d\u00f6g,do\u0308g")
