"""The image plugin: pictures that a Python program holds."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tiny
from PIL import Image

from u2a.errors import BadSample
from u2a_image.spec import IMAGE


def upright(member: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(member)))


def test_python_values_become_png():
    image = tiny.picture()
    array = np.asarray(image)
    assert np.array_equal(upright(IMAGE.to_member(image)), array)
    assert np.array_equal(upright(IMAGE.to_member(array)), array)
    assert np.array_equal(upright(IMAGE.to_member(array / 255)), array)
    assert np.array_equal(upright(IMAGE.to_member(array[:, :, 0]))[:, :, 2], array[:, :, 0])
    assert IMAGE.to_member(array[:, :, :1]) == IMAGE.to_member(array[:, :, 0])
    for wrong in (
        np.zeros((2, 2, 5), np.uint8),
        np.full((2, 2), 2.0),
        np.zeros((2, 2), np.int32),
        np.zeros((0, 3)),
    ):
        with pytest.raises(BadSample, match="an image array must be"):
            IMAGE.to_member(wrong)


REFUSED = {
    r"not \[3, 20, 24\]; if it is \[3, H, W\]: permute\(1, 2, 0\)": np.zeros((3, 20, 24), np.uint8),
    r"not \[1, 20, 24\]; if it is \[3, H, W\]": np.zeros((1, 20, 24), np.uint8),
    r"not \[20, 24, 2\]$": np.zeros((20, 24, 2), np.uint8),
    r"float in 0\.\.1, not float32 in 0\.\.255": np.linspace(0, 255, 12, dtype=np.float32).reshape(3, 4),
    r"not uint16$": np.zeros((3, 4), np.uint16),
}


@pytest.mark.parametrize("why", REFUSED)
def test_other_arrays_say_what_they_are(why):
    with pytest.raises(BadSample, match=why):
        IMAGE.to_member(REFUSED[why])
