"""The transformers toolkit for plugins: checkpoints, blocks, conversion. No modality by name."""
