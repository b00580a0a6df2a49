"""The image plugin: any file to upright RGB, the checkpoint's own preprocessing, three architectures."""

from __future__ import annotations

import io
import json
import pickle
import random
import shutil
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers as hf
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from u2a.errors import BadSample, U2AError
from u2a_image.constants import ImageConstants
from u2a_image.decode import decode_rgb
from u2a_image.preprocess import Crop, PixelTransform, View, _random_crop
from u2a_image.spec import IMAGE

REFERENCES = {"clip": hf.CLIPVisionModel, "vit": hf.ViTModel, "dinov2": hf.Dinov2Model}


def options(folder: Path, **more: object):
    return IMAGE.options.model_validate({"kind": "image", "encoder": str(folder), **more})


def evaluate(folder: Path, member: bytes, **more: object) -> torch.Tensor:
    return IMAGE.preprocessor(options(folder, **more))(member, train=False, seed=0)["pixel_values"]


def reference_hidden(name: str, model, pixels: torch.Tensor) -> torch.Tensor:
    """transformers' own forward; CLIP's final norm, which it gives CLS only, on all positions."""
    interpolate = {} if name == "dinov2" else {"interpolate_pos_encoding": True}
    hidden = model(pixels, **interpolate).last_hidden_state
    return model.post_layernorm(hidden) if name == "clip" else hidden


@pytest.mark.parametrize("resolution", [None, 56])
@pytest.mark.parametrize("name", list(REFERENCES))
@torch.no_grad()
def test_hidden_states_equal_transformers_own(checkpoints, name, resolution):
    chosen = options(checkpoints[name], resolution=resolution)
    module = IMAGE.backbone(chosen, weights=True).eval()
    reference = REFERENCES[name].from_pretrained(checkpoints[name]).eval()
    preprocessor = IMAGE.preprocessor(chosen)
    members = [tiny.image_bytes(tiny.picture(seed=seed)) for seed in (1, 2)]
    inputs = preprocessor.collate([preprocessor(m, train=False, seed=0) for m in members])
    tokens = IMAGE.embedding(module, inputs)
    hidden = IMAGE.encoder(module, tokens)
    torch.testing.assert_close(hidden, reference_hidden(name, reference, inputs["pixel_values"]))
    assert tokens.cls == (0,)
    assert IMAGE.width(chosen) == hidden.shape[-1] == 32
    if name == "clip":
        pooled = reference(inputs["pixel_values"], interpolate_pos_encoding=True).pooler_output
        torch.testing.assert_close(hidden[:, 0], pooled)


@pytest.mark.parametrize("name", list(REFERENCES))
@torch.no_grad()
def test_a_token_appended_after_the_embedding_equals_one_added_inside_transformers(checkpoints, name):
    module = IMAGE.backbone(options(checkpoints[name]), weights=True).eval()
    reference = REFERENCES[name].from_pretrained(checkpoints[name]).eval()
    pixels, token = (
        torch.randn(2, 3, 28 if name == "dinov2" else 32, 28 if name == "dinov2" else 32),
        torch.randn(32),
    )
    plain = IMAGE.embedding(module, {"pixel_values": pixels})
    longer = torch.cat([plain.hidden_NLD, token.expand(2, 1, 32)], dim=1)
    ours = IMAGE.encoder(module, replace(plain, hidden_NLD=longer))
    reference.embeddings.register_forward_hook(lambda m, a, out: torch.cat([out, token.expand(2, 1, 32)], 1))
    torch.testing.assert_close(ours, reference_hidden(name, reference, pixels))
    assert not torch.allclose(ours[:, 0], IMAGE.encoder(module, plain)[:, 0], atol=1e-4)


@torch.no_grad()
def test_dinov2_with_registers(tmp_path):
    config = hf.Dinov2WithRegistersConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=7,
        num_register_tokens=3,
    )
    folder = tiny.save(hf.Dinov2WithRegistersModel(config), tmp_path / "r")
    module = IMAGE.backbone(options(folder), weights=True).eval()
    pixels = torch.randn(1, 3, 42, 42)
    hidden = IMAGE.encoder(module, IMAGE.embedding(module, {"pixel_values": pixels}))
    reference = hf.Dinov2WithRegistersModel.from_pretrained(folder).eval()
    torch.testing.assert_close(hidden, reference(pixels).last_hidden_state)
    assert [len(block) for block in IMAGE.lora_targets(module)] == [4, 4]


