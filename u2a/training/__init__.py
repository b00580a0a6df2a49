"""The trainer, its data, loggers and grids of trainings. Inference never needs it."""
