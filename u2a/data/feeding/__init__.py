"""From samples to batches: the plan, the loader, streams. Nothing here decides what a sample holds."""
