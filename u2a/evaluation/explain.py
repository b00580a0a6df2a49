"""What each modality contributed to one prediction: exact Shapley values over its patterns, from one encoding.

Shape suffixes: S subsets of the sample's modalities, M modalities in recipe order, C classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from u2a.contract.modality import Example
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


@dataclass(frozen=True)
class Subsets:
    """What the model says of one sample from every subset of its modalities, all from one encoding.

    Attributes:
        names: the sample's modalities, in recipe order.
        p_SC: calibrated probabilities, float64; bit m of a row's number says whether ``names[m]`` takes part.
            Row 0: nothing is known, every modality is at its mean.
    """

    names: tuple[str, ...]
    p_SC: np.ndarray

    def of(self, names: Collection[str]) -> Subsets:
        """The subsets of some of the modalities only."""
        bits = [1 << bit for bit, name in enumerate(self.names) if name in names]
        rows = [sum(bit for k, bit in enumerate(bits) if row >> k & 1) for row in range(2 ** len(bits))]
        return Subsets(tuple(name for name in self.names if name in names), self.p_SC[rows])

    def explanation(self, classes: Sequence[str], label: str | None = None) -> Explanation:
        """What each modality contributed to a class; to the most probable one if None."""
        c = int(self.p_SC[-1].argmax()) if label is None else classes.index(label)
        p_S = self.p_SC[:, c]
        return Explanation(
            classes[c],
            float(p_S[-1]),
            float(p_S[0]),
            dict(zip(self.names, shapley_values(p_S).tolist(), strict=True)),
            {name: float(p_S[1 << bit]) for bit, name in enumerate(self.names)},
        )


def explain(predictor: Predictor, example: Mapping[str, Example], label: str | None = None) -> Explanation:
    """`Explanation` of one sample that `Predictor.read` made.

    Args:
        label: the class; the most probable one if None.

    Raises:
        U2AError: no such class, or more than 12 modalities.
    """
    classes = predictor.recipe.task.classes
    if label is not None and label not in classes:
        raise U2AError(f"{label!r} is none of the classes: {', '.join(classes[:20])}")
    return subsets_of(predictor, example).explanation(classes, label)


def subsets_of(predictor: Predictor, example: Mapping[str, Example]) -> Subsets:
    """`Subsets` of one sample that `Predictor.read` made.

    Raises:
        U2AError: more than 12 modalities.
    """
    if len(example) > MOST:
        raise U2AError(f"a sample of {len(example)} modalities has too many patterns; {MOST} at most")
    network = predictor.network
    batch = predictor.batch([example])
    given = [m for m, name in enumerate(network.names) if name in example]
    present_SM = torch.zeros(2 ** len(given) - 1, len(network.names), dtype=torch.bool)
    for row in range(len(present_SM)):
        for bit, m in enumerate(given):
            present_SM[row, m] = bool(row + 1 >> bit & 1)
    with torch.inference_mode():
        cls_BMD, mask_BMMD = network.encode(batch.inputs, batch.present_BM)
        many = (len(present_SM),)
        kept_SM1 = present_SM[:, :, None].to(predictor.place.device)
        logits_SC = network.classify(
            cls_BMD.expand(*many, *cls_BMD.shape[1:]) * kept_SM1,
            mask_BMMD.expand(*many, *mask_BMMD.shape[1:]) * kept_SM1[..., None],
            kept_SM1[..., 0],
        )
        nothing_1C = network.head.bias.detach()[None]
    known, M = predictor.calibration, len(network.names)
    v_SC = [known.probabilities(nothing_1C.float().cpu().numpy(), "none", M)[0]]
    for logits_C, kept in zip(logits_SC.float().cpu().numpy(), present_SM.tolist(), strict=True):
        v_SC.append(known.probabilities(logits_C[None], pattern_name(network.names, kept), M)[0])
    return Subsets(tuple(network.names[m] for m in given), np.stack(v_SC))
