"""Video encoders of transformers that read all frames of a clip at once, by ``model_type``."""

from __future__ import annotations

from u2a.encoders.architectures import Architecture
from u2a_image.architectures import ARCHITECTURES as PICTURES
from u2a_image.architectures import PATCHES

NATIVE = {
    "videomae": Architecture("VideoMAEModel", cls=None, norm="layernorm", norms=("fc_norm",)),
    "vivit": Architecture("VivitModel", {"add_pooling_layer": False}, norm="layernorm"),
    "vjepa2": Architecture(
        "VJEPA2Model", cls=None, norm="layernorm", tuples=2, part="encoder", unused=("predictor.",)
    ),
}
#: Frame by frame, pictures must have one shape.
ARCHITECTURES = {name: known for name, known in PICTURES.items() if name not in PATCHES} | NATIVE
