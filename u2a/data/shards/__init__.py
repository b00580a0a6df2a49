"""The format on disk: samples in tar shards, their index, dataset.json. Nothing here knows a recipe."""
