"""The card of an export, for whoever finds the folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from u2a.common.values import code_span
from u2a_export.graphs import MASK

PAGE = """# {name}: {names}

A classifier of {count} classes ({kind}) that works with any of its modalities missing. Exported by
u2a {u2a} from step {step} of a training ({which} checkpoint); adapters are merged, all numbers are
single precision.

```sh
pip install {needs}
python run.py {example}
```

## Graphs

| modality | inputs | base weights |
|---|---|---|
{rows}

`NAME.onnx` takes a modality's inputs and gives `cls` [P, D] and `mask` [P, M, D]: what stands for
it, and what it offers in place of each of the others. `head.onnx` takes `cls` [B, M, D], `mask`
[B, M, M, D] (zeros where a modality is missing) and `present` [B, M] (bool), in the order
{names}, and gives `logits` [B, C]. `NAME.pt2` are the same graphs, for
`torch.export.load`. `u2a_export.json` says how inputs are made (`preprocessing`; null where the
plugin does not say), and has the labels, each pattern's calibration, and every file's SHA-256.

## Probabilities

Softmax (or a sigmoid a class) of `logits / temperature`, then a line in log-odds (`slope`, `shift`),
by the pattern of what is there: `calibrated` in `run.py`. Labels of a multi-label task count from
their `thresholds` on.
{scores}
## Classes

{classes}
"""
_EXAMPLES = {"image": "picture.png", "wordpiece": '"some text"', "tokenizer": '"some text"'}


def card(manifest: Mapping[str, Any]) -> str:
    """A page in Markdown."""
    task, modalities = manifest["task"], manifest["modalities"]
    readers = {name: (one["preprocessing"] or {}).get("reader", "") for name, one in modalities.items()}
    rows = (
        f"| {name} ({one['kind']}) | {_inputs(one)} | {_base(one['base'])} |"
        for name, one in modalities.items()
    )
    return PAGE.format(
        name=manifest["name"],
        names=", ".join(modalities),
        count=len(task["classes"]),
        kind=task["kind"],
        u2a=manifest["u2a"],
        step=manifest["checkpoint"]["step"],
        which=manifest["checkpoint"]["which"],
        needs="onnxruntime numpy pillow" + " tokenizers" * ("tokenizer" in readers.values()),
        example=" ".join(_example(name, readers[name], one["inputs"]) for name, one in modalities.items()),
        rows="\n".join(rows),
        scores=_scores(manifest["validation"]),
        classes=", ".join(map(code_span, task["classes"])),
    )


def _example(name: str, reader: str, inputs: Mapping[str, Any]) -> str:
    arrays = "npy" if len({*inputs} - {MASK}) == 1 else "npz"
    return f"{name}={_EXAMPLES.get(reader, f'{name}.{arrays}')}"


def _inputs(one: Mapping[str, Any]) -> str:
    texts = []
    for name, stated in one["inputs"].items():
        sizes = ["P", *("L" if size is None else str(size) for size in stated["shape"][1:])]
        texts.append(f"`{name}` {stated['dtype']} [{', '.join(sizes)}]")
    return ", ".join(texts)


def _base(base: Mapping[str, Any]) -> str:
    if not base.get("sha256"):
        return "trained whole"
    revision = f" at {base['revision']}" if base.get("revision") else ""
    return f"{base.get('id') or 'of the plugin'}{revision}, sha256 {base['sha256'][:12]}"


def _scores(scores: Mapping[str, Any]) -> str:
    rows = [f"- {name}: {value:.4f}" for name, value in scores.items() if value is not None]
    return "\n".join(["", "## Scores on the validation split, nothing missing", "", *rows, ""]) if rows else ""
