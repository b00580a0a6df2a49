"""Predict with an exported model: onnxruntime, numpy and pillow, nothing else.

usage: python run.py image=poster.png text="two friends find a boat"
Any of the modalities will do; what is neither picture nor text is given as its graph's input, audio=FILE.npy,
or as all of its inputs by name, rows=FILE.npz.
"""

import json
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

CHINESE = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2B81F), (0x2B920, 0x2CEAF))
CHINESE += ((0x2F800, 0x2FA1F),)


def picture(path, c):
    """A picture's file as ``pixel_values`` [1, 3, H, W]."""
    image, box = Image.open(path), c["box"] and c["box"][::-1]
    if c["edge"] or box:  # JPEGs are decoded smaller, as long as twice the wanted pixels a side remain
        image.draft(None, tuple(2 * side for side in box or (c["edge"], c["edge"])))
    image = ImageOps.exif_transpose(image).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    (w, h), edge = image.size, c["edge"]
    if edge:
        box = (int(edge * w / h), edge) if h <= w else (edge, int(edge * h / w))
    image = image.resize(box or (w, h), c["filter"])
    if c["crop"]:
        left, top = (int((have - want) / 2) for have, want in zip(image.size, c["crop"][::-1], strict=True))
        image = image.crop((left, top, left + c["crop"][1], top + c["crop"][0]))
    mean, std = (np.array(c[key], np.float32)[:, None, None] for key in ("mean", "std"))
    x = np.asarray(image, np.float32).transpose(2, 0, 1) * np.float32(c["rescale"])
    return {"pixel_values": ((x - mean) / std)[None]}


def words(text, rules, kind=unicodedata.category):
    """BERT's pieces of a text before the vocabulary: words, and marks one by one."""
    if rules["clean_text"]:
        text = "".join(
            c for c in text if c in "\t\n\r" or (c != "\ufffd" and kind(c) not in ("Cc", "Cf", "Co"))
        )
    if rules["handle_chinese_chars"]:
        text = "".join(f" {c} " if any(a <= ord(c) <= b for a, b in CHINESE) else c for c in text)
    if rules["lowercase"] if rules["strip_accents"] is None else rules["strip_accents"]:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if kind(c) != "Mn")
    text = "".join(c.lower() for c in text) if rules["lowercase"] else text
    return "".join(f" {c} " if kind(c)[0] == "P" or c in "$+<=>^`|~" else c for c in text).split()


def pieces(word, vocabulary, model):
    """A word as the longest pieces that the vocabulary has."""
    found, start, more = [], 0, ""
    while start < len(word) <= model["max_input_chars_per_word"]:
        ends = (end for end in range(len(word), start, -1) if more + word[start:end] in vocabulary)
        if (end := next(ends, None)) is None:
            break
        found.append(vocabulary[more + word[start:end]])
        start, more = end, model["continuing_subword_prefix"]
    return found if start == len(word) else [vocabulary[model["unk_token"]]]


def tokens(text, c, file):
    """A text as ``input_ids`` and ``attention_mask`` [1, L]."""
    if not any(unicodedata.category(letter)[0] not in "CZ" for letter in text):
        raise ValueError("the text is empty; leave it out instead")
    if c["reader"] == "wordpiece":
        made = json.loads(file.read_text(encoding="utf-8"))
        vocabulary, (first, last) = made["model"]["vocab"], c["special"]
        ids = [i for word in words(text, made["normalizer"]) for i in pieces(word, vocabulary, made["model"])]
        ids = [first, *ids[: c["max_length"] - 2], last]
    else:
        from tokenizers import Tokenizer  # for those that are not BERT's

        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # as in training: what somebody typed is text
        ids = tokenizer.encode(text).ids
    ids += [c["padding"]] * (c["longest"] - len(ids))
    return {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}


