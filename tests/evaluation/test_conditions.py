"""Scenarios without a trained run: which patterns, their calibration, and what is typed; by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest
import torch
from tasks import make_task
from tokens import Adding

from u2a.errors import U2AError
from u2a.evaluation.calibrated import calibration_of
from u2a.evaluation.calibration import Calibration, PatternCalibration
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scenarios import (
    check_conditions,
    keep_mask,
    names_in,
    parse_shares,
    patterns,
    sweep,
    with_calibration,
)
from u2a.evaluation.scoring import Scorer


@pytest.fixture
def scorer() -> Scorer:
    cls_NMD = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))
    encoded = Encoded(
        cls_NMD,
        torch.zeros(6, 2, 2, 3),
        torch.ones(6, 2, dtype=torch.bool),
        torch.tensor([0, 1, 2, 0, 1, 2]),
        torch.arange(6),
        tuple("uvwxyz"),
    )
    return Scorer(cast(Any, Adding()), encoded, make_task(classes="pqr"))


def test_names_are_one_text_with_commas_or_several() -> None:
    assert names_in("left, right , ") == ("left", "right")
    assert names_in("left") == names_in(["left"]) == ("left",)
    assert names_in("") == names_in(()) == ()


def test_what_is_dropped_must_be_there_and_leave_something() -> None:
    for drop in (["depth"], ["a", "b"]):
        with pytest.raises(U2AError):
            check_conditions(("a", "b"), drop, ["a=0.3"])


def test_blanks_around_a_share_are_nothing() -> None:
    assert parse_shares("--keep", [" a = 0.3 "], ("a", "b"), "share") == {"a": Decimal("0.3")}


def test_of_a_modality_that_no_sample_has_a_share_is_of_nothing() -> None:
    present_NM = torch.tensor([[True, False], [True, False]])
    kept_NM = keep_mask(("x", "y"), ("a", "b"), present_NM, {"b": Decimal(1)})
    assert kept_NM.tolist() == present_NM.tolist()


def test_of_many_patterns_those_without_a_late_modality_come_first_as_of_few() -> None:
    without_one = [tuple(m != lost for m in range(9)) for lost in reversed(range(9))]
    assert patterns(9)[1:10] == without_one
    assert [len(p) - 1 - p.index(False) for p in patterns(3)[1:4]] == [0, 1, 2]


def test_every_pattern_of_a_sweep_has_its_own_calibration(scorer: Scorer) -> None:
    fitted = {name: PatternCalibration(9, T) for name, T in (("a+b", 2.0), ("a", 3.0), ("b", 4.0))}
    calibration, whole = Calibration("single_label", fitted), (scorer.model, scorer.encoded, scorer.task)
    found = {one.dropped: one for one in sweep(*whole, calibration=calibration)}
    for dropped, pattern, T in (
        ((), (True, True), 2.0),
        (("b",), (True, False), 3.0),
        (("a",), (False, True), 4.0),
    ):
        wanted = calibration_of(*whole, calibration, pattern)
        assert (found[dropped].calibrated, wanted["temperature"]) == (wanted, T)
    assert not any(one.calibrated for one in sweep(*whole))
    of_some = replace(found[()], kept={"a": 0.5}, calibrated={})
    assert with_calibration(of_some, scorer, calibration) is of_some  # no pattern of its own


def test_where_nothing_stands_in_no_scenario_says_how_well(scorer: Scorer) -> None:
    whole = (scorer.model, scorer.encoded, scorer.task)
    assert [set(one.stand_ins) for one in sweep(*whole)] == [set(), {"a_to_b"}, {"b_to_a"}]
    assert not any(one.stand_ins for one in sweep(*whole, stands_in=False))
