"""Every interval's method against a second implementation: scipy, scikit-learn, loops, closed formulas."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score
from tasks import make_task

from u2a.contract.blame import Owner
from u2a.errors import U2AError
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.report.values.calibration import calibration
from u2a.report.values.comparison import compare_recipes
from u2a.report.values.expected import expected, model_of_use, parse_rates
from u2a.report.values.intervals import Z, degrees_of_freedom, of_share, satterthwaite
from u2a.report.values.intervals import of_score as interval_of_score
from u2a.report.values.patterns import PatternValues, pattern_rows
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import PseudoValues, of_classes, of_score
from u2a.report.values.scores import Scores
from u2a.report.values.sources import Differences, redraw

N, C = 40, 5


def predictions(kind: str, metric: str, n: int = N, seed: int = 0) -> Predictions:
    """With ties, a class that never occurs, and one that occurs once."""
    draw = torch.Generator().manual_seed(seed)
    logits_NC = (torch.randn(n, C, generator=draw) * 2).round() / 2
    if kind == "single_label":
        target = torch.randint(C - 2, (n,), generator=draw)
        target[3] = C - 2
    else:
        target = (torch.rand(n, C, generator=draw) < 0.3).float()
        target[:, -2:] = 0
        target[3, -2] = 1
    return Predictions.of(logits_NC, target, make_task(kind=kind, classes=tuple("abcde"), metric=metric))


def reference(found: Predictions, chosen: np.ndarray) -> tuple[float, list[float]]:
    """The score, and that of each class (NaN where it does not occur), by scikit-learn."""
    truth, guess = found.truth_NC.numpy()[chosen], found.guess_NC.numpy()[chosen]
    p, each = found.probability_NC.numpy()[chosen], []
    for c in range(C):
        occurs = bool(truth[:, c].any())
        if found.task.headline == "map":
            each.append(average_precision_score(truth[:, c], p[:, c]) if occurs else np.nan)
        else:
            each.append(f1_score(truth[:, c], guess[:, c], zero_division=0) if occurs else np.nan)
    if found.task.headline == "accuracy":
        return float((truth & guess).any(1).mean()), each
    if found.task.headline == "f1_micro":
        return float(f1_score(truth, guess, average="micro", zero_division=0)), each
    return float(np.nanmean(each)), each


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("single_label", "accuracy"),
        ("single_label", "f1_macro"),
        ("single_label", "map"),
        ("multi_label", "f1_macro"),
        ("multi_label", "f1_micro"),
        ("multi_label", "map"),
    ],
)
def test_pseudo_values_are_those_of_leaving_each_sample_out(kind: str, metric: str):
    """A class that vanishes with its only sample stays in, as the mean of all (see `_macro`)."""
    given, everyone = predictions(kind, metric), np.arange(N)
    found = of_score(given)
    score, class_C = reference(given, everyone)
    wanted = []
    for i in range(N):
        without, left_C = reference(given, np.delete(everyone, i))
        if metric in ("f1_macro", "map"):
            parts = [
                a - N * (a - score) if np.isnan(b) else N * a - (N - 1) * b
                for a, b in zip(class_C, left_C, strict=True)
                if not np.isnan(a)
            ]
            wanted.append(np.mean(parts))
        else:
            wanted.append(N * score - (N - 1) * without)
    assert found.score == pytest.approx(score, abs=1e-6)
    assert found.value_N == pytest.approx(np.array(wanted), abs=1e-4)


def test_a_plugins_metric_of_known_form_is_left_out_sample_by_sample():
    known = Registry()
    accuracy = registry().metrics.specs["accuracy"]
    for name, form in (("mine", "hits"), ("unsaid", None)):
        known.metrics.add(Owner("x", "x-dist", "1"), replace(accuracy, name=name, form=form, headline_of=()))
    given = predictions("single_label", "accuracy", n=400)
    known.metrics.add(Owner("u2a", "u2a", "1"), accuracy)
    mine, unsaid = (
        replace(given, task=make_task(metric=name, plugins=known), metric=name) for name in ("mine", "unsaid")
    )
    assert of_score(mine).share
    assert np.array_equal(of_score(mine).value_N, of_score(given).value_N)
    assert not of_score(unsaid).share
    assert of_score(unsaid).score == pytest.approx(of_score(given).score)


def test_pseudo_values_of_a_class_are_its_own():
    given, everyone = predictions("multi_label", "map"), np.arange(N)
    score_C, value_NC = of_classes(given)
    whole = reference(given, everyone)[1]
    for i in (0, 3, 17):
        left = reference(given, np.delete(everyone, i))[1]
        for c in range(3):
            assert value_NC[i, c] == pytest.approx(N * whole[c] - (N - 1) * left[c], abs=1e-4)
    assert np.isnan(score_C[-1])
    assert value_NC[3, -2] == score_C[-2]  # the only sample of its class tells nothing


@pytest.mark.parametrize(("right", "n"), [(58, 58), (0, 20), (420, 600), (196, 200)])
def test_a_share_has_wilsons_interval(right: int, n: int):
    z, p = NormalDist().inv_cdf(0.975), right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert of_share(p, n) == pytest.approx([max(0, middle - half), min(1, middle + half)], abs=1e-9)
    hits_N = np.arange(n) < right
    scores = Scores.of_seeds([PseudoValues(p, hits_N.astype(float), n, share=True)])
    assert scores.intervals() == [pytest.approx([middle - half, middle + half], abs=1e-9)]


def test_another_score_has_wilsons_interval_with_the_effective_number_of_samples():
    given = predictions("multi_label", "f1_macro", n=200)
    found = of_score(given)
    center, variance = found.value_N.mean(), found.value_N.var(ddof=1) / 200
    t = stats.t.ppf(0.975, degrees_of_freedom(found.value_N))
    # The bounds are where a share p of n samples, n = center (1 - center) / variance, is t errors away.
    n = center * (1 - center) / variance
    for bound in Scores.of_seeds([found]).intervals()[0]:
        assert abs(center - bound) == pytest.approx(t * np.sqrt(bound * (1 - bound) / n), rel=1e-6)


def test_a_class_of_few_samples_adds_what_two_more_of_them_could_change():
    """Ranked first throughout: the pseudo-values have no spread, the interval has one all the same."""
    found = {}
    for n in (4, 40):
        truth = np.arange(200) < n
        p = np.where(truth, 0.9, 0.1)
        kind = make_task(kind="multi_label", classes=("a", "never"), metric="map")
        logits_NC, target = torch.zeros(200, 2), torch.zeros(200, 2)
        logits_NC[:, 0], target[:, 0] = torch.tensor(p), torch.tensor(truth)
        found[n] = of_score(Predictions.of(logits_NC, target, kind))
        with_two = np.r_[np.ones(n + 1), 0.0]  # one ranked first, one last
        spread = with_two.var() / n  # of a mean of n such
        assert found[n].value_N.var() == pytest.approx(0, abs=1e-12)
        assert found[n].unseen == pytest.approx(2 / (n + 1) * spread)
    (few,), (many,) = (Scores.of_seeds([values]).intervals() for values in found.values())
    assert few[0] < 0.7
    assert 0.9 < many[0] < 0.99
    assert Scores.of_seeds([found[4]] * 3).intervals() == [pytest.approx(few)]  # seeds see the same samples


def test_heavy_tails_leave_fewer_degrees_of_freedom():
    """By the kurtosis, but for what no number of values says: less than 12, or more than n - 1."""
    value_N = np.random.default_rng(0).standard_t(9, 400)
    wanted = 2 * 400 / (stats.kurtosis(value_N, fisher=False) - 1)
    assert 12 < wanted < 399
    assert degrees_of_freedom(value_N) == pytest.approx(wanted)
    value_N[0] = 1000.0
    assert degrees_of_freedom(value_N) == 12
    assert degrees_of_freedom(np.array([0.0, 1.0] * 10)) == 19
    assert degrees_of_freedom(np.ones(10)) == np.inf


def test_a_score_stands_for_no_more_decisions_than_it_rests_on():
    """Each label, guessed or true, is a decision; several patterns of a sample tell more than one does."""
    labels = predictions("multi_label", "f1_micro")
    assert of_score(labels).most == 2 * int(labels.truth_NC.sum()) > N
    assert of_score(predictions("single_label", "f1_macro")).most == N
    wilson = stats.binomtest(50, 100).proportion_ci(0.95, method="wilson")
    assert interval_of_score(0.5, 1e-9, np.inf, 100) == pytest.approx([wilson.low, wilson.high])
    low, high = interval_of_score(0.5, 1e-9, np.inf, 100, mixed=True)
    assert wilson.low < low < 0.5 < high < wilson.high


def test_two_variances_have_the_degrees_of_freedom_of_satterthwaite():
    """Of samples 0.2 with 7, of 3 seeds 0.1 with 2: 0.3^2 / (0.04 / 7 + 0.01 / 2)."""
    assert satterthwaite(0.2, 7, 0.1, 3) == pytest.approx(0.09 / (0.04 / 7 + 0.01 / 2))
    assert satterthwaite(0.2, 7, 0.0, 1) == pytest.approx(7)
    assert satterthwaite(0.0, 7, 0.0, 3) == np.inf


def test_degrees_of_freedom_of_normal_values_are_about_their_number():
    value_N = np.random.default_rng(0).normal(size=5000)
    assert degrees_of_freedom(value_N) == pytest.approx(5000, rel=0.1)


@pytest.mark.parametrize(("won", "lost", "n"), [(12, 5, 100), (0, 0, 50), (3, 0, 40)])
def test_a_difference_of_shares_has_the_interval_of_bonett_and_price(won: int, lost: int, n: int):
    difference_N = np.zeros(n)
    difference_N[:won], difference_N[won : won + lost] = 1, -1
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    half = NormalDist().inv_cdf(0.975) * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    (found,) = Differences.of_one(difference_N[None, :, None], share=True).intervals()
    assert found == pytest.approx([p - q - half, p - q + half], abs=1e-9)


def test_rows_together_are_as_wide_as_the_largest_of_that_many_normal_errors():
    """14 independent rows: 95 % of the largest of 14 |normal| are below 2.91; one that all share: 1.96."""
    draw = np.random.default_rng(1)
    apart_NK, same_N = draw.normal(size=(800, 14)), draw.normal(size=800)
    wanted = NormalDist().inv_cdf((1 + 0.95 ** (1 / 14)) / 2)
    assert Differences.of_one(apart_NK[None]).simultaneous() == pytest.approx(wanted, rel=0.05)
    shared = Differences.of_one(np.repeat(same_N[None, :, None], 14, 2))
    assert shared.simultaneous() == pytest.approx(Z, rel=0.06)


def test_lower_bounds_together_are_one_sided():
    draw = np.random.default_rng(2)
    value_SNK = (draw.random((1, 2000, 14)) < 0.7).astype(float)
    scores = Scores(value_SNK, value_SNK[0].mean(0), 2000, share=True)
    z = NormalDist().inv_cdf(0.95 ** (1 / 14))
    for bound, share in zip(scores.bounds(True), scores.score_K, strict=True):
        assert bound == pytest.approx(of_share(share, 2000, z)[0], abs=0.002)
    uppers = scores.bounds(False)
    assert all(upper > share for upper, share in zip(uppers, scores.score_K, strict=True))


def test_seeds_alone_give_welchs_interval():
    """So many samples without noise of their own that only the seeds are left."""
    levels = ([0.70, 0.74, 0.71], [0.76, 0.80, 0.73, 0.79])
    runs = [[PseudoValues(x, np.full(2_000, x), 20_000) for x in one] for one in levels]
    row = compare_recipes(runs, True)[1]
    welch = stats.ttest_ind(levels[1], levels[0], equal_var=False).confidence_interval()
    assert row["difference"] == pytest.approx(np.mean(levels[1]) - np.mean(levels[0]))
    assert row["difference_interval"] == pytest.approx([welch.low, welch.high], abs=1e-3)
    assert row["verdict"] == "better"
    assert row["seeds_counted"]
    assert compare_recipes(runs, False)[1]["verdict"] == "worse"
    assert compare_recipes(runs[::-1], True)[1]["verdict"] == "worse"
    one_seed = compare_recipes([runs[0][:1], runs[1]], True)[1]
    assert (one_seed["seeds_counted"], one_seed["verdict"]) == (False, None)


def test_samples_alone_give_the_paired_interval_and_no_verdict():
    draw = np.random.default_rng(0)
    first, second = ((draw.random(2000) < p).astype(float) for p in (0.6, 0.8))
    runs = [[PseudoValues(float(hits.mean()), hits, 2000, share=True)] for hits in (first, second)]
    row = compare_recipes(runs, True)[1]
    paired = stats.ttest_rel(second, first).confidence_interval()
    assert row["difference_interval"] == pytest.approx([paired.low, paired.high], abs=1e-3)
    assert (row["seeds_counted"], row["verdict"]) == (False, None)  # however large the difference
    assert row["better"] == 1.0


def test_two_equal_recipes_of_three_seeds_are_seldom_told_apart():
    """Seeds that differ by 1.7 points; of 60 comparisons 5 % may go wrong: more than 8 do so in 0.2 %."""
    draw, wrong = np.random.default_rng(5), 0
    for _ in range(60):
        ease_N, runs = draw.normal(size=300) * 0.9, []
        for _ in range(2):
            levels = draw.normal(size=3) * 0.06  # 1.7 points at 80 %
            hits = [(ease_N + draw.normal(size=300) * 0.44 + level > -0.84).astype(float) for level in levels]
            runs.append([PseudoValues(float(h.mean()), h, 300, share=True) for h in hits])
        wrong += compare_recipes(runs, True)[1]["verdict"] != "not told apart"
    assert wrong <= 8


# --- the table of patterns ---


def patterns_of(value_KN: np.ndarray, used_KN: np.ndarray | None = None) -> list[PatternValues]:
    """Two modalities; rows are the complete pattern, without a, without b."""
    found, n = [], value_KN.shape[1]
    for k, (present, missing) in enumerate(
        (((True, True), ()), ((False, True), ("a",)), ((True, False), ("b",)))
    ):
        used_N = np.ones(n, bool) if used_KN is None else used_KN[k]
        own_N, beside_N = (np.where(used_N, value_KN[row], np.nan) for row in (k, 0))
        own, beside = (PseudoValues(float(np.nanmean(v)), v, n, share=True) for v in (own_N, beside_N))
        count = int(used_N.sum())
        found.append(PatternValues(present, missing, count, n - count, {"accuracy": own.score}, own, beside))
    return found


def hits(*shares: float, n: int = 200, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed).random(n)
    return np.array([draw < share for share in shares], dtype=float)


def test_rows_of_several_seeds_are_means_and_differences_are_on_the_same_samples():
    used_KN = np.ones((3, 200), bool)
    used_KN[1, :50] = False
    runs = [patterns_of(hits(0.9, 0.5 + 0.1 * s, 0.8, seed=s), used_KN) for s in range(3)]
    rows = pattern_rows(runs, True)
    for k, row in enumerate(rows):
        assert row["scores"]["accuracy"] == pytest.approx(np.mean([run[k].own.score for run in runs]))
        assert row["complete"] == pytest.approx(np.mean([run[k].beside.score for run in runs]))
        assert row["difference"] == pytest.approx(row["scores"]["accuracy"] - row["complete"])
    assert rows[1]["n"] == 150
    assert rows[0]["complete"] != rows[1]["complete"]


def test_a_row_is_beyond_chance_by_the_interval_of_all_rows_together():
    (clear, none) = pattern_rows([patterns_of(hits(0.9, 0.6, 0.9))], True)[1:]
    assert clear["beyond_chance"]
    assert not none["beyond_chance"]
    low, high = clear["simultaneous_interval"]
    alone = clear["difference_interval"]
    assert low <= alone[0] < alone[1] <= high
    assert not pattern_rows([patterns_of(hits(0.6, 0.9, 0.9))], True)[1]["beyond_chance"]  # a gain is no loss
    assert pattern_rows([patterns_of(hits(0.6, 0.9, 0.9))], False)[1]["beyond_chance"]  # of an error it is


# --- what to expect in use ---


def test_the_expected_score_is_that_of_drawing_every_sample_and_pattern():
    """Brute force over samples; the first 40 lack a, so that without b nothing is left of them."""
    n, rates = 200, {"a": Decimal("0.3"), "b": Decimal("0.2")}
    used_KN = np.ones((3, n), bool)
    used_KN[2, :40] = False
    value_KN = hits(0.9, 0.6, 0.7)
    found = expected(model_of_use([patterns_of(value_KN, used_KN)], True), ("a", "b"), rates)
    total = weight = 0.0
    for i, (gone_a, gone_b) in itertools.product(range(n), itertools.product((False, True), repeat=2)):
        chance = (0.3 if gone_a else 0.7) * (0.2 if gone_b else 0.8)
        pattern = {(False, False): 0, (True, False): 1, (False, True): 2}.get((gone_a, gone_b))
        if pattern is not None and used_KN[pattern, i]:
            total, weight = total + chance * value_KN[pattern, i], weight + chance
    assert found["score"] == pytest.approx(total / weight)
    assert found["nothing_left"] == pytest.approx(1 - weight / n)
    assert sum(row["share"] for row in found["patterns"]) == pytest.approx(weight / n)
    low, high = found["interval"]
    assert low < found["score"] < high
    assert found["worst"]["missing"] == ["a"]
    assert found["bound"] <= found["worst"]["bound"] < found["worst"]["score"]


def test_at_rate_0_the_expected_score_and_its_interval_are_the_complete_ones():
    runs = [patterns_of(hits(0.9, 0.6, 0.7))]
    found = expected(model_of_use(runs, True), ("a", "b"), {})
    row = pattern_rows(runs, True)[0]
    assert found["score"] == row["scores"]["accuracy"]
    assert found["interval"] == pytest.approx(row["interval"], abs=1e-3)
    assert found["worst"]["missing"] == []
    assert found["bound"] == found["worst"]["bound"] == row["bound"]  # what never comes about does not bind


def test_the_standard_error_of_an_expected_accuracy_is_that_of_each_samples_expectation():
    value_KN = hits(0.9, 0.6, 0.7)
    found = expected(model_of_use([patterns_of(value_KN)], True), ("a", "b"), {"a": Decimal("0.5")})
    mean_N = (value_KN[0] + value_KN[1]) / 2
    wanted = stats.ttest_1samp(mean_N, 0).confidence_interval()
    assert found["interval"] == pytest.approx([wanted.low, wanted.high], abs=0.006)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "expected MODALITY=RATE, e.g. --rates a=0.3"),
        ("c=0.2", "--rates c=0.2: no such modality; this run has a, b"),
        ("a=0.2,a=0.3", "a has the rate 0.2 already; give one"),
        ("a=20", "--rates a=20: the rate must be a number from 0 to 1"),
        ("a=nan", "from 0 to 1"),
        ("a=1,b=1", "must be there sometimes"),
    ],
)
def test_rates_are_refused_in_one_line(text: str, message: str):
    with pytest.raises(U2AError, match=message):
        parse_rates(text, ("a", "b"))


# --- calibration ---


def test_proper_scores_are_those_of_scikit_learn_and_plain_sums():
    from sklearn.metrics import log_loss

    given = predictions("single_label", "accuracy", n=200)
    p, truth = given.probability_NC.double().numpy(), given.truth_NC.numpy()
    p = p / p.sum(1, keepdims=True)
    found = calibration([given])
    assert found["nll"]["value"] == pytest.approx(log_loss(truth.argmax(1), p, labels=range(C)), abs=1e-6)
    assert found["brier"]["value"] == pytest.approx(((p - truth) ** 2).sum(1).mean(), abs=1e-6)
    each = ((p - truth) ** 2).sum(1)
    wanted = stats.ttest_1samp(each, 0).confidence_interval()
    assert found["brier"]["interval"] == pytest.approx([wanted.low, wanted.high], rel=0.02)


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_a_calibrated_models_error_is_the_one_that_is_shown_for_it(kind: str):
    """Outcomes drawn from the confidences themselves: the errors' mean is what one report expects."""
    draw = torch.Generator().manual_seed(0)
    logits_NC = torch.randn(300, C, generator=draw) * 1.5
    task = make_task(kind=kind, classes=tuple("abcde"))
    errors, shown = [], []
    for _ in range(60):
        if kind == "single_label":
            target = logits_NC.softmax(1).multinomial(1, generator=draw)[:, 0]
        else:
            target = (torch.rand(300, C, generator=draw) < logits_NC.sigmoid()).float()
        found = calibration([Predictions.of(logits_NC, target, task)])
        errors.append(found["ece"])
        shown.append(found["ece_calibrated"])
    assert np.mean(errors) == pytest.approx(np.mean(shown), rel=0.06)
    assert np.mean([e > found["ece_limit"] for e in errors]) <= 0.15


@pytest.mark.parametrize(("n_seeds", "together"), [(2, 0.0), (3, 0.5), (9, 7 / 8)])
def test_few_seeds_do_not_say_that_all_rows_move_together(n_seeds: int, together: float) -> None:
    """Redrawn seeds vary as much as those that are there; how far two rows go along, by their number."""
    step_S = np.random.default_rng(3).normal(size=n_seeds)
    mean_SK = np.stack([step_S, 0.1 * step_S, -2 * step_S], 1)
    again_RSK = redraw(mean_SK, 40000, np.random.default_rng(4))
    assert again_RSK.shape == (40000, n_seeds, 3)
    found = np.cov(again_RSK[:, 0].T)
    np.testing.assert_allclose(np.diag(found), mean_SK.var(0, ddof=1), rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(again_RSK[:, 0].T)[0, 1:], [together, -together], atol=0.03)
