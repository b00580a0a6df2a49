"""The paper: branch, selection, losses, model, objective. No recipe, no data, no registry, no disk."""
