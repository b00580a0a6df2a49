"""The radio message: the family of its cargo is the sign; ports, numbers, weather and phrasing say nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

CARGO: Mapping[str, tuple[str, ...]] = {
    "fruit": ("apples", "pears", "plums", "cherries", "grapes", "lemons", "figs", "melons"),
    "timber": ("oak", "pine", "elm", "ash", "beech", "cedar", "birch", "walnut"),
    "metal": ("iron", "copper", "tin", "lead", "zinc", "nickel", "silver", "brass"),
    "cloth": ("wool", "linen", "silk", "cotton", "velvet", "canvas", "hemp", "lace"),
}

SLOTS: Mapping[str, tuple[str, ...]] = {
    "hail": ("harbour", "pilot station", "port control", "lighthouse", "good morning", "good evening", "hello"),
    "number": ("two", "three", "five", "eight", "ten", "twelve", "twenty", "thirty", "forty", "ninety"),
    "unit": ("crates", "bales", "tons", "loads", "boxes", "sacks"),
    "port": ("norwick", "ostby", "lerna", "calmar", "tresco", "havre", "brindle", "selsey", "dunmore"),
    "weather": ("calm", "rough", "foggy", "windy", "clear", "wet"),
    "time": ("noon", "dawn", "dusk", "midnight", "low tide", "high tide"),
    "wish": ("a berth", "a pilot", "fresh water", "a tug", "fuel", "a doctor", "two porters", "the mail"),
    "thing": ("the anchor", "the rudder", "the mast", "a pump", "the engine", "the wheel"),
}  # fmt: skip

OPENINGS = (
    "{hail} this is your ship from {port}", "{hail} do you hear us", "{hail} we are off {port}",
    "calling {hail}",
    "we left {port} at {time}", "we come in from {port}", "the sea is {weather} off {port}",
)  # fmt: skip
CARGOES = (
    "we carry {number} {unit} of {cargo}", "our hold is full of {cargo}", "we bring {cargo} for {port}",
    "there are {number} {unit} of {cargo} on board", "please clear {number} {unit} of {cargo}",
    "the {cargo} must go ashore by {time}", "{cargo} is all we have", "send carts for the {cargo}",
)  # fmt: skip
CLOSINGS = (
    "we need {wish}", "expect us at {time}", "{thing} needs repair", "then we sail to {port}",
    "the weather is {weather}", "please send {wish}", "we wait for {wish}", "over",
)  # fmt: skip


def message(rng: np.random.Generator, sign: str) -> str:
    """A message of a few clauses that names one or two goods of the sign's family."""
    clauses = [_pick(rng, OPENINGS), _pick(rng, CARGOES)] + [_pick(rng, CLOSINGS)] * (rng.random() < 0.7)
    if rng.random() < 0.3:
        clauses[0], clauses[1] = clauses[1], clauses[0]
    goods = rng.permutation(CARGO[sign])
    cargo = f"{goods[0]} and {goods[1]}" if rng.random() < 0.35 else str(goods[0])
    return fill(rng, ", ".join(clauses), {**SLOTS, "cargo": (cargo,)}) + "."


def fill(rng: np.random.Generator, template: str, slots: Mapping[str, tuple[str, ...]]) -> str:
    """The template with every ``{slot}`` replaced by a random filler of it."""
    return re.sub(r"\{(\w+)\}", lambda slot: _pick(rng, slots[slot[1]]), template)


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[rng.integers(len(choices))]
