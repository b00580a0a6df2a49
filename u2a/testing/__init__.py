"""The conformance kit for plugin authors. What only u2a's own tests need is in tests/."""

from u2a.testing.case import CHECKS, Case, Check, ConformanceError, check
from u2a.testing.checks import all_checks, check_modality

__all__ = ["CHECKS", "Case", "Check", "ConformanceError", "all_checks", "check", "check_modality"]
