"""Arrays as people have them: read as they are, or refused in a line that says why."""

from __future__ import annotations

import io
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from u2a_plugin_features.decode import decode_vectors, encode_npy
from u2a_plugin_features.preprocess import shorten
from u2a_plugin_features.spec import FEATURES

from u2a.errors import BadSample, NoContent

VALUES = np.arange(1, 13).reshape(4, 3)


def npy(array: np.ndarray, **more: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **more)
    return buffer.getvalue()


def options(**more: object):
    return FEATURES.options.model_validate({"kind": "features", "size": 3, **more})


def read(member: bytes, **more: object) -> torch.Tensor:
    return FEATURES.preprocessor(options(**more))(member, train=False, seed=0)["values"]


@pytest.mark.parametrize("dtype", ["f2", ">f2", "f4", ">f4", "f8", ">f8", "i1", "u2", ">i4", "i8", ">u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_type_byte_order_and_layout(dtype, order):
    found = decode_vectors(npy(np.asarray(VALUES, dtype=dtype, order=order)), 3)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, VALUES)


def test_a_vector_is_a_sequence_of_one_and_bools_are_numbers():
    np.testing.assert_array_equal(decode_vectors(npy(VALUES[0]), 3), VALUES[:1])
    np.testing.assert_array_equal(decode_vectors(npy(np.array([True, False, True])), 3), [[1, 0, 1]])
    later = io.BytesIO()
    np.lib.format.write_array(later, VALUES, version=(3, 0))
    np.testing.assert_array_equal(decode_vectors(later.getvalue(), 3), VALUES)


def with_bad(value: float) -> np.ndarray:
    values = VALUES.astype(float)
    values[2, 1] = values[3, 0] = value
    return values


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (npy(with_bad(np.nan)), r"holds 2 values that are not finite, the first \(nan\) at \[2, 1\]"),
        (npy(with_bad(-np.inf).astype(">f4")), r"the first \(-inf\) at \[2, 1\]"),
        (npy(with_bad(1e300)), "holds 1e\\+300, which is too large for 32-bit numbers"),
        (npy(np.ones(4)), "has vectors of 4 numbers, the recipe says size = 3$"),
        (npy(VALUES.T), "vectors of 4 numbers, .* its other axis has: save the array transposed"),
        (npy(np.array(3.0)), r"must be one vector \[F\] or a sequence \[T, F\], not a single number"),
        (npy(np.ones((2, 2, 3))), r"not \[2, 2, 3\]"),
        (npy(np.ones((2, 0))), "has vectors of 0 numbers"),
        (
            npy(np.array([1, "a", None], dtype=object), allow_pickle=True),
            "objects, which only pickle could read",
        ),
        (npy(np.array(["a", "b", "c"])), "must hold numbers, not text or records"),
        (npy(np.ones(3, complex)), "not complex numbers"),
        (npy(np.array(["2020-01-01"] * 3, dtype="M8[D]")), "not dates"),
        (npy(np.zeros(3, [("a", "f4")])), "not text or records"),
        (b"PK\x03\x04rest", "is an NPZ archive of several arrays"),
        (npy(VALUES)[:-3], "cannot be decoded as NPY"),
        (b"\x93NUMPY\x01\x00\x05\x00{....", "cannot be decoded as NPY"),
        (b"1.0,2.0,3.0\n", "cannot be decoded as NPY"),
        (b"", "cannot be decoded as NPY"),
        (
            npy(np.ones(3)).replace(b"(3,), }", b"(3, 99999999999),}"),
            "is more than 100000000 numbers|cannot be",
        ),
    ],
)
def test_what_is_refused_and_how(member, said):
    with pytest.raises(BadSample, match=said) as caught:
        read(member)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.zeros((4, 3))])
def test_what_holds_nothing_is_missing_rather_than_bad(array):
    with pytest.raises(NoContent):
        read(npy(array))


def test_a_vector_of_zeros_is_a_value():
    for zeros in (np.zeros(3), np.zeros((1, 3))):
        assert decode_vectors(npy(zeros), 3).tolist() == [[0, 0, 0]]
        assert read(npy(zeros), mean=1.0).tolist() == [[-1, -1, -1]]


