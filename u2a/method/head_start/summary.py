"""What the head start chose."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Summary:
    """What the head start chose, plain values for logs and the run folder.

    Attributes:
        read_outs: modality to ``cls``, ``mean`` or ``both``.
        probe_losses: modality to the validation loss of its own probe, by read-out.
        decays: modality to the decay of its weights.
        proxy_errors: ``image_to_text`` and so on to the proxies' squared error (1 = a constant).
        ridges: the strength of each proxy's ridge regression.
        gate: 1 where proxies stand in for what is missing, 0 where its mean does.
        loss: validation loss of the joint fit, averaged over all patterns.
        held_out: True where the choices that all modalities share were made on a part of the training samples.
        lacking: the modalities, and pairs (``image + text``), that too few validation samples have for them.
    """

    read_outs: dict[str, str] = field(default_factory=dict)
    probe_losses: dict[str, dict[str, float]] = field(default_factory=dict)
    decays: dict[str, float] = field(default_factory=dict)
    proxy_errors: dict[str, float] = field(default_factory=dict)
    ridges: dict[str, float] = field(default_factory=dict)
    gate: float = 0.0
    loss: float = float("nan")
    held_out: bool = False
    lacking: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What a person should know of it, a line each."""
        read = ", ".join(
            f"{name} by {'class and mean token' if r == 'both' else r + ' token'}"
            for name, r in self.read_outs.items()
        )
        errors = ", ".join(
            f"{pair.replace('_to_', ' to ')} {e:.2f}"
            for pair, e in self.proxy_errors.items()
            if not math.isnan(e)
        )
        stand = "proxies stand in for what is missing" if self.gate else "a missing modality counts as its mean"
        judged = "loss on a fifth of the training samples" if self.held_out else "validation loss"
        lines = [f"head start: {read}; {stand}; {judged} {self.loss:.4f} over all patterns"]
        if self.lacking:
            few = f"too few validation samples have {', '.join(self.lacking)}"
            lines.append(f"{few}: a fifth of the training samples chose what all patterns share")
        return lines + ([f"squared error of the proxies (1 = a constant): {errors}"] if errors else [])
