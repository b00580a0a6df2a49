"""Patches of pictures of any shape, and whole clips, as transformers' own processors make them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers as hf
from PIL import Image
from torch import Tensor

from u2a.errors import U2AError
from u2a_image.spec import IMAGE
from u2a_video.decode import decode_frames
from u2a_video.preprocess import choose_frames
from u2a_video.spec import VIDEO

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CLIP = tiny.clip_bytes(tiny.numbered_frames(9))


def siglip2(folder: Path, **processor: object) -> Path:
    config = hf.Siglip2VisionConfig(**SIZES, intermediate_size=48, patch_size=8, num_patches=16)
    tiny.save(hf.Siglip2VisionModel(config), folder)
    hf.Siglip2ImageProcessor(patch_size=8, **processor).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("size", [(40, 40), (90, 31), (25, 200), (8, 8)])
def test_patches_are_those_of_transformers_own_processor(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = siglip2(tmp_path, max_num_patches=40)
    member = tiny.image_bytes(tiny.picture(*size))
    options = IMAGE.options(kind="image", encoder=str(folder))
    made = IMAGE.preprocessor(options)(member, train=False, seed=0)
    own = hf.Siglip2ImageProcessor.from_pretrained(folder)
    wanted = own(Image.open(io.BytesIO(member)).convert("RGB"), return_tensors="pt")
    assert made["spatial_shapes"].tolist() == wanted["spatial_shapes"][0].tolist()
    patches = int(wanted["pixel_attention_mask"].sum())
    torch.testing.assert_close(made["pixel_values"], wanted["pixel_values"][0, :patches], atol=1e-5, rtol=1e-5)


def test_a_resolution_asks_for_as_many_patches_as_its_square_has(tmp_path: Path) -> None:
    folder = siglip2(tmp_path)
    options = IMAGE.options(kind="image", encoder=str(folder), resolution=32)
    made = IMAGE.preprocessor(options)
    for seed, train in ((0, False), (1, True), (2, True)):
        values = made(tiny.image_bytes(tiny.picture(60, 44)), train=train, seed=seed)["pixel_values"]
        assert 8 < len(values) <= 16
    drawn = [
        made(tiny.image_bytes(tiny.picture(60, 44)), train=True, seed=n)["pixel_values"] for n in (1, 1, 2)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert drawn[0].shape != drawn[2].shape or not torch.equal(drawn[0], drawn[2])


def test_training_mirrors_and_crops_what_becomes_patches(tmp_path: Path) -> None:
    folder, member = siglip2(tmp_path, max_num_patches=40), tiny.image_bytes(tiny.picture(40, 40))

    def pixels(train: bool, seed: int, **more: object) -> Tensor:
        made = IMAGE.preprocessor(IMAGE.options(kind="image", encoder=str(folder), **more))
        one = made(member, train=train, seed=seed)
        down, across = one["spatial_shapes"].tolist()
        rows = one["pixel_values"].view(down, across, 8, 8, 3)
        return rows.transpose(1, 2).reshape(8 * down, 8 * across, 3)

    plain = pixels(False, 0)
    assert all(torch.equal(pixels(False, n), plain) for n in range(1, 9))
    mirrored = [torch.equal(pixels(True, n, augment=False), plain.flip(1)) for n in range(8)]
    assert 0 < sum(mirrored) < 8
    assert all(m or torch.equal(pixels(True, n, augment=False), plain) for n, m in enumerate(mirrored))
    cropped = [pixels(True, n, flip=False) for n in range(4)]
    assert not any(one.shape == plain.shape and torch.equal(one, plain) for one in cropped)


def test_a_file_whose_patches_mean_nothing_is_refused_by_key(tmp_path: Path) -> None:
    folder = siglip2(tmp_path)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_num_patches": 0}))
    with pytest.raises(U2AError, match=r"preprocessor_config.json: max_num_patches: must be a whole number"):
        IMAGE.preprocessor(IMAGE.options(kind="image", encoder=str(folder)))


def videos(name: str, folder: Path) -> tuple[Path, object]:
    """A tiny checkpoint of a kind, and transformers' own processor for it."""
    size = {"image_size": 32, "num_frames": 4, "intermediate_size": 48}
    if name == "videomae":
        model: object = hf.VideoMAEModel(hf.VideoMAEConfig(**SIZES, **size, patch_size=8))
        processor: object = hf.VideoMAEImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
    elif name == "vivit":
        model = hf.VivitModel(hf.VivitConfig(**SIZES, **size, tubelet_size=[2, 8, 8]))
        processor = hf.VivitImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    else:
        more = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
        config = hf.VJEPA2Config(**SIZES, crop_size=32, patch_size=8, frames_per_clip=4, **more)
        model, processor = hf.VJEPA2Model(config), hf.VJEPA2VideoProcessor(crop_size=32)
    tiny.save(model, folder)
    processor.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder, processor