def test_masked_image_token_may_be_missing(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["dinov2"], tmp_path / "d"))
    tensors = load_file(folder / "model.safetensors")
    assert tensors.pop("embeddings.mask_token") is not None
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    IMAGE.backbone(options(folder), weights=True)


def test_resolution_below_a_patch_is_refused(checkpoints):
    with pytest.raises(U2AError, match="smaller than one 16-pixel patch"):
        IMAGE.backbone(options(checkpoints["clip"], resolution=8), weights=False)


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (40, 100)])
def test_evaluation_equals_transformers_image_processor(checkpoints, size):
    image = tiny.picture(*size)
    ours = evaluate(checkpoints["clip"], tiny.image_bytes(image))
    processor = hf.CLIPImageProcessor.from_pretrained(checkpoints["clip"])
    wanted = processor(image, return_tensors="pt")["pixel_values"][0]
    assert ours.shape == wanted.shape == (3, 32, 32)
    assert ours.dtype == torch.float32
    # One step of 8 bits is 0.015 after normalisation; at the crop's edges the filters see other pixels.
    assert (ours - wanted)[:, 3:-3, 3:-3].abs().max() < 0.04
    assert (ours - wanted).abs().mean() < 0.02


def test_a_resolution_of_the_recipe_scales_all_that_the_processor_does(checkpoints):
    image = tiny.picture(96, 64)
    preprocessor = IMAGE.preprocessor(options(checkpoints["clip"], resolution=24))
    ours = preprocessor(tiny.image_bytes(image), train=False, seed=0)["pixel_values"]
    processor = hf.CLIPImageProcessor.from_pretrained(
        checkpoints["clip"], size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}
    )
    wanted = processor(image, return_tensors="pt")["pixel_values"][0]
    assert ours.shape == wanted.shape == (3, 24, 24)
    assert (ours - wanted).abs().mean() < 0.02
    assert preprocessor(tiny.image_bytes(image), train=True, seed=0)["pixel_values"].shape == (3, 24, 24)


def test_a_resolution_keeps_the_share_that_is_cut_off(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["clip"], tmp_path / "c"))
    for size, edge, box in (
        ({"shortest_edge": 36}, 27, None),
        ({"height": 40, "width": 36}, None, (30, 27)),
    ):
        values = {"size": size, "crop_size": {"height": 32, "width": 32}}
        tiny.write_json(folder, "preprocessor_config.json", values)
        made = IMAGE.preprocessor(options(folder, resolution=24)).transform.constants
        assert (made.edge, made.box, made.crop) == (edge, box, (24, 24))  # three quarters of all


def test_small_pictures_are_padded_as_transformers_does(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["clip"], tmp_path / "c"))
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_resize": False}))
    processor = hf.CLIPImageProcessor.from_pretrained(folder)
    for width, height in ((27, 40), (41, 29), (27, 25)):
        image = tiny.picture(width, height)
        wanted = processor(image, return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(evaluate(folder, tiny.image_bytes(image)), wanted, atol=1e-5, rtol=1e-5)


def test_constants_of_the_old_hub_file_are_read(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["clip"], tmp_path / "c"))
    white = tiny.image_bytes(Image.new("RGB", (9, 9), "white"))
    constants = {"image_mean": [0.5, 0.25, 0.0], "image_std": [0.5, 0.25, 2.0], "size": 24, "resample": 2}
    tiny.write_json(folder, "preprocessor_config.json", constants)
    pixels = evaluate(folder, white)
    assert pixels.shape == (3, 24, 24)
    torch.testing.assert_close(pixels.mean((1, 2)), torch.tensor([1.0, 3.0, 0.5]))
    tiny.write_json(folder, "preprocessor_config.json", {"do_normalize": False})
    torch.testing.assert_close(evaluate(folder, white), torch.ones(3, 32, 32))  # size from config.json
    tiny.write_json(folder, "preprocessor_config.json", {"image_mean": [0.5, 0.5]})
    with pytest.raises(
        U2AError, match=r"preprocessor_config\.json: image_mean: must be a list of three numbers"
    ):
        evaluate(folder, white)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(U2AError, match=r"has no preprocessor_config\.json"):
        evaluate(folder, white)


