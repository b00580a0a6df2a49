"""Vision encoders of transformers that the image modality takes, by ``model_type``."""

from __future__ import annotations

from u2a.encoders.architectures import Architecture

_SIZES = {"interpolate_pos_encoding": True}
_PLAIN = {"add_pooling_layer": False}
#: Rotary positions that training would shift at random.
_STILL = dict.fromkeys(("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale"))
#: Parameters for masked-image pretraining: no forward pass of ours uses them.
_MASK = ("embeddings.mask_token",)
#: Of those that pool by the mean: the norm is the pooler's, in pretraining the head's.
_NORMS = ("pooler.layernorm", "layernorm")
_CLIP = Architecture("CLIPVisionModel", call=_SIZES, pre_norm="pre_layrnorm", norm="post_layernorm")
_META_CLIP = Architecture("MetaClip2VisionModel", call=_SIZES, pre_norm="pre_layrnorm", norm="post_layernorm")
_SIGLIP = Architecture("SiglipVisionModel", call=_SIZES, cls=None, norm="post_layernorm", unused=("head.",))
_SIGLIP2 = Architecture("Siglip2VisionModel", cls=None, norm="post_layernorm", unused=("head.",))
_VIT = Architecture("ViTModel", _PLAIN, _SIZES, norm="layernorm", unused=_MASK)

ARCHITECTURES = {
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "metaclip_2": _META_CLIP,
    "metaclip_2_vision_model": _META_CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "siglip2": _SIGLIP2,
    "siglip2_vision_model": _SIGLIP2,
    "vit": _VIT,
    "deit": Architecture("DeiTModel", _PLAIN, _SIZES, cls=(0, 1), norm="layernorm", unused=_MASK),
    "beit": Architecture("BeitModel", _PLAIN, _SIZES, norm="layernorm", norms=_NORMS, unused=_MASK),
    "data2vec-vision": Architecture(
        "Data2VecVisionModel", _PLAIN, _SIZES, norm="layernorm", norms=_NORMS, tuples=1, unused=_MASK
    ),
    "vit_mae": Architecture(
        "ViTMAEModel", {}, _SIZES, norm="layernorm", settings={"mask_ratio": 0.0}, unused=("decoder.",)
    ),
    "vit_msn": Architecture("ViTMSNModel", {}, _SIZES, norm="layernorm", unused=_MASK),
    "ijepa": Architecture("IJepaModel", _PLAIN, _SIZES, cls=None, norm="layernorm", unused=_MASK),
    "dinov2": Architecture("Dinov2Model", norm="layernorm", unused=_MASK),
    "dinov2_with_registers": Architecture("Dinov2WithRegistersModel", norm="layernorm", unused=_MASK),
    "dinov3_vit": Architecture("DINOv3ViTModel", norm="norm", settings=_STILL, unused=_MASK),
}
#: Those that read patches of pictures of any shape (NaFlex).
PATCHES = ("siglip2", "siglip2_vision_model")
