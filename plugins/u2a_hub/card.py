"""The card of a run on the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import u2a
from u2a.common.values import code_span
from u2a.evaluation.scoring import Scenario
from u2a.evaluation.trained import Model

PAGE = """---
{front}
---

# {name}

A classifier of {count} classes from {names}, which works with any of them missing. Trained and
published with [u2a](https://pypi.org/project/u2a/) {u2a}: adapters, stand-ins, head and calibration;
the encoders' own weights are not in it.

```sh
pip install {needs}
u2a predict hf://{repository} {options}
```

```python
import u2a

model = u2a.load("{repository}")
```
{scores}
## Base weights

| modality | kind | encoder | revision | SHA-256 |
|---|---|---|---|---|
{bases}

Loading compares the SHA-256 and refuses other weights.

## Plugins

| modality or metric | distribution | version |
|---|---|---|
{plugins}

## Classes

{classes}
"""


def card(
    model: Model,
    meta: Mapping[str, Any],
    bases: Mapping[str, Mapping[str, Any]],
    plugins: Mapping[str, Mapping[str, Any]],
    repository: str,
    scenarios: Sequence[Scenario],
    split: str | None,
) -> str:
    """A page in Markdown, with the front matter that the hub reads."""
    names, task = model.network.names, model.recipe.task
    used = {name: one for name, one in plugins.items() if not name.startswith("logger:")}
    needs = dict.fromkeys(f"{one['distribution']}=={one['version']}" for one in used.values())
    rows = (
        f"| {name} | {meta['modalities'][name]['kind']} | {base.get('id') or 'trained whole'} | "
        f"{base.get('revision') or ''} | {str(base.get('sha256') or '')[:16]} |"
        for name, base in bases.items()
    )
    of_plugins = (f"| {name} | {one['distribution']} | {one['version']} |" for name, one in used.items())
    return PAGE.format(
        front=_front(bases),
        name=model.recipe.name,
        count=len(task.classes),
        names=", ".join(names),
        u2a=u2a.__version__,
        needs=" ".join(needs),
        repository=repository,
        options=f"--{names[0]} FILE",
        scores=_scores(names, scenarios, split, task.headline),
        bases="\n".join(rows),
        plugins="\n".join(of_plugins),
        classes=", ".join(map(code_span, task.classes)),
    )


def _front(bases: Mapping[str, Mapping[str, Any]]) -> str:
    found = (base.get("id") for base in bases.values() if not base.get("local"))
    on_hub = dict.fromkeys(one for one in found if one and "/" in one and not one.startswith("u2a:"))
    lines = ["library_name: u2a", "tags: [u2a, multimodal, missing-modality, lora]"]
    if on_hub:
        lines.append(f"base_model: {json.dumps(list(on_hub))}")
    return "\n".join(lines)


def _scores(names: Sequence[str], scenarios: Sequence[Scenario], split: str | None, headline: str) -> str:
    if not scenarios:
        return ""
    metrics = [headline, *(metric for metric in scenarios[0].scores if metric != headline)]
    lines = [
        "",
        f"## Scores by what is there, split {split}",
        "",
        f"| {' | '.join(names)} | {' | '.join(metrics)} | N |",
        "|" + "---|" * (len(names) + len(metrics) + 1),
    ]
    for one in scenarios:
        there = ("" if name in one.dropped else "●" for name in names)
        values = (f"{one.scores[metric]:.4f}" for metric in metrics)
        lines.append(f"| {' | '.join([*there, *values])} | {one.n} |")
    return "\n".join([*lines, ""])