def own_pixels(processor: object, frames: list[np.ndarray]) -> Tensor:
    if isinstance(processor, hf.VJEPA2VideoProcessor):
        stacked = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
        return processor(stacked, return_tensors="pt")["pixel_values_videos"][0]
    return processor(list(frames), return_tensors="pt")["pixel_values"][0]  # type: ignore[operator]


@pytest.mark.parametrize("name", ["videomae", "vivit", "vjepa2"])
def test_whole_clips_are_those_of_transformers_own_processor(tmp_path: Path, name: str) -> None:
    folder, processor = videos(name, tmp_path)
    made = VIDEO.preprocessor(VIDEO.options(kind="video", encoder=str(folder)))
    pixels = made(CLIP, train=False, seed=0)["pixel_values"]
    frames = decode_frames(CLIP, lambda times: choose_frames(len(times), 4, None))
    wanted = own_pixels(processor, frames)
    # resampled 8-bit values may be rounded the other way: Pillow here, torchvision there
    step = 2.5 / 255 / 0.22
    assert pixels.shape == wanted.shape == (4, 3, 32, 32)
    assert (pixels - wanted).abs().max() < step
    assert (pixels - wanted).abs().mean() < step / 10
    other = made(CLIP, train=True, seed=1)["pixel_values"]
    together = made.collate([{"pixel_values": pixels}, {"pixel_values": other}])
    assert list(together) == ["pixel_values"]  # the frames of a clip are no rows of their own
    assert torch.equal(together["pixel_values"], torch.stack([pixels, other]))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("videomae", {"frames": 3}, "frames = 3: encoder .* reads 4 at once; leave frames out"),
        ("vivit", {"frames": 8}, "frames = 8: encoder .* reads 4 at once"),
        ("vjepa2", {"frames": 5}, "frames = 5: encoder .* reads a multiple of 2 at once"),
        ("videomae", {"resolution": 64}, "resolution = 64: .* has positions for 32 x 32 pixels only"),
    ],
)
def test_clips_that_an_encoder_has_no_positions_for_are_refused(
    tmp_path: Path, name: str, options: dict[str, int], said: str
) -> None:
    folder, _ = videos(name, tmp_path)
    chosen = VIDEO.options(kind="video", encoder=str(folder), **options)
    for part in (VIDEO.preprocessor, lambda o: VIDEO.backbone(o, weights=True)):
        with pytest.raises(U2AError, match=said):
            part(chosen)


def test_vjepa2_reads_longer_clips(tmp_path: Path) -> None:
    folder, _ = videos("vjepa2", tmp_path)
    options = VIDEO.options(kind="video", encoder=str(folder), frames=6)
    backbone, made = VIDEO.backbone(options, weights=True).eval(), VIDEO.preprocessor(options)
    inputs = made.collate([made(CLIP, train=False, seed=0)])
    with torch.no_grad():
        hidden = VIDEO.encoder(backbone, VIDEO.embedding(backbone, inputs))
        own = hf.VJEPA2Model.from_pretrained(folder).eval()
        wanted = own(inputs["pixel_values"], skip_predictor=True).last_hidden_state
    torch.testing.assert_close(hidden, wanted, atol=1e-5, rtol=1e-5)
