"""A few samples of each class to look at: a page (HTML) that needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from u2a.contract.blame import reason_of
from u2a.data.inspection.findings import DataReport, labels_of
from u2a.data.inspection.members import preview
from u2a.data.reading.split import Split
from u2a.errors import BadSample, U2AError
from u2a.recipe.sections import Recipe

EACH = 4
MAX_CLASSES = 60
TILE = 180


@dataclass(frozen=True)
class Card:
    """One sample: its split, key, and for each present modality a picture, a text or what went wrong."""

    split: str
    key: str
    tiles: dict[str, Image.Image | str]


def pick_cards(splits: Mapping[str, Split], recipe: Recipe) -> dict[str, list[Card]]:
    """Up to EACH samples of each class, spread over the split that has most of it."""
    labels = {name: labels_of(split) for name, split in splits.items()}
    cards: dict[str, list[Card]] = {}
    for number, label in enumerate(recipe.task.classes[:MAX_CLASSES]):
        places = {name: [i for i, own in enumerate(of) if number in own] for name, of in labels.items()}
        name = max(places, key=lambda split: len(places[split]))
        found = places[name]
        chosen = [found[n * len(found) // EACH] for n in range(EACH)] if len(found) > EACH else found
        cards[label] = [_card(recipe, splits[name], name, i) for i in chosen]
    return cards


def _card(recipe: Recipe, split: Split, name: str, i: int) -> Card:
    tiles: dict[str, Image.Image | str] = {}
    for m, modality in enumerate(split.modalities):
        if not split.present_NM[i, m]:
            continue
        data = split.members(i, (modality,))[modality]
        try:
            tiles[modality] = preview(recipe, modality, data, TILE)
        except BadSample as error:
            tiles[modality] = f"({error})"
        except Exception as error:  # of a decoder or a plugin, for one file: the page shows the others
            tiles[modality] = f"(cannot be decoded: {reason_of(error)})"
    return Card(name, split.key(i), tiles)


def write_gallery(path: Path, recipe: Recipe, report: DataReport, cards: Mapping[str, list[Card]]) -> None:
    """The page: what is in the data, what looks wrong, and samples of each class; everything is in the file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("u2a.data.inspection"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    shown: dict[str, Any] = {
        label: [
            (
                card,
                [
                    (name, None if isinstance(tile, str) else _uri(tile), tile)
                    for name, tile in card.tiles.items()
                ],
            )
            for card in of_class
        ]
        for label, of_class in cards.items()
    }
    largest = {name: max([1, *split.classes.values()]) for name, split in report.splits.items()}
    hidden = len(recipe.task.classes) - len(cards)
    page = environment.get_template("gallery.html.j2").render(
        recipe=recipe, report=report, cards=shown, largest=largest, hidden=hidden
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise U2AError(f"{path}: cannot be written: {error.strerror}") from None


def _uri(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
