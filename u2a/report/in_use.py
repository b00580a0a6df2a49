"""``u2a eval --rates``: one encoding, every pattern, the expected score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from u2a.common.distributed import world
from u2a.data.reading.opening import evaluation_split
from u2a.errors import U2AError
from u2a.evaluation.scenarios import without_mask_tokens
from u2a.evaluation.trained import Model
from u2a.report.values.analysis import Analysis
from u2a.report.values.expected import MOST_MODALITIES, expected, model_of_use, parse_rates
from u2a.report.values.mixing import AT_MOST
from u2a.runs.folder import Run, find_run


def expect_run(
    run: str | Path | None,
    rates: str,
    *,
    seed: int = 0,
    mask_tokens: bool = True,
    split: str = "test",
    checkpoint: str = "best",
    sets: Sequence[str] = (),
) -> tuple[dict[str, Any], Run]:
    """What `u2a.report.values.expected.expected` says of a run, with ``metric``, ``n``,
    ``weighed`` (on how many samples a score that is no mean was weighed, else None), ``higher_is_better``.

    Modalities go missing on top of what the data lacks, ``data.missing`` included, as ``u2a eval --drop`` does.

    Raises:
        U2AError: rates that cannot be meant, or more modalities than all patterns can be scored for.
    """
    found = find_run(run)
    recipe = found.recipe(tuple(sets))
    names = tuple(recipe.modalities)
    parsed = parse_rates(rates, names)
    if len(names) > MOST_MODALITIES:
        limit = f"up to {MOST_MODALITIES} modalities; this run has {len(names)}"
        raise U2AError(f"--rates scores all 2^M - 1 patterns, {limit}")
    with world(recipe.training.device) as place:
        model = Model(found, recipe, place, checkpoint)
        opened = evaluation_split(recipe, split)
        encoded = model.encode(opened)
        if not mask_tokens:
            encoded = without_mask_tokens(encoded)
        analysis = Analysis(model.network, encoded, recipe.task, encoded.keys, seed=seed)
        higher = recipe.task.spec().higher_is_better
        found_patterns = analysis.patterns(every=True)
        mix = analysis.mix(found_patterns, AT_MOST)
        use = model_of_use([found_patterns], higher, seed, mix)
    about = {
        "metric": recipe.task.headline,
        "n": use["n"],
        "weighed": use["weighed"],
        "higher_is_better": higher,
    }
    return about | expected(use, names, parsed), found
