"""Steps that are thrown away as their gradient is not finite: counted over the whole run, said, limited."""

from __future__ import annotations

from dataclasses import dataclass, field

from u2a.errors import U2AError

#: Of all steps of a training. A few unlucky batches may be lost; more is a fault that must be seen.
LARGEST_SHARE = 0.01


@dataclass
class SkippedSteps:
    """How many steps of a run were skipped so far.

    Attributes:
        total: steps of the whole training.
        count: skipped ones, those before an interruption included.
        said: what a person should be told next.
    """

    total: int
    count: int = 0
    said: list[str] = field(default_factory=list)

    def add(self, step: int, cause: str) -> None:
        """Note that a step was skipped.

        Raises:
            U2AError: more than a hundredth of the training is lost.
        """
        self.count += 1
        self.said.append(
            f"step {step}: skipped, its gradient is not finite: {cause} "
            f"({self.count} of {self.total} steps so far)"
        )
        if self.count > self.total * LARGEST_SHARE:
            raise U2AError(
                f"step {step}: {self.count} of {self.total} steps were skipped, more than 1 %, since their "
                f"gradient is not finite: {cause}"
            )


def gradient_advice(*, bf16: bool, clipped: bool) -> str:
    """What to do where the losses are finite and their gradient is not."""
    ways = ["lower training.lr"]
    if bf16:
        ways.append("use training.precision = fp32")
    if not clipped:
        ways.append("set training.clip_norm")
    return "every loss is finite, its derivative is not; " + ", or ".join(ways)