def test_training_crops_come_from_the_seed_alone(checkpoints):
    preprocessor = IMAGE.preprocessor(options(checkpoints["clip"]))
    member = tiny.image_bytes(tiny.picture(300, 200))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    copy = pickle.loads(pickle.dumps(preprocessor))
    first = [preprocessor(member, train=True, seed=s)["pixel_values"] for s in range(8)]
    assert torch.equal(torch.get_rng_state(), state)
    again = [copy(member, train=True, seed=s)["pixel_values"] for s in range(8)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({tuple(x.flatten()[:50].tolist()) for x in first}) == 8


def test_random_crops_are_distributed_as_torchvisions():
    size, draws = (300, 200), 3000
    ours = [_random_crop(size, (0.08, 1.0), random.Random(seed)) for seed in range(draws)]
    torch.manual_seed(0)
    blank = torch.empty(3, 200, 300)
    theirs = [RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(draws)]
    shares = np.array([[c.top, c.left, c.height, c.width] for c in ours])
    wanted = np.array(theirs) / [200, 300, 200, 300]
    assert np.abs(shares.mean(0) - wanted.mean(0)).max() < 0.02
    assert np.abs(shares.std(0) - wanted.std(0)).max() < 0.02


def test_switches_of_augmentation(checkpoints):
    member = tiny.image_bytes(tiny.picture(50, 50))
    plain = evaluate(checkpoints["clip"], member)

    def train(**more: object) -> list[torch.Tensor]:
        preprocessor = IMAGE.preprocessor(options(checkpoints["clip"], **more))
        return [preprocessor(member, train=True, seed=s)["pixel_values"] for s in range(12)]

    assert all(torch.equal(x, plain) for x in train(augment=False, flip=False))
    flipped = [torch.equal(x, plain.flip(-1)) for x in train(augment=False)]
    assert 0 < sum(flipped) < 12
    assert all(torch.equal(x, plain) for x, f in zip(train(augment=False), flipped, strict=True) if not f)
    narrow = IMAGE.preprocessor(options(checkpoints["clip"], crop_scale=(0.7, 0.8))).transform
    crops = [narrow.choose((100, 100), train=True, seed=s).crop for s in range(40)]
    areas = [crop.width * crop.height for crop in crops]
    assert 0.7 <= min(areas) < 0.72
    assert 0.78 < max(areas) <= 0.8 + 1e-9
    with pytest.raises(ValidationError, match="crop_scale"):
        options(checkpoints["clip"], crop_scale=(0.5, 0.2))


def transform(edge: int | None, box: tuple[int, int] | None, crop: tuple[int, int] | None) -> PixelTransform:
    constants = ImageConstants(edge, box, crop, None, 2, 1 / 255, False, (0, 0, 0), (1, 1, 1))
    return PixelTransform(constants, augment=True, flip=True, crop_scale=(0.08, 1.0))


def test_a_picture_is_decoded_to_twice_the_pixels_that_are_needed():
    """Shares of a picture of 800 x 400, by hand."""
    whole = View(None)
    assert transform(50, None, (32, 32)).sufficient_scale((800, 400), whole) == 2 * 50 / 400
    assert transform(None, (48, 24), None).sufficient_scale((800, 400), whole) == 2 * 48 / 400
    assert transform(None, (24, 96), None).sufficient_scale((800, 400), whole) == 2 * 96 / 800
    assert transform(None, None, (32, 32)).sufficient_scale((800, 400), whole) == 1
    part = View(Crop(0, 0, width=0.5, height=0.5))
    assert transform(50, None, (32, 32)).sufficient_scale((800, 400), part) == 2 * 32 / 200
    assert transform(None, (24, 96), None).sufficient_scale((800, 400), part) == 2 * 96 / 400
    assert transform(300, None, (300, 300)).sufficient_scale((800, 400), whole) == 1


def test_evaluation_never_mirrors_and_long_pictures_are_cut_in_the_middle():
    views = [transform(50, None, (32, 32)).choose((90, 60), train=False, seed=seed) for seed in range(20)]
    assert views == [View(None)] * 20
    for size, box in (((1000, 10), (0.495, 0, 0.01, 1)), ((20, 400), (0, 0.475, 1, 0.05))):
        crop = _random_crop(size, (1.0, 1.0), random.Random(0))  # no such crop has all of its area
        assert (crop.left, crop.top, crop.width, crop.height) == pytest.approx(box)


def upright(member: bytes) -> np.ndarray:
    return np.asarray(decode_rgb(member)).astype(int)


def test_exif_orientation_is_applied():
    image = tiny.picture(40, 24)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    turned = image.transpose(Image.Transpose.ROTATE_90)
    member = tiny.image_bytes(turned, "JPEG", exif=exif, quality=95)
    assert upright(member).shape == (24, 40, 3)
    assert np.abs(upright(member) - np.asarray(image).astype(int)).mean() < 4
    opened = IMAGE.to_member(Image.open(io.BytesIO(member)))  # a program's picture, as the camera wrote it
    assert np.array_equal(upright(opened), upright(member))


def test_large_jpegs_decode_small_with_nearly_the_same_pixels(checkpoints):
    image = tiny.picture(1600, 1200)
    exif = Image.Exif()
    exif[0x0112] = 8
    member = tiny.image_bytes(image, "JPEG", exif=exif, quality=95)
    sizes = []
    small = decode_rgb(member, lambda size: sizes.append(size) or 0.1)
    assert sizes == [(1200, 1600)]
    assert small.size == (150, 200)
    preprocessor = IMAGE.preprocessor(options(checkpoints["clip"]))
    for train in (False, True):
        quick = preprocessor(member, train=train, seed=3)["pixel_values"]
        full = decode_rgb(member)
        crop = preprocessor.transform.choose(full.size, train=train, seed=3)
        exact = preprocessor.transform(F.pil_to_tensor(full), crop)
        assert (quick - exact).abs().mean() < 0.03


@pytest.mark.parametrize(
    "member",
    [
        tiny.image_bytes(tiny.picture().convert("CMYK"), "JPEG", quality=95),
        tiny.image_bytes(tiny.picture().convert("CMYK"), "TIFF"),
        tiny.image_bytes(tiny.picture(), "WEBP", lossless=True),
        tiny.image_bytes(tiny.picture(), "BMP"),
        tiny.image_bytes(tiny.picture().convert("RGBA")),
        tiny.image_bytes(tiny.picture().quantize(256)),
        tiny.image_bytes(tiny.picture(), "GIF", save_all=True, append_images=[Image.new("RGB", (48, 40))]),
    ],
    ids=["cmyk-jpeg", "cmyk-tiff", "webp", "bmp", "rgba", "palette", "animated-gif"],
)
def test_kinds_of_files_give_the_same_picture(member):
    assert np.abs(upright(member) - np.asarray(tiny.picture()).astype(int)).mean() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_white(mode):
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 2, 4))
    member = tiny.image_bytes(image.convert(mode) if mode != "P" else image.quantize(4))
    assert upright(member)[:, 2:].min() == 255
    assert upright(member)[:, :2].max() == 0


