"""Text encoders of transformers that the text modality takes, by ``model_type``."""

from __future__ import annotations

from u2a.encoders.architectures import Architecture

#: The pooler is kept, so that the model is the published one, but nothing runs it.
_POOLER = ("pooler.",)


def _like_bert(name: str) -> Architecture:
    return Architecture(name, unused=_POOLER)


#: Of models of pictures and texts: the text tower, whose class token is the last one.
_CLIP = Architecture("CLIPTextModel", cls="end", norm="final_layer_norm")
_META_CLIP = Architecture("MetaClip2TextModel", cls="end", norm="final_layer_norm")
_SIGLIP = Architecture("SiglipTextModel", cls=(-1,), norm="final_layer_norm", full=True, unused=("head.",))
_SIGLIP2 = Architecture("Siglip2TextModel", cls=(-1,), norm="final_layer_norm", full=True, unused=("head.",))

ARCHITECTURES = {
    "bert": _like_bert("BertModel"),
    "roberta": _like_bert("RobertaModel"),
    "xlm-roberta": _like_bert("XLMRobertaModel"),
    "camembert": _like_bert("CamembertModel"),
    "electra": _like_bert("ElectraModel"),
    "distilbert": Architecture("DistilBertModel"),
    "mpnet": Architecture("MPNetModel", unused=_POOLER, tuples=1),
    "deberta-v2": Architecture("DebertaV2Model", tuples=2),
    "modernbert": Architecture("ModernBertModel", norm="final_norm"),
    "nomic_bert": Architecture("NomicBertModel", {"add_pooling_layer": False}),
    "gte": Architecture("GteModel", {"add_pooling_layer": False}),
    "eurobert": Architecture("EuroBertModel", cls=None, norm="norm"),
    "esm": Architecture("EsmModel", norm="encoder.emb_layer_norm_after", unused=(*_POOLER, "contact_head.")),
    "clip": _CLIP,
    "clip_text_model": _CLIP,
    "metaclip_2": _META_CLIP,
    "metaclip_2_text_model": _META_CLIP,
    "siglip": _SIGLIP,
    "siglip_text_model": _SIGLIP,
    "siglip2": _SIGLIP2,
    "siglip2_text_model": _SIGLIP2,
    "t5": Architecture("T5EncoderModel", cls=None, norm="final_layer_norm", part="encoder", tuples=3),
}
