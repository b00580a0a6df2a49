"""The plugin contract: what a modality brings, and what it may rely on.

Shape suffixes used here and everywhere: B batch, P present samples of one modality, N rows (samples, or
frames of samples), L tokens, D width, M modalities in recipe order, K mask tokens of one modality
(1, or M - 1 with ``mask_tokens = "per_target"``), C classes.

A modality is three parts and a record that holds them:

* a **preprocessor** turns the bytes of one member of a shard into an example, and examples into padded inputs;
* an **embedding** turns inputs into `Tokens` with the backbone's own embedding layer (paper eq. 1);
* an **encoder** runs the backbone's transformer over those tokens after the core has appended the mask tokens
  (eqs. 2 and 3) and returns hidden states with the backbone's final norm applied to every position.

This module imports torch for typing only, so that listing plugins stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from u2a.contract.versions import UNSTATED_API
from u2a.errors import PluginError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

Tune = Literal["lora", "frozen", "full"]
"""What is trained of a backbone: adapters on a frozen one, nothing, or all of it."""

Example = Mapping[str, Any]
"""One preprocessed sample of one modality: names to tensors or plain numbers; picklable."""

Inputs = Mapping[str, Any]
"""What `Preprocessor.collate` returns: names to tensors for the P present samples of a batch."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of one modality's present samples, on their way from embedding to encoder.

    Attributes:
        hidden_NLD: float tensor, right-padded; the encoder's own CLS and positions are in it.
        valid_NL: bool tensor, True = a real token; None = all are real.
        cls: positions averaged to the class token (AST: ``(0, 1)``); a long tensor [N] = one position for each
            row (CLIP's text tower: where the text ends); None = the mean of all valid tokens, for encoders
            without a class token.
        rows_P: long tensor, how many rows each present sample owns, in order (video: its frames);
            None = one each. Class and mask tokens are averaged over a sample's rows.
        extra: what the embedding must hand to the encoder (names to anything).
        n_mask_tokens: K, how many mask tokens the core has appended; 0 as an embedding returns tokens.
    """

    hidden_NLD: Tensor
    valid_NL: Tensor | None = None
    cls: tuple[int, ...] | Tensor | None = (0,)
    rows_P: Tensor | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    n_mask_tokens: int = 0


class Preprocessor(Protocol):
    """Bytes to example, examples to inputs. Must pickle: data workers get a copy.

    One whose examples differ in length may have ``lengths(bytes_N)``: about how many tokens members of so many
    bytes become, numpy [N] to [N]. Samples of similar length then share batches, which saves padding.

    One may have ``constants()``: plain values for JSON that say how bytes become inputs, for what `u2a export`
    writes. ``"reader"`` names the way; texts by name under ``"files"`` are written beside the graphs.
    """

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode one member. Random augmentation only if ``train``, and only from ``seed``.

        Raises:
            u2a.errors.BadSample: the bytes cannot be used; the text says why in a few words.
        """
        ...

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Stack at least one example; pad on the right where lengths differ."""
        ...


class Embedding(Protocol):
    """Paper eq. 1: inputs to tokens with the backbone's frozen embedding layer."""

    def __call__(self, backbone: nn.Module, inputs: Inputs) -> Tokens: ...


class Encoder(Protocol):
    """Paper eq. 3: all hidden states, final norm applied, same shape as ``tokens.hidden_NLD``.

    The core has appended the mask tokens as the last K positions, marked valid.
    """

    def __call__(self, backbone: nn.Module, tokens: Tokens) -> Tensor: ...


class Measuring(Protocol):
    """What a backbone with ``tune = "full"`` may have, to know the training samples before the first step.

    Before anything is learned it measures training samples (all, or a seeded part of many), and is fitted on
    what it found, as with the means that it subtracts. What it fits are buffers: they go with its weights.
    """

    #: X: how many numbers are measured of a sample; 0 = nothing is to be fitted.
    n_measures: int

    def measure(self, **inputs: Any) -> Tensor:
        """What `Preprocessor.collate` returned to float [P, X], a row a sample."""
        ...

    def fit(self, measured_NX: Tensor) -> None:
        """Take the rows of the training samples, on every process alike; at least one."""
        ...


class ModalityOptions(BaseModel):
    """Base of every plugin's options: the fields of a recipe's ``[modalities.<name>]`` section."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    kind: str = Field(description="the plugin's modality; the section's own name if left out")
    tune: Tune | None = Field(
        None,
        description="what is trained of the encoder: lora (adapters), frozen (nothing) or full (all of it, "
        "saved whole); the first of these that the modality offers if left out",
    )


@dataclass(frozen=True)
class Suggestion:
    """What a modality would write into a recipe's section for a person's data; see `ModalitySpec.suggest`.

    Attributes:
        options: values of the section, as TOML has them.
        comments: a few words on why, by option.
    """

    options: Mapping[str, Any]
    comments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What one member is, for a person who looks at data; see `ModalitySpec.describe`.

    Attributes:
        format: one word for what was read, e.g. ``"image"``: members are counted by it.
        numbers: measures by name and unit, e.g. ``{"seconds": 2.0, "rate (Hz)": 16000}``.
    """

    format: str
    numbers: Mapping[str, float] = field(default_factory=dict)


Suggest = Callable[[str, Sequence[bytes], Mapping[str, Any]], Suggestion | None]
"""See `ModalitySpec.suggest`."""


@dataclass(frozen=True)
class ModalitySpec:
    """One complete modality. A record that lacks a part cannot be made; a wrong one is refused by name.

    Attributes:
        name: the modality's name, a Python identifier, e.g. ``"audio"``.
        extensions: file extensions, without dots, that the preprocessor reads, e.g. ``("wav", "flac")``.
        options: the pydantic model of the recipe section (a `ModalityOptions`).
        preprocessor: builds the preprocessor from validated options.
        backbone: ``backbone(options, weights=True)`` builds the network and reads its checkpoint; the only
            place that does. With ``weights=False`` it runs under ``torch.device("meta")`` and reads none. One
            that is trained whole may be fitted to the training samples first: see `Measuring`.
        embedding: see `Embedding`.
        encoder: see `Encoder`.
        width: D, the size of the hidden states.
        lora_targets: names of the ``nn.Linear`` projections to adapt, one list a block; four a block
            (query, key, value, attention output) in that order.
        share_key: of no use any more, and need not be written: modalities whose checkpoints are the same file
            share one frozen copy in memory, whoever brings them.
        tune: ``"lora"`` freezes the backbone and adapts it; ``"frozen"`` leaves it as it is; ``"full"`` trains
            and saves all of it. A tuple (version 2) offers several: a recipe's ``tune`` chooses, the first is
            the default.
        first_blocks: for ``model.adapt_blocks`` (version 2): ``first_blocks(backbone, tokens, count)`` runs the
            first blocks over tokens that have no mask tokens yet; `encoder` goes on from the `Tokens` that it
            returns. None = mask tokens and adapters are in all blocks, whatever a recipe says.
        skip_blocks: for ``training.frozen_cache_gb`` (version 2): ``skip_blocks(backbone, tokens, count)``
            takes tokens of `embedding` whose ``hidden_NLD`` is what `first_blocks` gave before, and gives what
            that would. None = nothing of this modality is kept.
        to_member: turns a value that a Python caller holds (an array, text) into bytes that the
            preprocessor reads; None = the Python API takes bytes and paths only.
        suggest: for `u2a init`: ``suggest(size, members, given)`` gives a `Suggestion` for some members' bytes,
            or None if they are nothing of this modality. `size` is ``tiny``, ``small`` or ``base``; `given` are
            options that the person chose. None = the modality is used where a column bears its name.
        describe: for `u2a data inspect` (version 2): ``describe(options, member)`` gives a `Description`, or
            raises `BadSample`. None = members are told by their size and the type of their first bytes.
        preview: for galleries (version 2): ``preview(options, member, width)`` gives a picture (`PIL.Image`),
            at most so many pixels wide, or a text, of what the preprocessor reads of a member; or raises
            `BadSample`.
        api: the contract version that the plugin was made for; 1 if left out.
    """

    name: str
    extensions: tuple[str, ...]
    options: type[ModalityOptions]
    preprocessor: Callable[[Any], Preprocessor]
    backbone: Callable[..., nn.Module]
    embedding: Embedding
    encoder: Encoder
    width: Callable[[Any], int]
    lora_targets: Callable[[nn.Module], list[list[str]]]
    share_key: Callable[[Any], Hashable | None] | None = None
    tune: Tune | tuple[Tune, ...] = "lora"
    first_blocks: Callable[[Any, Tokens, int], Tokens] | None = None
    skip_blocks: Callable[[Any, Tokens, int], Tokens] | None = None
    to_member: Callable[[Any], bytes] | None = None
    suggest: Suggest | None = None
    describe: Callable[[Any, bytes], Description] | None = None
    preview: Callable[[Any, bytes, int], Image | str] | None = None
    api: int = UNSTATED_API

    @property
    def tunes(self) -> tuple[Tune, ...]:
        """The ways to `tune` that a recipe may choose from, the default first."""
        return (self.tune,) if isinstance(self.tune, str) else self.tune

    def chosen(self, options: ModalityOptions) -> ModalitySpec:
        """This record with the one `tune` that a recipe's section has chosen.

        Raises:
            PluginError: it is not among `tunes`.
        """
        wanted = None if redefines(self.options, "tune") else options.tune
        if wanted is not None and wanted not in self.tunes:
            raise PluginError(f'tune = "{wanted}" is not offered; this modality has {" or ".join(self.tunes)}')
        return replace(self, tune=wanted or self.tunes[0])


def redefines(options: type[ModalityOptions], name: str) -> bool:
    """Whether a plugin's options have a field of their own where u2a has one."""
    own = [model for model in options.__mro__ if model is not ModalityOptions]
    return any(name in vars(model).get("__annotations__", {}) for model in own)
