"""Sections, TOML, schema, shipped recipes. Validated before any compute; nothing is built, no plugin fetched
but by `load_recipe`."""

from u2a.recipe.file import dump_recipe, load_recipe, parse_recipe
from u2a.recipe.sections import Recipe

__all__ = ["Recipe", "dump_recipe", "load_recipe", "parse_recipe"]
