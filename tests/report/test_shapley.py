"""Shapley values against brute force over all orders of joining, and their defining properties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from u2a.evaluation.shapley import pair_interactions, sampled_shapley_values, shapley_values

SIZES = range(1, 7)


def game(M: int, *more: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, M]).normal(size=(2**M, *more))


def brute_force(v: np.ndarray, M: int) -> np.ndarray:
    total = np.zeros((M, *v.shape[1:]))
    for order in itertools.permutations(range(M)):
        coalition = 0
        for m in order:
            total[m] += v[coalition | 1 << m] - v[coalition]
            coalition |= 1 << m
    return total / math.factorial(M)


def brute_force_interaction(v: np.ndarray, M: int, i: int, j: int) -> float:
    """The surplus of the pair over all orders of the others with the pair as one player."""
    others = [m for m in range(M) if m not in (i, j)]
    surplus = []
    for order in itertools.permutations(["pair", *others]):
        S = sum(1 << m for m in order[: order.index("pair")])
        surplus.append(v[S | 1 << i | 1 << j] - v[S | 1 << i] - v[S | 1 << j] + v[S])
    return float(np.mean(surplus))


@pytest.mark.parametrize("M", SIZES)
def test_values_equal_brute_force_over_all_orders(M: int):
    v = game(M, 3)
    np.testing.assert_allclose(shapley_values(v), brute_force(v, M), atol=1e-12)


@pytest.mark.parametrize("M", SIZES)
def test_efficiency(M: int):
    v = game(M, 2)
    np.testing.assert_allclose(shapley_values(v).sum(0), v[-1] - v[0], atol=1e-12)


@pytest.mark.parametrize("M", range(2, 7))
def test_symmetric_players_have_equal_values(M: int):
    v = game(M)
    for S in range(2**M):  # swap players 0 and 1 in every coalition
        swapped = S & ~3 | (S & 1) << 1 | (S >> 1 & 1)
        v[max(S, swapped)] = v[min(S, swapped)]
    values = shapley_values(v)
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    interactions = pair_interactions(v)
    np.testing.assert_allclose(interactions[0, 2:], interactions[1, 2:], atol=1e-12)


@pytest.mark.parametrize("M", SIZES)
def test_a_null_player_has_value_and_interactions_zero(M: int):
    v = game(M)
    null = M // 2
    for S in range(2**M):
        v[S | 1 << null] = v[S & ~(1 << null)]
    assert shapley_values(v)[null] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(pair_interactions(v)[null], 0, atol=1e-12)


@pytest.mark.parametrize("M", range(2, 7))
def test_interactions_equal_brute_force(M: int):
    v = game(M)
    found = pair_interactions(v)
    for i, j in itertools.combinations(range(M), 2):
        expected = brute_force_interaction(v, M, i, j)
        assert found[i, j] == found[j, i] == pytest.approx(expected, abs=1e-12)
    assert (np.diag(found) == 0).all()


def test_an_additive_game_has_no_interaction_and_a_pure_pair_has_all_of_it():
    worth = np.array([0.5, -0.2, 0.3])
    additive = np.array([sum(worth[m] for m in range(3) if S >> m & 1) for S in range(8)])
    np.testing.assert_allclose(shapley_values(additive), worth)
    np.testing.assert_allclose(pair_interactions(additive), 0, atol=1e-15)
    both = np.array([float(S & 3 == 3) for S in range(8)])
    np.testing.assert_allclose(shapley_values(both), [0.5, 0.5, 0])
    assert pair_interactions(both)[0, 1] == pytest.approx(1)


def test_sampled_values_keep_efficiency_and_come_near_the_exact_ones():
    M = 7
    v = game(M)
    asked = []

    def value(coalition: int) -> np.ndarray:
        asked.append(coalition)
        return v[coalition]

    values = sampled_shapley_values(value, M, seed=0)
    assert values.sum() == pytest.approx(v[-1] - v[0], abs=1e-12)
    assert len(asked) == len(set(asked))
    assert np.abs(values - shapley_values(v)).max() < 0.3
    np.testing.assert_array_equal(values, sampled_shapley_values(lambda S: v[S], M, seed=0))


def test_games_side_by_side_have_the_values_of_each_alone():
    M = 4
    v = game(M, 2, 3)
    interactions, sampled = pair_interactions(v), sampled_shapley_values(lambda S: v[S], M, seed=0)
    for a, b in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(interactions[:, :, a, b], pair_interactions(v[:, a, b]), atol=1e-12)
        alone = sampled_shapley_values(lambda S, a=a, b=b: v[S, a, b], M, seed=0)
        np.testing.assert_allclose(sampled[:, a, b], alone, atol=1e-12)


def test_another_seed_draws_other_orders():
    v = game(7)
    first, second = (sampled_shapley_values(lambda S: v[S], 7, seed=seed) for seed in (0, 1))
    assert not np.allclose(first, second)


@pytest.mark.parametrize("n", [0, 1, 3, 6])
def test_a_game_needs_a_value_for_every_coalition(n: int):
    with pytest.raises(ValueError, match=r"2\^M"):
        shapley_values(np.zeros(n))
