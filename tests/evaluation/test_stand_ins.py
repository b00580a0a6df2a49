"""How near stand-ins come to what they stand for: loops over samples, against `u2a.evaluation.stand_ins`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scoring import Scenario
from u2a.evaluation.stand_ins import told, with_stand_ins

PRESENT = [(1, 1, 1), (1, 0, 1), (0, 1, 1), (1, 1, 0), (1, 1, 1)]


def test_errors_are_of_the_samples_that_have_both_beside_a_constant_of_them() -> None:
    draw = torch.Generator().manual_seed(0)
    present = torch.tensor(PRESENT).bool()
    cls = torch.randn(5, 3, 4, generator=draw) + 2
    mask = torch.randn(5, 3, 3, 4, generator=draw)
    keys = tuple(map(str, range(5)))
    side = Encoded(cls, mask, present, torch.zeros(5, dtype=torch.long), torch.arange(5), keys)
    scorer = SimpleNamespace(model=SimpleNamespace(names=("a", "b", "c")), encoded=side, pair_errors={})

    def by_hand(i: int, j: int) -> float:
        both = [n for n, one in enumerate(PRESENT) if one[i] and one[j]]
        mean = sum(cls[n, j] for n in both) / len(both)
        wrong = sum(float(((mask[n, i, j] - cls[n, j]) ** 2).sum()) for n in both)
        return wrong / sum(float(((mean - cls[n, j]) ** 2).sum()) for n in both)

    def found(*dropped: str) -> dict[str, float | None]:
        return with_stand_ins(Scenario(dropped, 5, 0, {}, {}), scorer).stand_ins  # type: ignore[arg-type]

    assert found("b") == {"a_to_b": pytest.approx(by_hand(0, 1)), "c_to_b": pytest.approx(by_hand(2, 1))}
    assert found("b", "c") == {"a_to_b": pytest.approx(by_hand(0, 1)), "a_to_c": pytest.approx(by_hand(0, 2))}
    assert found() == {}
    present[:, 1] = False
    scorer.pair_errors.clear()
    assert found("b") == {"a_to_b": None, "c_to_b": None}
    assert told([Scenario((), 5, 0, {}, {}, stand_ins={"a_to_b": 0.256, "c_to_b": None})]).endswith(
        "(1 = a constant): a to b 0.26"
    )
