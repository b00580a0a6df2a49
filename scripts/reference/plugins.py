"""``python -m scripts.reference.plugins > docs/plugins-reference.md``: the reference, from the docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import u2a
from u2a.contract import hookspecs, modality
from u2a.contract.versions import API_VERSION

_HEAD = """# Plugin reference

Made by `python -m scripts.reference.plugins` from the docstrings in `hookspecs.py`, `modality.py` and
`extensions.py` of `u2a/contract/`; edit those.
The tutorial is [plugins.md](plugins.md). Contract version {version}.
"""


def reference() -> str:
    """The whole page in Markdown."""
    from u2a.testing.checks import all_checks

    hooks = [_entry(name, getattr(hookspecs, name)) for name in dir(hookspecs) if name.startswith("u2a_")]
    parts = [modality.Preprocessor, modality.Embedding, modality.Encoder, modality.Measuring]
    exported = [getattr(u2a, name) for name in u2a.__all__]
    classes = [one for one in exported if inspect.isclass(one)]
    rows = [f"| {one.name} | {_markdown(one.wants)} | `{one.where}` |" for one in all_checks()]
    return "\n".join(
        [
            _HEAD.format(version=API_VERSION),
            "## Hooks\n",
            *hooks,
            "## Parts of a modality\n",
            _markdown(inspect.getdoc(modality) or "") + "\n",
            *(_entry(one.__name__, one) for one in parts),
            "## Records\n",
            *(_entry(one.__name__, one) for one in classes),
            "## A modality in one call\n",
            *(_entry(one.__name__, one) for one in (u2a.transformers_modality, u2a.network_modality)),
            "## Helpers for checkpoints, masks and targets\n",
            "Of `u2a.encoders`; `ModalitySpec`s that are written out use them.\n",
            *(_entry(_place(one), one) for one in _helpers()),
            "## What the conformance kit checks\n",
            "| check | the contract wants | written in |\n|---|---|---|",
            *rows,
            "",
        ]
    )


def _helpers() -> list[Callable[..., object]]:
    from u2a.encoders import blocks, files, identity, loading, positions, refusals, structure, tensors

    return [
        *(
            files.config_folder,
            files.checkpoint_file,
            files.weights_folder,
            files.read_json,
            files.weight_files,
        ),
        *(refusals.model_type, loading.load_config, loading.load_backbone, loading.load_architecture),
        *(
            tensors.read_tensors,
            tensors.unwrapped,
            tensors.check_leftovers,
            tensors.check_finite,
            identity.file_hashes,
        ),
        *(structure.split_tokens, structure.run_tokens),
        *(blocks.lora_targets, structure.split_fused, positions.fit_grid),
    ]


def _place(function: Callable[..., object]) -> str:
    return f"{function.__module__.removeprefix('u2a.')}.{function.__name__}"


def _entry(name: str, thing: object) -> str:
    lines = [f"### {name}\n", _markdown(inspect.getdoc(thing) or ""), ""]
    if inspect.isfunction(thing):
        lines.insert(1, _signature(name, thing))
    if inspect.isclass(thing) and getattr(thing, "_is_protocol", False):
        for method, function in vars(thing).items():
            if inspect.isfunction(function) and (method == "__call__" or not method.startswith("_")):
                lines += [_signature(method, function), _markdown(inspect.cleandoc(function.__doc__ or "")), ""]
    return "\n".join(lines)


def _signature(name: str, function: Callable[..., object]) -> str:
    plain = str(inspect.signature(function)).replace("''", '""')
    signature = plain.replace("'", "")  # annotations are text in these modules
    return f"```python\n{name}{signature}\n```\n"


def _markdown(text: str) -> str:
    """A docstring's double backquotes as single ones, its sections as lists."""
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    text = re.sub(r"^(Attributes|Args|Raises|Returns):$", r"**\1**\n", text, flags=re.MULTILINE)
    return re.sub(r"^ {4}(\w[\w.]*): ", r"- `\1`: ", text, flags=re.MULTILINE)


if __name__ == "__main__":
    print(reference(), end="")