def calibrated(logits, fit, many):
    """Probabilities [C] of one sample: tempered, then moved by a line in log-odds."""
    z = np.float64(logits) / fit["temperature"]
    p = 1 / (1 + np.exp(-z)) if many else np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    if (fit["slope"], fit["shift"]) == (1, 0):
        return p
    top = np.clip(p if many else p.max(), 1e-6, 1 - 1e-6)
    moved = 1 / (1 + np.exp(-fit["slope"] * np.log(top / (1 - top)) - fit["shift"]))
    if many:
        return moved
    second = np.sort(p)[-2]  # the first one stays the first; the others share what it leaves
    moved = max(moved, (1 + 1e-9) * second / (1 - top + second))
    return np.where(np.arange(len(p)) == p.argmax(), moved, p * (1 - moved) / (1 - top))


class Exported:
    """The model in a folder."""

    def __init__(self, folder):
        self.folder, self.graphs = Path(folder), {}
        self.spec = json.loads((self.folder / "u2a_export.json").read_text(encoding="utf-8"))
        self.names = list(self.spec["modalities"])

    def run(self, name, inputs):
        """A graph's outputs; it is loaded when it is first asked for."""
        if name not in self.graphs:
            self.graphs[name] = onnxruntime.InferenceSession(str(self.folder / f"{name}.onnx"))
        return self.graphs[name].run(None, inputs)

    def read(self, name, value):
        """What a modality's graph takes, of a picture's path, a text, or an array's file."""
        c = self.spec["modalities"][name]["preprocessing"] or {"reader": None}
        if c["reader"] == "image":
            return picture(value, c)
        if c["reader"] in ("wordpiece", "tokenizer"):
            return tokens(value, c, self.folder / f"{name}.tokenizer.json")
        inputs, given = self.spec["modalities"][name]["inputs"], np.load(value)
        if not hasattr(given, "files"):  # one array; a series is whole
            given = {next(iter(inputs)): given, "attention_mask": np.ones(len(given), np.int64)}
        return {key: given[key][None] for key in inputs}

    def logits(self, inputs, present):
        """[B, C], from each modality's inputs of the samples that have it; present [B, M], bool."""
        (B, M), D = present.shape, self.spec["width"]
        cls, mask = np.zeros((B, M, D), np.float32), np.zeros((B, M, M, D), np.float32)
        for m, name in enumerate(self.names):
            if present[:, m].any():
                cls[present[:, m], m], mask[present[:, m], m] = self.run(name, inputs[name])
        return self.run("head", {"cls": cls, "mask": mask, "present": present})[0]

    def fit(self, there):
        """The calibration of a pattern, given as M bools, or of those like it."""
        pattern = "+".join(name for name, here in zip(self.names, there, strict=True) if here)
        known = self.spec["calibration"]
        groups = [g for g in (pattern, f"{sum(there)} of {len(there)}", "any") if g in known]
        return known[groups[0]] if groups else {"temperature": 1, "slope": 1, "shift": 0, "thresholds": []}

    def predict(self, /, **values):
        """The labels, and each class's probability, the most probable first."""
        if not values or not values.keys() <= set(self.names):
            raise ValueError(f"give any of {', '.join(self.names)}, and nothing else: NAME=VALUE")
        there, task = [name in values for name in self.names], self.spec["task"]
        inputs = {name: self.read(name, value) for name, value in values.items()}
        fit, many = self.fit(there), task["kind"] == "multi_label"
        p = calibrated(self.logits(inputs, np.array([there]))[0], fit, many)
        cuts = (fit["thresholds"] or [0.5] * len(p)) if many else [p.max()] * len(p)
        ranked = {task["classes"][i]: float(p[i]) for i in np.argsort(-p, kind="stable")}
        return [name for name, one, cut in zip(task["classes"], p, cuts, strict=True) if one >= cut], ranked


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # where the terminal lacks a class name's letters
    try:
        given = dict(word.partition("=")[::2] for word in sys.argv[1:])
        labels, ranked = Exported(Path(__file__).parent).predict(**given)
    except (LookupError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print("label:", ", ".join(labels) or "none")
    for name, value in list(ranked.items())[:5]:
        print(f"{value:7.4f}  {name}")
