"""The head start: everything behind the encoders, fitted on the frozen encoders' tokens before the first step.

Linear probing before fine-tuning (Kumar et al., ICLR 2022), for all availability patterns at once: statistics
of the tokens, the read-out of each modality (`probes`), low-rank proxies for what is missing (`proxies`:
reduced-rank ridge regression), then the head by L-BFGS on the exhaustive task loss (`joint`). Every choice is
made by validation **loss**: with a hundred validation samples accuracy picks at random.

Shape suffixes: N samples, M modalities in recipe order, K mask tokens, H one encoder's width, F = 2 H, S = 3 H,
R rank, C classes; see `u2a.method.read_out`.
"""

from u2a.method.head_start.fit import fit_head_start
from u2a.method.head_start.frozen import FrozenTokens
from u2a.method.head_start.summary import Summary

__all__ = ["FrozenTokens", "Summary", "fit_head_start"]
