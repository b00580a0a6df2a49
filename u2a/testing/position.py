"""Conformance check of the class token: the backbone's own, where it has one."""

from __future__ import annotations

import re

from u2a.testing.case import Case, Findings, check
from u2a.testing.tokens import EMBEDDING, class_places, equal_rows, perturb

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
