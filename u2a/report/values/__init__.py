"""The figures behind a report: numbers only, no drawing, no HTML."""
