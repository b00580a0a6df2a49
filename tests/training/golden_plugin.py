"""The golden step's plugin: a small plain-torch transformer over the letters of a text, and a smooth metric.

``frames``: the parts of the text between bars are rows of one sample. ``class_tokens``: the network begins
with so many tokens of its own, which are averaged to the class token; without any, all tokens are.
``augment``: see `turned`. The kind ``whole`` is the same network, trained whole. `reference.py` computes the
same network by itself; the two share their frozen weights (`frozen_weights`) and nothing else.
"""

import u2a

LETTERS, LONGEST, BLOCKS, HEADS = 32, 16, 2, 2


class Options(u2a.ModalityOptions):
    width: int
    weights: int
    class_tokens: int = 1
    frames: bool = False
    dropout: float = 0.0
    augment: bool = False


def frozen_weights(width, weights):
    """The pretrained tensors by name: drawn from the number `weights`, large enough to show everywhere."""
    import torch

    generator = torch.Generator().manual_seed(1000 * weights + width)
    shapes = {"letters": (LETTERS, width), "class_tokens": (2, width), "positions": (LONGEST, width)}
    for b in range(BLOCKS):
        shapes |= {f"{b}.{name}.weight": (width, width) for name in ("q", "k", "v", "o", "mlp")}
        shapes |= {f"{b}.{name}.bias": (width,) for name in ("q", "k", "v", "o", "mlp")}
    return {name: torch.randn(shape, generator=generator) * 0.4 for name, shape in shapes.items()}


def turned(text, seed):
    """The augmentation: the text begins at another of its letters."""
    first = (seed + 1) % len(text)
    return text[first:] + text[:first]


class Letters:
    def __init__(self, options):
        self.frames, self.augment = options.frames, options.augment

    def __call__(self, member, *, train, seed):
        text = member.decode()
        if self.augment and train:
            text = turned(text, seed)
        return {
            "rows": [[ord(c) % LETTERS for c in row] for row in (text.split("|") if self.frames else [text])]
        }

    def collate(self, examples):
        import torch

        rows = [torch.tensor(row) for example in examples for row in example["rows"]]
        return {
            "values": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
            "lengths": torch.tensor([len(row) for row in rows]),
            "rows": torch.tensor([len(example["rows"]) for example in examples]),
        }


def backbone(options, *, weights):
    import torch
    from torch import nn

    width = options.width
    net = nn.Module()
    net.class_tokens = nn.Parameter(torch.empty(2, width))
    net.positions = nn.Parameter(torch.empty(LONGEST, width))
    net.letters = nn.Embedding(LETTERS, width)
    net.blocks = nn.ModuleList()
    for _ in range(BLOCKS):
        block = nn.Module()
        for name in ("q", "k", "v", "o", "mlp"):
            setattr(block, name, nn.Linear(width, width))
        block.dropout = nn.Dropout(options.dropout) if options.dropout else nn.Identity()
        net.blocks.append(block)
    if weights:
        with torch.no_grad():
            for name, value in frozen_weights(width, options.weights).items():
                whole = {"letters": "letters.weight", "class_tokens": name, "positions": name}
                net.get_parameter(whole.get(name, f"blocks.{name}")).copy_(value)
    net.n_class_tokens, net.frames = options.class_tokens, options.frames
    return net.eval()  # as transformers hands its models over


def embedding(net, inputs):
    import torch

    letters = net.letters(inputs["values"])
    own = net.class_tokens[: net.n_class_tokens].expand(len(letters), -1, -1)
    hidden = torch.cat([own, letters], 1)
    valid = torch.arange(hidden.shape[1]) < (inputs["lengths"] + net.n_class_tokens)[:, None]
    return u2a.Tokens(
        hidden + net.positions[: hidden.shape[1]],
        valid,
        cls=tuple(range(net.n_class_tokens)) or None,
        rows_P=inputs["rows"] if net.frames else None,
    )


def encoder(net, tokens):
    from torch.nn.functional import layer_norm

    hidden = run_blocks(tokens, net.blocks[tokens.extra.get("begun", 0) :])
    return layer_norm(hidden, hidden.shape[2:])


def first_blocks(net, tokens, count):
    from dataclasses import replace

    return replace(tokens, hidden_NLD=run_blocks(tokens, net.blocks[:count]), extra={"begun": count})


def skip_blocks(net, tokens, count):
    from dataclasses import replace

    return replace(tokens, extra={"begun": count})


def run_blocks(tokens, blocks):
    from torch.nn.functional import layer_norm, scaled_dot_product_attention

    hidden, width = tokens.hidden_NLD, tokens.hidden_NLD.shape[2:]
    attend = tokens.valid_NL[:, None, None]

    def heads(x):
        return x.unflatten(2, (HEADS, -1)).transpose(1, 2)

    for block in blocks:
        x = layer_norm(hidden, width)
        q, k, v = (heads(projection(x)) for projection in (block.q, block.k, block.v))
        context = scaled_dot_product_attention(q, k, v, attn_mask=attend).transpose(1, 2).flatten(2)
        hidden = hidden + block.dropout(block.o(context))
        hidden = hidden + block.mlp(layer_norm(hidden, width)).tanh()
    return hidden


def surprise(p_NC, target, n_classes):
    """Mean of 1 - the truth's probability: moves with every number of the model, unlike an accuracy."""
    if target.ndim == 1:
        return float(1 - p_NC.gather(1, target[:, None]).mean())
    return float(1 - p_NC.where(target.bool(), 1 - p_NC).mean())


@u2a.hookimpl
def u2a_register_modalities(register):
    for name, tune in (("letters", "lora"), ("whole", "full")):
        register(
            u2a.ModalitySpec(
                name=name,
                extensions=("txt",),
                options=Options,
                preprocessor=Letters,
                backbone=backbone,
                embedding=embedding,
                encoder=encoder,
                width=lambda options: options.width,
                lora_targets=lambda net: [
                    [f"blocks.{b}.{name}" for name in ("q", "k", "v", "o")] for b in range(BLOCKS)
                ],
                api=2,
                first_blocks=first_blocks,
                skip_blocks=skip_blocks,
                tune=tune,
            )
        )


@u2a.hookimpl
def u2a_register_metrics(register):
    register(u2a.MetricSpec("surprise", ("single_label", "multi_label"), surprise, higher_is_better=False))
