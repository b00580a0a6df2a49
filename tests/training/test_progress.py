"""What a training tells of its pace, on a clock that the test turns."""

from __future__ import annotations

import pytest

from u2a.training.progress import TrainingProgress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_samples_a_second_leave_out_validation_saving_and_what_an_earlier_process_did() -> None:
    clock = Clock()
    progress = TrainingProgress(1000, 32, quiet=True, clock=clock)
    clock.now += 50  # the model is built
    progress.begin(40)  # resumed: forty steps are another process's
    for done in range(41, 51):
        clock.now += 0.5
        progress.step(done, 1, {"loss": 1.0, "task_loss": 1.0, "alignment_loss": 0.0})
    assert progress.rate == 32 / 0.5
    with progress.not_training():
        clock.now += 200
    assert progress.rate == 32 / 0.5
    clock.now += 5  # and ten steps at half the pace
    for done in range(51, 61):
        clock.now += 0.5
        progress.step(done, 2, {"loss": 1.0, "task_loss": 1.0, "alignment_loss": 0.0})
    assert progress.rate == 20 * 32 / 15


def test_the_time_that_is_left_is_in_hours_minutes_and_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = TrainingProgress(5000, 32, quiet=False, clock=clock)
    for done in range(1, 12):  # a step a second; a line every ten seconds
        clock.now += 1
        progress.step(done, 1, {"loss": 1.0, "task_loss": 1.0, "alignment_loss": 0.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("step 11/5000  epoch 1  loss 1.000")
    assert line.endswith("32 samples/s  1:23:09 left")
