"""The quickstart's task: which of twelve ships is it? Real PNG, WAV, MP4 and text, made from a seed.

`docs/quickstart.md` describes the task and its ceilings. `generate` writes the files and their manifest.
"""

from u2a.quickstart.generate import SIZES, VERSION, generate
from u2a.quickstart.world import CLASSES, MODALITIES, SIGNS

__all__ = ["CLASSES", "MODALITIES", "SIGNS", "SIZES", "VERSION", "generate"]
