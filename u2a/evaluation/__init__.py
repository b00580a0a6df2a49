"""Encode once, score any pattern, predict. No training, no drawing."""

from u2a.evaluation.commands import evaluate
from u2a.evaluation.encoding import Encoded, encode_split
from u2a.evaluation.scoring import Scenario, Scorer
from u2a.evaluation.trained import Model, load

__all__ = ["Encoded", "Model", "Scenario", "Scorer", "encode_split", "evaluate", "load"]
