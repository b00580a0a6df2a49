"""Names that a modality, metric or command cannot have: they mean something else where it would be used."""

from __future__ import annotations

import keyword

from u2a.errors import PluginError

#: Why a modality cannot have a name. Recipes' sections and plugins' records are held against this one list.
MODALITY = {
    **dict.fromkeys(keyword.kwlist, "a word of Python"),
    **dict.fromkeys(("key", "split", "label", "labels"), "a column of every manifest"),
    **dict.fromkeys(("json", "members", "present"), "a part of every sample in a shard"),
    **dict.fromkeys(
        ("manifest", "top", "checkpoint", "set", "debug", "help", "run", "plugin", "no_plugin"),
        "an option of commands",
    ),
    **dict.fromkeys(
        ("each", "any", "all", "both", "none", "complete", "empty"), "a word for several modalities"
    ),
    "head": "the name of the classifier in a checkpoint",
}
#: Why a metric cannot have a name: what metrics.jsonl and reports hold beside the scores.
METRIC = {
    **dict.fromkeys(
        [
            "type",
            "step",
            "epoch",
            "loss",
            "task_loss",
            "alignment_loss",
            "lr",
            "grad_norm",
            "samples_per_second",
        ],
        "a value of every line of metrics.jsonl",
    ),
    **dict.fromkeys(
        ("n", "n_empty", "dropped", "kept", "scores", "complete", "change", "missing", "present", "difference"),
        "a column of reports",
    ),
    **dict.fromkeys(("low", "high", "difference_low", "difference_high"), "a column of reports"),
}
#: The commands of u2a's own by group; ``""`` = those that stand in none.
COMMANDS = {
    "": (
        *("init", "run", "train", "eval", "predict", "report", "compare", "baselines", "sweep", "params"),
        *("recipe", "data", "plugins", "encoder"),
    ),
    "recipe": ("check", "show", "copy", "schema"),
    "data": ("pack", "index", "inspect", "mask", "merge"),
    "plugins": ("list", "show", "check", "new"),
    "encoder": ("list", "convert"),
}


def check_name(what: str, name: str) -> None:
    """Refuse a modality's or a metric's name that is taken for something else.

    Raises:
        PluginError: says for what.
    """
    taken = {"modality": MODALITY, "metric": METRIC}.get(what, {})
    if name in taken:
        raise PluginError(f"{what} {name!r}: this name is {taken[name]}; take another one")
    if what == "modality" and name.endswith("_path"):
        raise PluginError(f"modality {name!r}: _path ends a manifest's columns of file names; take another one")
