"""A run folder, adapter checkpoints, and the model built from a recipe. No training loop, no scores."""
