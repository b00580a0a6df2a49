"""Files to metres, metres to the encoder's three channels, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from u2a_plugin_depth.decode import decode_depth, encode_npy
from u2a_plugin_depth.preprocess import inverse_depth
from u2a_plugin_depth.spec import DEPTH

from u2a.errors import BadSample
from u2a.plugins.loading import load_registry

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.2, 0.1])


def png(millimetres: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(millimetres).save(buffer, format="PNG")
    return buffer.getvalue()


def npy(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def grey(encoder, member: bytes, *, train: bool = False, seed: int = 0, **more: object):
    """Inverse depth [R, R] with the normalisation undone, and the validity mask."""
    options = DEPTH.options.model_validate({"kind": "depth", "encoder": str(encoder), **more})
    example = DEPTH.preprocessor(options)(member, train=train, seed=seed)
    channels = example["pixel_values"] * STD[:, None, None] + MEAN[:, None, None]
    torch.testing.assert_close(channels, channels[:1].expand(3, -1, -1), atol=1e-5, rtol=0)
    return channels[0], example["valid"]


def test_png_and_npy_of_one_map_are_the_same_metres():
    millimetres = np.array([[500, 1000], [0, 65535]], np.uint16)
    from_png = decode_depth(png(millimetres))
    from_npy = decode_depth(npy(millimetres.astype(np.float64) / 1000))
    np.testing.assert_allclose(from_png, from_npy, rtol=1e-6)
    np.testing.assert_allclose(from_png, [[0.5, 1.0], [np.nan, 65.535]], rtol=1e-6)
    assert from_png.dtype == np.float32


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_floats_of_any_size_and_order(dtype):
    np.testing.assert_allclose(decode_depth(npy(np.full((2, 3), 1.5, dtype))), np.full((2, 3), 1.5))


@pytest.mark.parametrize("invalid", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_invalid_places_become_nan(invalid):
    np.testing.assert_array_equal(decode_depth(npy(np.array([[invalid, 2.0]]))), [[np.nan, 2.0]])


def test_inverse_depth_is_one_at_near_and_zero_at_far():
    metres = torch.tensor([[0.1, 0.5, 1.0, 5.0, 50.0, float("nan")]])
    wanted = torch.tensor([[1.0, 1.0, (1 - 0.2) / (2 - 0.2), 0.0, 0.0, 0.0]])
    torch.testing.assert_close(inverse_depth(metres, near=0.5, far=5.0), wanted)


def test_a_flat_map_has_one_grey_value(encoder):
    values, valid = grey(encoder, npy(np.full((40, 48), 2.0)), near=1, far=4)
    torch.testing.assert_close(values, torch.full((32, 32), (1 / 2 - 1 / 4) / (1 - 1 / 4)), atol=1e-5, rtol=0)
    assert valid.all()
    assert valid.dtype == torch.bool


def test_invalid_places_take_part_in_no_average(encoder):
    depth = np.full((64, 64), 2.0)
    depth[::2] = 0  # every second line lost: after halving, each pixel sees valid and invalid places
    values, _ = grey(encoder, npy(depth), near=1, far=4)
    torch.testing.assert_close(values, torch.full((32, 32), 1 / 3), atol=1e-5, rtol=0)


def test_a_hole_is_dark_and_marked(encoder):
    depth = np.full((32, 32), 2.0)
    depth[8:16, 8:16] = np.nan
    values, valid = grey(encoder, npy(depth), near=1, far=4)
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[8:16, 8:16] = True
    assert torch.equal(valid, ~hole)
    torch.testing.assert_close(values[hole], torch.zeros(64), atol=1e-5, rtol=0)
    torch.testing.assert_close(values[~hole], torch.full((960,), 1 / 3), atol=1e-5, rtol=0)


def test_a_pixel_is_valid_where_half_of_it_was_measured(encoder):
    lost = np.arange(64) % 4 == 0  # of a halved map's pixels, 1/8 or 3/8
    for measured, wanted in ((~lost, True), (lost, False)):
        _, valid = grey(encoder, npy(np.where(measured[:, None], 2.0, np.zeros((64, 64)))), near=1, far=4)
        assert (valid == wanted).all()


def test_no_pixel_is_nearer_or_farther_than_the_map(encoder):
    depth = np.full((64, 64), 3.0)
    depth[:, 31:] = 1.5
    values, _ = grey(encoder, npy(depth), near=1, far=4)
    least, most = ((1 / metres - 1 / 4) / (1 - 1 / 4) for metres in (3.0, 1.5))
    assert float(values.min()) == pytest.approx(least, abs=1e-5)
    assert float(values.max()) == pytest.approx(most, abs=1e-5)


def test_training_crops_by_seed(encoder):
    member = npy(np.linspace(1, 4, 64 * 64).reshape(64, 64))
    first, second, other = (grey(encoder, member, train=True, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_training_crops_of_an_oblong_map_are_nearly_square(encoder):
    """What a crop holds of a slope across, and of one down, says how wide and high it is."""
    rising = {0: np.linspace(0.1, 0.9, 40)[:, None], 1: np.linspace(0.1, 0.9, 90)[None]}
    slopes = [npy(1 / (0.25 + 0.75 * np.broadcast_to(rising[axis], (40, 90)))) for axis in (0, 1)]
    for seed in range(6):
        seen = [grey(encoder, one, train=True, seed=seed, near=1, far=4)[0] for one in slopes]
        height, width = (float(one.max() - one.min()) * n for one, n in zip(seen, (40, 90), strict=True))
        assert 0.6 < width / height < 1.7  # 3/4 to 4/3, but for the half pixels at its edges


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="PNG")
    return buffer.getvalue()


def huge() -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
    )
    return header.getvalue()


REFUSED = {
    "empty": (b"", "empty file"),
    "noise": (b"\x00\x01\x02", "cannot be decoded as 16-bit PNG or as NPY"),
    "colour": (picture(), "one 16-bit channel"),
    "8 bit": (png(np.ones((4, 4), np.uint8)), "one 16-bit channel"),
    "cut png": (png(np.full((64, 64), 900, np.uint16))[:90], "cannot be decoded"),
    "cut npy": (npy(np.ones((4, 4)))[:-8], "cannot be decoded as NPY"),
    "no valid place": (png(np.zeros((4, 4), np.uint16)), "no place of the depth map"),
    "integers": (npy(np.ones((4, 4), np.int32)), "must be float, in metres, not int32"),
    "three channels": (npy(np.ones((4, 4, 3))), r"must be \[H, W\]"),
    "pickle": (npy(np.array([[None]]), allow_pickle=True), "not object"),
    "huge": (huge(), "at most"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_bad_bytes_are_refused_with_the_reason(name):
    member, reason = REFUSED[name]
    with pytest.raises(BadSample, match=reason):
        decode_depth(member)


def test_arrays_from_python_are_metres():
    np.testing.assert_allclose(decode_depth(encode_npy(torch.full((2, 2), 1.5))), np.full((2, 2), 1.5))
    with pytest.raises(BadSample, match="must be float"):
        encode_npy(np.ones((2, 2), np.uint16))


def test_near_must_be_smaller_than_far():
    with pytest.raises(ValidationError, match="must be smaller than far"):
        DEPTH.options.model_validate({"kind": "depth", "encoder": "x", "near": 5, "far": 2})


def test_the_installed_distribution_registers_depth():
    registry = load_registry()
    assert registry.owners["depth"].distribution == "u2a-plugin-depth"
