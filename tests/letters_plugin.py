"""A sound plugin in one light module, which tests install and break. Every byte of a word is a token."""

import u2a


class Options(u2a.ModalityOptions):
    pass


class Letters:
    def __init__(self, longest=20):
        self.longest = longest

    def __call__(self, member, *, train, seed):
        import torch

        values = list(member)
        return {"values": torch.tensor(values[: self.longest])}

    def collate(self, examples):
        import torch

        series = [example["values"] for example in examples]
        values = torch.nn.utils.rnn.pad_sequence(series, batch_first=True)
        return {"values": values, "lengths": torch.tensor([len(values) for values in series])}


def backbone(options, *, weights):
    from torch import nn

    net = nn.Module()
    net.letters = nn.Embedding(256, 8)
    net.q, net.k, net.v, net.o = (nn.Linear(8, 8) for _ in range(4))
    net.norm = nn.LayerNorm(8)
    return net


def embedding(net, inputs):
    import torch

    hidden = net.letters(inputs["values"])
    return u2a.Tokens(hidden, torch.arange(hidden.shape[1]) < inputs["lengths"][:, None])


def encoder(net, tokens):
    hidden = tokens.hidden_NLD
    valid = tokens.valid_NL[:, None, -hidden.shape[1] :]
    scores = (net.q(hidden) @ net.k(hidden).transpose(1, 2)).masked_fill(~valid, -1e4)
    return net.norm(hidden + net.o(scores.softmax(-1) @ net.v(hidden)))


@u2a.hookimpl
def u2a_register_modalities(register):
    register(
        u2a.ModalitySpec(
            name="letters",
            extensions=("abc",),
            options=Options,
            preprocessor=lambda options: Letters(),
            backbone=backbone,
            embedding=embedding,
            encoder=encoder,
            width=lambda options: 8,
            lora_targets=lambda net: [["q", "k", "v", "o"]],
            share_key=lambda options: None,
        )
    )
