"""The command line: parse and delegate. A command is imported when it is asked for, a plugin likewise."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

import click

from u2a.cli.base import Group


class Own(NamedTuple):
    """A command of u2a's own: where it is, and what it does, as its docstring begins."""

    place: str
    does: str


_RUN = "RUN (the newest if none is named)"
OWN = {
    "baselines": Own(
        "baselines:baselines", f"Score {_RUN} beside baselines on the same frozen encoders, pattern by pattern."
    ),
    "compare": Own(
        "report:compare", "How much better or worse than the first RUN the others are, on the same samples."
    ),
    "data": Own("data:data", "Make data sets of shards from your files."),
    "encoder": Own("encoder:encoder", "Prepare pretrained encoders."),
    "eval": Own("evaluate:evaluate", f"Score {_RUN}, complete and with modalities dropped."),
    "init": Own(
        "start:init",
        "Write a recipe for SOURCE: a table, a folder of class folders, or a Hugging Face datasets folder.",
    ),
    "params": Own("params:params", "Count RECIPE's parameters, without reading any weights."),
    "plugins": Own("plugins:plugins", "The installed modalities, and a start for your own."),
    "predict": Own("predict:predict", f"Predict with {_RUN} from any subset of its modalities."),
    "recipe": Own("recipe:recipe", "Check, show and copy recipes."),
    "report": Own("report:report", f"What a missing modality costs {_RUN}: one HTML file, JSON and CSV."),
    "run": Own(
        "start:run",
        "From SOURCE to a report in one go: init, pack, train, eval and report, each said as its own command.",
    ),
    "sweep": Own(
        "report:sweep",
        "Train RECIPE for every combination of --grid values and seeds; mean and deviation over seeds.",
    ),
    "train": Own("train:train", "Train RECIPE (with --resume, a run folder will do)."),
}


class _Commands(UserDict[str, click.Command]):
    """u2a's own commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        if name in OWN and name not in self.data:
            module, _, attribute = OWN[name].place.partition(":")
            self.data[name] = getattr(import_module(f"u2a.cli.{module}"), attribute)
        return self.data[name]

    def __contains__(self, name: object) -> bool:
        return name in OWN or name in self.data

    def __iter__(self) -> Iterator[str]:
        return iter({**OWN, **self.data})


class _Listing(click.Group):
    """Commands in the order in which they are given."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Main(Group):
    """``u2a``: the list of commands imports none of u2a's own."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, with the lines of `OWN`."""
        lines: dict[str, click.Command] = {}
        for name in self.list_commands(ctx):
            command = click.Command(name, help=OWN[name].does) if name in OWN else self.get_command(ctx, name)
            lines |= {name: command} if command else {}
        _Listing(commands=lines).format_commands(ctx, formatter)


@click.group(cls=Main, commands=_Commands(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="u2a", prog_name="u2a")
def main() -> None:
    """Adapt pretrained unimodal transformers to multimodal tasks; keep working when modalities are missing."""