def test_zeros_around_a_sequence_are_padding_and_zeros_inside_are_not():
    padded = np.zeros((9, 3))
    padded[[2, 4]] = 1
    assert decode_vectors(npy(padded), 3).tolist() == [[1] * 3, [0] * 3, [1] * 3]


def test_values_are_standardised_and_the_absurd_refused():
    found = read(npy(VALUES), mean=[1, 2, 3], std=[1, 2, 4])
    np.testing.assert_allclose(found, (VALUES - [1, 2, 3]) / [1, 2, 4])
    assert found.dtype == torch.float32
    with pytest.raises(BadSample, match="standard deviations from the recipe's mean"):
        read(npy(VALUES * 1e30), std=2.0)
    np.testing.assert_allclose(read(npy(VALUES * 1e30)), VALUES * 1e30, rtol=1e-6)  # the network standardises


@pytest.mark.parametrize("T", [8, 9, 20, 1000])
def test_of_a_long_sequence_equal_parts_are_averaged(T):
    values = np.random.default_rng(0).normal(size=(T, 3)).astype(np.float32)
    found = shorten(values, 8)
    parts = [values[n * T // 8 : (n + 1) * T // 8].mean(0) for n in range(8)]
    np.testing.assert_allclose(found, parts, rtol=1e-5, atol=1e-6)
    assert read(npy(values), longest=8).shape == (8, 3)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mean": [1, 2]}, "mean has 2 numbers for size = 3"),
        ({"std": 0}, "greater than 0"),
        ({"std": [1, 1, -1]}, "greater than 0"),
        ({"mean": float("nan")}, "finite"),
        ({"size": 0}, "greater than 0"),
        ({"width": 30}, "not divisible by heads"),
    ],
)
def test_options_that_are_refused(more, said):
    with pytest.raises(ValidationError, match=said):
        options(**more)


def test_values_from_python():
    for value in (VALUES[0], VALUES[0].tolist(), torch.tensor(VALUES[0]), torch.tensor(VALUES[0]).bfloat16()):
        np.testing.assert_array_equal(decode_vectors(encode_npy(value), 3), VALUES[:1])
    with pytest.raises(BadSample, match="lists of different lengths"):
        encode_npy([[1, 2], [1]])
    with pytest.raises(BadSample, match="must hold numbers, not text"):
        encode_npy("1 2 3")


def test_what_it_suggests_for_a_persons_files():
    members = [npy(VALUES), npy(VALUES[0]), b"junk"]
    assert FEATURES.suggest("small", members, {}).options == {"size": 3}
    assert FEATURES.suggest("small", members, {"size": 4}).options == {}
    assert FEATURES.suggest("small", [b"junk", npy(VALUES), b""], {}) is None


def test_the_command_prints_what_a_recipe_needs(tmp_path):
    values = np.random.default_rng(0).normal([5, -3, 7], [1, 20, 0], (50, 3))
    for n in range(5):
        np.save(tmp_path / f"{n}.npy", values[n * 10 : n * 10 + 10])
    command = [sys.executable, "-m", "u2a_plugin_features"]
    files = [str(tmp_path / f"{n}.npy") for n in range(5)]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=True)
    found = options(**tomllib.loads(done.stdout))
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.std, [*values.std(0)[:2], 1], rtol=1e-4)
    (tmp_path / "0.npy").write_bytes(b"junk")
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "0.npy: cannot be decoded" in done.stderr
    assert "Traceback" not in done.stderr


def network_of(size: int, **more: object):
    torch.manual_seed(0)
    given = {"size": size, "longest": 4, "width": 8, "layers": 1, "heads": 2, **more}
    return FEATURES.backbone(options(**given), weights=True).eval()


def test_tokens_know_their_places_and_all_but_padding_are_attended_to():
    network = network_of(2)
    values = torch.ones(2, 3, 2)
    tokens = network.embed(values, torch.tensor([[1, 1, 0], [1, 1, 1]]))
    assert tokens.valid_NL.tolist() == [[True, True, True, False], [True, True, True, True]]
    torch.testing.assert_close(tokens.hidden_NLD[:, 0, :8], network.cls_D.expand(2, 8))
    places = tokens.hidden_NLD[:, 1:, :8] - network.project(values)
    torch.testing.assert_close(places, network.positions_TD[:3].expand(2, 3, 8))
