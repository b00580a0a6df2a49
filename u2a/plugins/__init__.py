"""From entry points to a registry, and a start for new plugins. No plugin's own code."""
