"""The quickstart's task: which of twelve ships is it? Real PNG, WAV, MP4 and text files, made from a seed.

`docs/quickstart.md` describes the task and its ceilings; `u2a.quickstart.generate.generate` writes the files,
`u2a.quickstart.prepare.prepare` the whole data set. This module imports nothing, for the command line's sake.
"""
