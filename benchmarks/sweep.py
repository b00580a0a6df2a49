"""How much longer is a sweep over all availability patterns than one plain evaluation of the same run?

    python benchmarks/sweep.py RUN [--repeats 5] [--split test] [--set KEY=VALUE]

Both are measured side by side in one process, in turns, from encoding to scores, after one unmeasured turn.
Prints the two times, and the ratio's median, smallest and largest value. Wanted: at most 1.05 for two
modalities, at most 1.10 for four.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import click

from u2a.evaluation import trained as api
from u2a.evaluation.scenarios import sweep
from u2a.evaluation.scoring import Scorer


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@click.command()
@click.argument("run")
@click.option("--repeats", default=5, show_default=True)
@click.option("--split", default="test", show_default=True)
@click.option("--set", "sets", multiple=True)
def main(run: str, repeats: int, split: str, sets: tuple[str, ...]) -> None:
    """Measure RUN."""
    model = api.load(run, sets=sets)
    task = model.recipe.task

    def plain() -> None:
        Scorer(model.network, model.encode(split), task).drop()

    def swept() -> None:
        sweep(model.network, model.encode(split), task)

    encoded = model.encode(split)  # unmeasured: files enter the disk cache, kernels are chosen
    scoring = seconds(lambda: sweep(model.network, encoded, task))
    pairs = []
    for number in range(repeats):
        order = (plain, swept) if number % 2 == 0 else (swept, plain)
        times = {work.__name__: seconds(work) for work in order}
        pairs.append((times["plain"], times["swept"]))
        click.echo(f"plain {times['plain']:.3f} s   sweep {times['swept']:.3f} s")
    ratios = sorted(swept / plain for plain, swept in pairs)
    M, N = len(model.network.names), len(encoded.target)
    click.echo(f"M {M}, N {N}, {2**M - 1} patterns; scoring them all, encoding left out: {scoring:.3f} s")
    click.echo(f"ratio: median {statistics.median(ratios):.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}")


if __name__ == "__main__":
    main()
