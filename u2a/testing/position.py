"""Conformance check of the class token: the backbone's own, where it has one."""

from __future__ import annotations

import re

import torch

from u2a.method.branch import class_token, mean_of_rows
from u2a.testing.case import Case, Findings, check
from u2a.testing.tokens import EMBEDDING, ENCODER, class_places, equal_rows, perturb

#: A learned class token among a backbone's parameters.
_CLASS = re.compile(r"(^|[._])(cls|class|distillation)(_?(token|embedding|embed|emb))?(_[A-Z]+)?$")


@check("class positions that are the backbone's own class token, or None for the mean", EMBEDDING)
def class_position(case: Case) -> Findings:
    cls = case.tokens.cls
    if not isinstance(cls, tuple):
        return
    before_NLD, backbone = case.tokens.hidden_NLD, case.backbone().eval()
    own = [(name, p) for name, p in backbone.named_parameters() if _CLASS.search(name)]
    for _, parameter in own:
        perturb(parameter)
    changed_NL = (case.tokens_of(backbone).hidden_NLD - before_NLD).abs().amax(-1) > 0
    places = changed_NL.all(0).nonzero().flatten().tolist()
    if places and not set(class_places(case.tokens)) <= set(places):
        yield f"cls is {cls}, but {own[0][0]} stands at {', '.join(map(str, places))}"
    elif not places and not equal_rows(before_NLD[:, list(cls)]):
        yield f"what stands at {cls} differs by sample, so it is no class token; cls=None takes the mean"


@check("a class token that reads its sample: it differs by sample where there is no mask token", ENCODER)
def class_token_reads(case: Case) -> Findings:
    backbone = case.backbone().eval()
    with torch.no_grad():
        tokens = case.tokens_of(backbone)
        cls_ND = class_token(case.spec.encoder(backbone, tokens), tokens)
    if equal_rows(mean_of_rows(cls_ND, tokens.rows_P)):
        yield (
            f"what stands at {tokens.cls} is the same for different samples, as if it saw nothing behind it; "
            "where tokens see those before them alone, the last one is the class token"
        )
