"""Text encoders of transformers that the text modality takes, by ``model_type``."""

from __future__ import annotations

from u2a.encoders.architectures import Architecture

#: The pooler is kept, so that the model is the published one, but nothing runs it.
_POOLER = ("pooler.",)


def _like_bert(name: str) -> Architecture:
    return Architecture(name, unused=_POOLER)


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
    "t5": Architecture("T5EncoderModel", cls=None, norm="final_layer_norm", part="encoder", tuples=3),
}
