"""The score of a mix of patterns, where that is no mean of the patterns' scores: F1 and mean average precision.

Every sample enters with each pattern that leaves something of it, weighted by the pattern's probability: what
the score tends to when every sample comes many times, each time with another pattern. F1 then follows from
expected counts of right guesses, guesses and truths; average precision from the ranking of all samples in all
patterns, in which each has its weight. How the score moves with one sample (its influence) follows likewise.

Shape suffixes: N samples, K patterns, C classes, S seeds, E weighted entries, G groups of equal confidence.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from u2a.common.seeds import stable_seed
from u2a.report.values.predictions import Predictions

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
#: Scores that no mean over patterns gives, by their form, and what the page's script calls them.
FORMS = {"class_f1": "f1_macro", "pooled_f1": "f1_micro", "class_precision": "map"}
#: Values (samples x patterns x classes x seeds) that the page carries, and that the command line weighs.
ON_PAGE, AT_MOST = 250_000, 100_000_000
#: Samples x patterns that the page's two bytes can rank.
RANKS = 2**16


def choose(n: int, each: int, limit: int, most: int | None = None, seed: int = 0) -> NDArray[np.int64]:
    """The samples that are weighed: all, or as many as keep within the limit, drawn from the seed.

    Args:
        each: values of one sample; most: samples at most, whatever their values.
    """
    kept = min(n, max(2, limit // max(each, 1)), n if most is None else most)
    if kept == n:
        return np.arange(n)
    draw = np.random.default_rng(stable_seed("in use", seed, n))
    return np.sort(draw.permutation(n)[:kept])


@dataclass(frozen=True)
class Mix:
    """What the score of any mix of K patterns follows from.

    Attributes:
        metric: one of the values of `FORMS`.
        value_SNKC: what was guessed (bool), or for ``map`` the confidence; any number where unused.
        truth_NC: bool; used_NK: whether the pattern leaves something of the sample.
        n: how many samples these stand for.
    """

    metric: str
    value_SNKC: NDArray[Any]
    truth_NC: Bools
    used_NK: Bools
    n: int

    @classmethod
    def of(
        cls,
        patterns: Iterable[Predictions],
        truth_NC: Bools,
        used_NK: Bools,
        metric: str,
        chosen_N: NDArray[np.int64] | None = None,
    ) -> Mix:
        """From every pattern's predictions of all samples, of one run.

        Args:
            chosen_N: places of the samples that are weighed; all if None.
        """
        n = len(truth_NC)
        places = np.arange(n) if chosen_N is None else chosen_N
        columns = [
            (one.probability_NC if metric == "map" else one.guess_NC).numpy()[places] for one in patterns
        ]
        return cls(metric, np.stack(columns, 1)[None], truth_NC[places], used_NK[places], n)

    @classmethod
    def joined(cls, runs: Sequence[Mix]) -> Mix:
        """Runs of other seeds on the same samples as one."""
        values = np.concatenate([run.value_SNKC for run in runs])
        return dataclasses.replace(runs[0], value_SNKC=values)

    def at(self, share_K: Sequence[float] | Array) -> tuple[float, float]:
        """The score when patterns come with these shares (mean over seeds), and its variance over samples."""
        weight_NK = self.used_NK * np.asarray(share_K, dtype=float)
        if not weight_NK.any():
            return np.nan, np.nan
        found = [self._at(value_NKC, weight_NK) for value_NKC in self.value_SNKC]
        influence_N = np.mean([influence_N for _, influence_N in found], 0)
        return float(np.mean([score for score, _ in found])), self._scaled(influence_N @ influence_N)

    def beyond(self, share_K: Sequence[float] | Array) -> tuple[float, float, Array]:
        """What the score differs by from the mean of the patterns; its variance; each pattern's, ``[K]``."""
        share_K = np.asarray(share_K, dtype=float)
        score, variance = self.at(share_K)
        part_K = share_K * self.used_NK.sum(0)
        score_K, variance_K = self.alone
        met_K = part_K > 0
        mean = float(part_K[met_K] @ score_K[met_K] / part_K.sum()) if met_K.any() else np.nan
        return score - mean, variance, variance_K

    @cached_property
    def alone(self) -> tuple[Array, Array]:
        """Each pattern's score, and its variance over samples."""
        K = self.used_NK.shape[1]
        found = [self.at(np.eye(K)[k]) for k in range(K)]
        return np.array([score for score, _ in found]), np.nan_to_num([variance for _, variance in found])

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON: bits and ranks in base64, most confident first."""
        score_K, variance_K = self.alone
        if self.metric == "map":
            value = np.ascontiguousarray(_ranks(self.value_SNKC).astype("<u2")).tobytes()
        else:
            value = np.packbits(self.value_SNKC).tobytes()
        S, N, K, C = self.value_SNKC.shape
        return {
            "metric": self.metric,
            "shape": [S, N, K, C],
            "n": self.n,
            "value": _text(value),
            "truth": _text(np.packbits(self.truth_NC).tobytes()),
            "used": _text(np.packbits(self.used_NK).tobytes()),
            "scores": score_K.tolist(),
            "variances": variance_K.tolist(),
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Mix:
        """The mix that `plain` was of, ranks standing for confidences."""
        shape = S, N, K, C = plain["shape"]
        value = base64.b64decode(plain["value"])
        if plain["metric"] == "map":
            value_SNKC = -np.frombuffer(value, "<u2").astype(float).reshape(shape)
        else:
            value_SNKC = _bits(value, S * N * K * C).reshape(shape)
        truth_NC = _bits(base64.b64decode(plain["truth"]), N * C).reshape(N, C)
        used_NK = _bits(base64.b64decode(plain["used"]), N * K).reshape(N, K)
        return cls(plain["metric"], value_SNKC, truth_NC, used_NK, plain["n"])

    def _at(self, value_NKC: NDArray[Any], weight_NK: Array) -> tuple[float, Array]:
        """Score and influence of each sample, by how much the score moves with one more of it."""
        of_mix = _average_precision if self.metric == "map" else _f1
        return of_mix(value_NKC, self.truth_NC, weight_NK, self.metric == "f1_micro")

    def _scaled(self, square: Any) -> Any:
        """A sum of squared influences as a variance: of n samples, of which these may be a part."""
        N = len(self.truth_NC)
        return square * (N / max(N - 1, 1)) * (N / self.n)


def _f1(guess_NKC: NDArray[Any], truth_NC: Bools, weight_NK: Array, micro: bool) -> tuple[float, Array]:
    guess_NC = np.einsum("nk,nkc->nc", weight_NK, guess_NKC.astype(float))
    hit_NC, entry_NC = guess_NC * truth_NC, guess_NC + truth_NC * weight_NK.sum(1, keepdims=True)
    occurs_C = (truth_NC * weight_NK.sum(1, keepdims=True)).any(0)
    if micro:
        hit_NC, entry_NC, occurs_C = (
            hit_NC.sum(1, keepdims=True),
            entry_NC.sum(1, keepdims=True),
            np.array([True]),
        )
    if not occurs_C.any():
        return np.nan, np.zeros(len(truth_NC))
    hit_NC, entry_NC = hit_NC[:, occurs_C], entry_NC[:, occurs_C]
    entry_C = np.maximum(entry_NC.sum(0), np.finfo(float).tiny)
    score_C = 2 * hit_NC.sum(0) / entry_C
    return float(score_C.mean()), ((2 * hit_NC - score_C * entry_NC) / entry_C).mean(1)


def _average_precision(
    p_NKC: NDArray[Any], truth_NC: Bools, weight_NK: Array, micro: bool
) -> tuple[float, Array]:
    met_NK = weight_NK > 0
    sample_E, weight_E = np.nonzero(met_NK)[0], weight_NK[met_NK]
    scores, influence_N = [], np.zeros(len(truth_NC))
    for c in np.flatnonzero(truth_NC[met_NK.any(1)].any(0)):
        score, influence_E = _weighted_precision(p_NKC[:, :, c][met_NK], truth_NC[sample_E, c], weight_E)
        scores.append(score)
        influence_N += np.bincount(sample_E, weight_E * influence_E, len(truth_NC))
    return (float(np.mean(scores)), influence_N / len(scores)) if scores else (np.nan, influence_N)


def _weighted_precision(p_E: NDArray[Any], truth_E: Bools, weight_E: Array) -> tuple[float, Array]:
    """Average precision of weighted entries, and by how much it moves with a unit of weight at each.

    An entry moves the precision at its own group and at all that are less confident.
    """
    order = np.argsort(-p_E, kind="stable")
    sorted_E = p_E[order]
    group_E = np.cumsum(np.r_[False, sorted_E[1:] != sorted_E[:-1]])
    true_G = np.bincount(group_E, weight_E[order] * truth_E[order])
    seen_G, hits_G = np.bincount(group_E, weight_E[order]).cumsum(), true_G.cumsum()
    total, precision_G = hits_G[-1], hits_G / seen_G
    score = float(true_G @ precision_G / total)
    fall_G = _from(true_G * precision_G / seen_G)
    rise_G = precision_G + _from(true_G / seen_G) - score
    influence_E = np.empty(len(p_E))
    influence_E[order] = (np.where(truth_E[order], rise_G[group_E], 0) - fall_G[group_E]) / total
    return score, influence_E


def _from(value_G: Array) -> Array:
    """The sum over this and all later groups."""
    return value_G[::-1].cumsum()[::-1]


def _ranks(p_SNKC: NDArray[Any]) -> NDArray[np.int64]:
    """Of each seed and class by itself: 0 for the most confident, equal ones alike."""
    rank_SNKC = np.empty(p_SNKC.shape, dtype=np.int64)
    S, N, K, C = p_SNKC.shape
    for s in range(S):
        for c in range(C):
            _, rank = np.unique(-p_SNKC[s, :, :, c], return_inverse=True)
            rank_SNKC[s, :, :, c] = rank.reshape(N, K)
    return rank_SNKC


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bits(value: bytes, count: int) -> Bools:
    return np.unpackbits(np.frombuffer(value, np.uint8), count=count).astype(bool)
