"""From the disk to the batch. Nothing here knows the model."""
