"""From a person's own files to a recipe, a manifest and a split. Training and packing never need it."""
