"""What each modality contributed to one prediction: exact Shapley values over its patterns, from one encoding.

Shape suffixes: S subsets of the sample's modalities, M modalities in recipe order, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from u2a.contract.modality import Example
from u2a.data.feeding.batches import Sample, unwrap
from u2a.errors import U2AError
from u2a.evaluation.calibration import pattern_name
from u2a.evaluation.predict import Predictor
from u2a.evaluation.shapley import shapley_values
from u2a.evaluation.shown import table

#: More modalities in one sample have too many subsets.
MOST = 12


@dataclass(frozen=True)
class Explanation:
    """Why one sample got a class.

    Attributes:
        label: the class that is explained.
        probability: of the class, from all that the sample has.
        nothing: of the class where nothing is known: what the head says of every modality's mean.
        contributions: modality to its Shapley value; they add up to ``probability - nothing``.
        alone: modality to the probability of the class from it alone.
    """

    label: str
    probability: float
    nothing: float
    contributions: dict[str, float]
    alone: dict[str, float]

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {value:+.1%}" for name, value in self.contributions.items())
        return f"Explanation({self.label!r} {self.probability:.1%} = {self.nothing:.1%} {parts})"

    def _repr_html_(self) -> str:
        rows = [
            (name, f"{value:+.1%}", f"{self.alone[name]:.1%}") for name, value in self.contributions.items()
        ]
        why = f"{self.label}: {self.probability:.1%}; {self.nothing:.1%} where nothing is known"
        return table(("modality", "added", "alone"), rows, why)


def explain(predictor: Predictor, example: Mapping[str, Example], label: str | None = None) -> Explanation:
    """`Explanation` of one sample that `Predictor.read` made.

    Args:
        label: the class; the most probable one if None.

    Raises:
        U2AError: no such class, or more than 12 modalities.
    """
    network, classes = predictor.network, predictor.recipe.task.classes
    if label is not None and label not in classes:
        raise U2AError(f"{label!r} is none of the classes: {', '.join(classes[:20])}")
    if len(example) > MOST:
        raise U2AError(f"a sample of {len(example)} modalities has too many patterns; {MOST} at most")
    present = tuple(name in example for name in network.names)
    given = [m for m, there in enumerate(present) if there]
    moved = unwrap(predictor.collate([Sample(0, "0", example, present)])).to(predictor.place.device)
    subsets = range(1, 2 ** len(given))
    present_SM = torch.zeros(len(subsets), len(present), dtype=torch.bool, device=predictor.place.device)
    for row, subset in enumerate(subsets):
        for bit, m in enumerate(given):
            present_SM[row, m] = bool(subset >> bit & 1)
    with torch.inference_mode():
        cls_BMD, mask_BMMD = network.encode(moved.inputs, moved.present_BM)
        many = (len(subsets),)
        kept_SM1 = present_SM[:, :, None]
        logits_SC = network.classify(
            cls_BMD.expand(*many, *cls_BMD.shape[1:]) * kept_SM1,
            mask_BMMD.expand(*many, *mask_BMMD.shape[1:]) * kept_SM1[..., None],
            present_SM,
        )
        nothing_C = network.head.bias.detach()
    known = predictor.calibration
    v_SC = [known.probabilities(nothing_C.float().cpu().numpy()[None], "none", len(present))[0]]
    for logits_C, kept in zip(logits_SC.float().cpu().numpy(), present_SM.tolist(), strict=True):
        v_SC.append(known.probabilities(logits_C[None], pattern_name(network.names, kept), len(present))[0])
    v = np.stack(v_SC)
    c = int(v[-1].argmax()) if label is None else classes.index(label)
    values = shapley_values(v[:, c])
    names = [network.names[m] for m in given]
    return Explanation(
        classes[c],
        float(v[-1, c]),
        float(v[0, c]),
        dict(zip(names, values.tolist(), strict=True)),
        {name: float(v[1 << bit, c]) for bit, name in enumerate(names)},
    )
