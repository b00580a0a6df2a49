"""Whether the report's intervals hold, by simulation."""
