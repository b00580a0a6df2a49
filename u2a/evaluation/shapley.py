"""Shapley values and pair interactions of a game given by its value for every coalition.

A game over M players is an array ``v`` whose first axis is the coalition: bit m of the index says whether
player m takes part; further axes (classes, say) are games of their own. Players here are modalities, and
the value of a coalition is the score with only its modalities present.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from u2a.common.seeds import stable_seed

Array = NDArray[np.float64]
#: Permutations that stand for all of them where there are too many coalitions to score.
PERMUTATIONS = 64


def shapley_values(v: Array) -> Array:
    """Exact Shapley values ``[M, ...]`` of a game ``v`` of shape ``[2^M, ...]``.

    The mean, over all orders in which the players could join, of what player m adds when it joins.
    They add up to ``v[all] - v[none]``.
    """
    M = _players(v)
    coalitions = np.arange(2**M)
    sizes = np.bitwise_count(coalitions)
    values = []
    for m in range(M):
        without = coalitions[coalitions >> m & 1 == 0]
        weights = np.array([1 / (M * comb(M - 1, size)) for size in sizes[without]])
        values.append(np.tensordot(weights, v[without | 1 << m] - v[without], 1))
    return np.stack(values)


def pair_interactions(v: Array) -> Array:
    """Shapley interaction index ``[M, M, ...]`` of every pair; symmetric, the diagonal is 0.

    The mean, over the orders in which the players could join and a pair counted as one player, of what the
    pair adds beyond what its two members add alone: positive where they complement each other, negative
    where they repeat each other.
    """
    M = _players(v)
    coalitions = np.arange(2**M)
    sizes = np.bitwise_count(coalitions)
    found = np.zeros((M, M, *v.shape[1:]))
    for i in range(M):
        for j in range(i):
            S = coalitions[(coalitions >> i & 1 | coalitions >> j & 1) == 0]
            weights = np.array([1 / ((M - 1) * comb(M - 2, size)) for size in sizes[S]])
            surplus = v[S | 1 << i | 1 << j] - v[S | 1 << i] - v[S | 1 << j] + v[S]
            found[i, j] = found[j, i] = np.tensordot(weights, surplus, 1)
    return found


def sampled_shapley_values(value: Callable[[int], Array], n_players: int, seed: int) -> Array:
    """Shapley values ``[M, ...]`` estimated from seeded orders and their reverses.

    They still add up to ``v[all] - v[none]`` exactly.

    Args:
        value: a coalition (bit m: player m takes part) to its value; called once for each.
    """
    draw, value = np.random.default_rng(stable_seed("shapley", seed, n_players)), cache(value)
    total = np.zeros((n_players, *np.shape(value(0))))
    for _ in range(PERMUTATIONS // 2):
        order = draw.permutation(n_players)
        for joining in (order, order[::-1]):
            coalition = 0
            for m in joining:
                total[m] += value(coalition | 1 << int(m)) - value(coalition)
                coalition |= 1 << int(m)
    return total / (PERMUTATIONS // 2 * 2)


def _players(v: Array) -> int:
    M = len(v).bit_length() - 1
    if M < 1 or len(v) != 2**M:
        raise ValueError(f"a game needs 2^M values, M >= 1; got {len(v)}")
    return M