def test_16_bit_grey_keeps_its_brightness():
    values = np.array([[0, 257 * 10], [257 * 128, 65535]], dtype=np.uint16)
    member = tiny.image_bytes(Image.fromarray(values))
    assert upright(member)[:, :, 0].tolist() == [[0, 10], [128, 255]]


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (b"", "empty file"),
        (b"not an image", "unknown format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unknown format"),
        (tiny.image_bytes(tiny.picture(), "PNG")[:200], "cannot be decoded"),
        (tiny.image_bytes(tiny.picture(), "JPEG")[:-200], "cannot be decoded"),
        (png_claiming(12_000, 12_000), "larger than the limit"),
        (png_claiming(60_000, 60_000), "cannot be decoded"),
        (tiny.image_bytes(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "TIFF"), "mode F"),
    ],
    ids=["empty", "text", "eps", "cut-png", "cut-jpeg", "large", "bomb", "float"],
)
def test_unusable_files_say_why(checkpoints, member, reason):
    with pytest.raises(BadSample, match=reason) as caught:
        evaluate(checkpoints["clip"], member)
    assert "\n" not in str(caught.value)


def test_long_thin_pictures_cost_nothing(checkpoints):
    preprocessor = IMAGE.preprocessor(options(checkpoints["clip"]))
    member = tiny.image_bytes(Image.new("RGB", (1, 20_000), "red"))
    for train in (False, True):
        assert preprocessor(member, train=train, seed=1)["pixel_values"].shape == (3, 32, 32)


def test_registered_through_the_entry_point():
    import u2a_image

    found = []
    u2a_image.u2a_register_modalities(found.append)
    assert [spec.name for spec in found] == ["image"]
    packaged = Path(u2a_image.__file__).parent / "configs" / "openai--clip-vit-base-patch16"
    assert json.loads((packaged / "preprocessor_config.json").read_text())["size"] == 224
