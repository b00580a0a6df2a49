"""From entry points to a registry, and a start for new plugins. No plugin's own code."""

from u2a.contract.blame import Owner, blame
from u2a.contract.hookspecs import GROUP
from u2a.plugins.checks import check_spec
from u2a.plugins.loading import load_registry, registry
from u2a.plugins.registry import Failure, Registry

__all__ = ["GROUP", "Failure", "Owner", "Registry", "blame", "check_spec", "load_registry", "registry"]
