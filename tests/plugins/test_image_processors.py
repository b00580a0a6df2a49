"""Image processors that u2a stands in for, and those that it cannot; encoders of other than colour pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
import torch
import toys
import transformers as hf
from click.testing import CliRunner
from PIL import Image

from u2a.cli.main import main
from u2a.errors import U2AError
from u2a_image.spec import IMAGE
from u2a_video.spec import VIDEO

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PICTURE = {**SIZES, "image_size": 32, "patch_size": 8}
LIKE = ("BlipImageProcessor", "ChineseCLIPImageProcessor", "FlavaImageProcessor", "MobileNetV2ImageProcessor")
#: They crop by a share, at other sizes than they are told, shift values, or cut patches.
UNLIKE = (
    "ConvNextImageProcessor",
    "LevitImageProcessor",
    "PoolFormerImageProcessor",
    "PerceiverImageProcessor",
)
UNLIKE += ("EfficientNetImageProcessor", "Siglip2ImageProcessor")


def with_processor(checkpoints: dict[str, Path], folder: Path, name: str) -> tuple[Path, object]:
    shutil.copytree(checkpoints["vit"], folder)
    processor = getattr(hf, name)()
    processor.save_pretrained(folder)
    return folder, processor


def options(folder: Path, **more: object):
    return IMAGE.options.model_validate({"kind": "image", "encoder": str(folder), **more})


@pytest.mark.parametrize("name", LIKE)
def test_a_processor_that_scales_and_crops_gives_the_same(tmp_path, checkpoints, name: str) -> None:
    folder, processor = with_processor(checkpoints, tmp_path / "e", name)
    image: Image.Image = tiny.picture(90, 61)
    wanted = processor(image, return_tensors="pt")["pixel_values"][0]  # type: ignore[operator]
    found = IMAGE.preprocessor(options(folder))(tiny.image_bytes(image), train=False, seed=0)
    torch.testing.assert_close(found["pixel_values"], wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", UNLIKE)
@pytest.mark.parametrize("resolution", [None, 32])
def test_a_processor_that_does_something_else_is_refused_by_class(tmp_path, checkpoints, name, resolution):
    folder, _ = with_processor(checkpoints, tmp_path / "e", name)
    said = rf"preprocessor_config\.json: image_processor_type: {name} does something that u2a does not: "
    with pytest.raises(U2AError, match=said) as error:
        IMAGE.preprocessor(options(folder, resolution=resolution))
    assert "\n" not in str(error.value)


def test_an_encoder_of_grey_pictures_is_refused_before_the_training(tmp_path, checkpoints) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 4})
    shutil.rmtree(tmp_path / "clip")
    tiny.save(hf.ViTModel(hf.ViTConfig(**PICTURE, num_channels=1)), tmp_path / "clip")
    hf.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "clip")
    done = CliRunner().invoke(main, ["recipe", "check", str(recipe)])
    assert done.exit_code == 2
    assert "modalities.image: encoder" in done.output
    assert "reads pictures of 1 channels (config.json: num_channels)" in " ".join(done.output.split())
    clip = hf.VideoMAEConfig(**PICTURE, num_frames=4, num_channels=1)
    tiny.save(hf.VideoMAEModel(clip), tmp_path / "film")
    chosen = VIDEO.options.model_validate({"kind": "video", "encoder": str(tmp_path / "film")})
    with pytest.raises(U2AError, match="reads pictures of 1 channels"):
        VIDEO.backbone(chosen, weights=True)
