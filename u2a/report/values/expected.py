"""What to expect in use: the score when modalities go missing independently, each at a rate of its own.

With M modalities there are 2^M - 1 patterns that leave something. Each comes with the product of its rates,
and only for the samples that it leaves something of. The expected score is the mean of the patterns' scores,
weighted by how many samples are scored in each, plus what the score of all these samples together differs from
that mean: nothing for accuracy; for F1 and mean average precision see `u2a.report.values.mixing`. Of a plugin's
metric only the mean is known.

Shape suffixes: N samples, M modalities, K patterns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from u2a.errors import U2AError
from u2a.evaluation.scenarios import parse_shares
from u2a.report.values.intervals import LEVEL, degrees_of_freedom, of_score, satterthwaite
from u2a.report.values.mixing import Mix
from u2a.report.values.patterns import PatternValues, pattern_scores
from u2a.report.values.scores import Scores
from u2a.report.values.sources import seed_means

Array = NDArray[np.float64]
#: Up to this many modalities every pattern is scored for `expected`.
MOST_MODALITIES = 10
#: Student's quantiles for 1 / df = 0, 0.005, ... 1, between which the page's calculator interpolates.
STUDENT = [float(stats.norm.ppf((1 + LEVEL) / 2))]
STUDENT += [float(stats.t.ppf((1 + LEVEL) / 2, 200 / step)) for step in range(1, 201)]


def parse_rates(text: str, names: Sequence[str]) -> dict[str, Decimal]:
    """``"image=0.2,audio=0.5"`` as shares of samples that lack the modality; the others never go missing.

    Raises:
        U2AError: not of that form, no such modality, one given twice, a rate outside 0..1, or all 1.
    """
    rates = parse_shares("--rates", text.split(","), names, "rate")
    if all(rates.get(name) == 1 for name in names):
        raise U2AError(f"--rates {text}: at least one of {', '.join(names)} must be there sometimes")
    return rates


def model_of_use(
    runs: Sequence[Sequence[PatternValues]], higher_is_better: bool, seed: int = 0, mix: Mix | None = None
) -> dict[str, Any]:
    """What `expected` and the page's calculator need of the patterns, as plain values but for ``mix``.

    Args:
        runs: every pattern of each run; runs differ in their seed alone.
        mix: of the same patterns and runs, for metrics that need one.
    """
    scores = pattern_scores(runs)
    used_NK, value_NK = ~np.isnan(scores.value_SNK[0]), scores.value_SNK.mean(0)
    center_NK = np.where(used_NK, value_NK - scores.centers, 0) / np.maximum(used_NK.sum(0), 1)
    N, S = len(value_NK), len(runs)
    covariance_KK = center_NK.T @ center_NK * (N / max(N - 1, 1))
    covariance_KK += np.sqrt(np.outer(scores.unseen, scores.unseen))  # the same few samples in every pattern
    mean_SK = seed_means(scores.value_SNK, used_NK)
    seeds_KK = np.atleast_2d(np.cov(mean_SK.T)) / S if S > 1 else np.zeros_like(covariance_KK)
    bounds = scores.bounds(higher_is_better, seed)
    return {
        "n": N,
        "seeds": S,
        "most": scores.most,
        "few": bool(scores.unseen.any()),
        "exact": scores.share or mix is not None,
        "weighed": None if mix is None else len(mix.truth_NC),
        "mix": mix,
        "higher_is_better": higher_is_better,
        "student": STUDENT,
        "patterns": [
            {
                "present": list(pattern.present),
                "missing": list(pattern.missing),
                "n": pattern.n,
                "score": float(scores.score_K[k]),
                "corrected": float(scores.centers[k]),
                "bound": bounds[k],
                "df": _freedom(scores, used_NK[:, k], value_NK[:, k]),
            }
            for k, pattern in enumerate(runs[0])
        ],
        "covariance": covariance_KK.tolist(),
        "seed_covariance": seeds_KK.tolist(),
    }


def expected(
    model: Mapping[str, Any], names: Sequence[str], rates: Mapping[str, Decimal | float]
) -> dict[str, Any]:
    """The expected score at these rates.

    Returns:
        ``rates``; ``exact``: whether the score is that of all samples in all patterns together, else the mean
        of the patterns' scores; ``score`` and ``interval`` (95 %); ``mean_of_patterns``; ``worst``: the worst
        pattern of those that come about, its ``missing``, ``score`` and ``bound`` (all patterns together,
        95 %); ``bound``: no pattern that comes about is worse; ``patterns``: ``missing``, ``share`` of the
        samples and ``score``; ``nothing_left``: the share of the samples without any modality, which have no
        prediction.
    """
    chance_M = np.array([float(rates.get(name, 0)) for name in names])
    patterns = model["patterns"]
    present_KM = np.array([pattern["present"] for pattern in patterns])
    chance_K = np.where(present_KM, 1 - chance_M, chance_M).prod(1)
    share_K = chance_K * np.array([pattern["n"] for pattern in patterns]) / model["n"]
    total = float(share_K.sum())
    weight_K = share_K / total if total else share_K
    score, center = (_weighted(weight_K, [p[part] for p in patterns]) for part in ("score", "corrected"))
    own, seeds = (
        float(weight_K @ np.array(model[part]) @ weight_K) for part in ("covariance", "seed_covariance")
    )
    mean = score
    if (mix := _mix(model)) and total:
        more, variance, variance_K = mix.beyond(chance_K)
        # What the jackknife adds to the first order is each pattern's own, and shrinks as parts are mixed.
        second = float(weight_K**2 @ (np.diag(model["covariance"]) - variance_K))
        score, center, own = score + more, center + more, max(0.0, variance + second)
    S = model["seeds"]
    sample_df = float(weight_K @ np.array([pattern["df"] for pattern in patterns])) or 1.0
    df = satterthwaite(own, sample_df, seeds, S)
    sign = 1 if model["higher_is_better"] else -1
    met = [p for p, share in zip(patterns, share_K, strict=True) if share > 0 and not np.isnan(p["bound"])]
    worst = min(met, key=lambda p: sign * p["score"], default=None)
    return {
        "rates": {name: float(chance) for name, chance in zip(names, chance_M, strict=True)},
        "exact": model["exact"],
        "score": score,
        "mean_of_patterns": mean,
        "interval": of_score(
            center,
            own + seeds,
            df,
            model["most"],
            mixed=bool((share_K > 0).sum() > 1),
            few=model["few"],
        ),
        "worst": worst and {part: worst[part] for part in ("missing", "score", "bound")},
        "bound": sign * min((sign * p["bound"] for p in met), default=np.nan),
        "patterns": [
            {"missing": p["missing"], "share": float(share), "score": p["score"]}
            for p, share in zip(patterns, share_K, strict=True)
        ],
        "nothing_left": max(0.0, 1 - total),
    }


def _freedom(scores: Scores, used_N: NDArray[np.bool_], value_N: Array) -> float:
    """Degrees of freedom of a pattern's variance; between patterns the mean stands for the mix."""
    n = max(int(used_N.sum()) - 1, 1)
    return float(n if scores.share else min(degrees_of_freedom(value_N[used_N]), n))


def _mix(model: Mapping[str, Any]) -> Mix | None:
    found = model["mix"]
    return Mix.read(found) if isinstance(found, Mapping) else found


def _weighted(weight_K: Array, values: Sequence[float]) -> float:
    """NaN if a pattern that comes about has no score."""
    return float(sum(w * value for w, value in zip(weight_K, values, strict=True) if w > 0))
