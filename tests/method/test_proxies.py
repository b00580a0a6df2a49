"""Statistics, read-outs and proxies of the head start, each by itself, against numpy's and scikit-learn's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from u2a.method.head_start import FrozenTokens, Summary
from u2a.method.head_start.joint import Patterns
from u2a.method.head_start.probes import choose_read_outs, set_scale
from u2a.method.head_start.proxies import RIDGES, fit_proxies
from u2a.method.losses import exhaustive_task_losses
from u2a.method.read_out import ModalityHead, ReadOuts, ReadTokens
from u2a.method.selection import select_tokens

NAMES, WIDTHS, C, RANK = ("a", "b"), (4, 6), 3, 2


def drawn(n: int, seed: int, noise: float = 1.0) -> FrozenTokens:
    """Tokens of two modalities that share five hidden numbers; the mask tokens hardly vary."""
    g = torch.Generator().manual_seed(seed)
    maps = torch.Generator().manual_seed(7)
    hidden = torch.randn(n, 5, generator=g)
    tokens = []
    for H in WIDTHS:
        x = hidden @ torch.randn(5, 2 * H, generator=maps) + noise * torch.randn(n, 2 * H, generator=g) + 3
        mask = 0.5 + 1e-3 * torch.randn(n, 1, H, generator=g)
        tokens.append(ReadTokens(x[:, :H], x[:, H:], mask))
    present = torch.ones(n, 2, dtype=torch.bool)
    return FrozenTokens(tuple(tokens), present, hidden[:, :C].argmax(1))


def with_gaps(side: FrozenTokens) -> FrozenTokens:
    """Every third sample lacks the first modality, every fifth the second; nonsense stands in their places."""
    n = torch.arange(len(side.target))
    lacks = torch.stack([n % 3 == 0, (n % 5 == 0) & (n % 3 != 0)], 1)
    tokens = []
    for m, one in enumerate(side.tokens):
        parts = [part.clone() for part in one]
        for part in parts:
            part[lacks[:, m]] = 1e6
        tokens.append(ReadTokens(*parts))
    return FrozenTokens(tuple(tokens), side.present_NM & ~lacks, side.target)


def columns(tokens: ReadTokens) -> np.ndarray:
    """Mask, class and mean token side by side."""
    return torch.cat([tokens.mask_PKH[:, 0], tokens.cls_PH, tokens.mean_PH], 1).double().numpy()


def of_length(z: np.ndarray, square: int) -> np.ndarray:
    return z * np.sqrt(square) / np.linalg.norm(z, axis=1, keepdims=True)


def read_by_hand(x: ReadTokens, by: ReadTokens) -> np.ndarray:
    """Standardised class and mean token, each row of mean square 1 over the widest read-out."""
    H = x.cls_PH.shape[1]
    mean, deviation = columns(by)[:, H:].mean(0), columns(by)[:, H:].std(0)
    return of_length((columns(x)[:, H:] - mean) / deviation, 2 * max(WIDTHS))


def source_by_hand(x: ReadTokens, by: ReadTokens) -> np.ndarray:
    """What proxies read, without the mask token's part: it varies no more than the others' mean square."""
    H = x.cls_PH.shape[1]
    scale = 1 / columns(by).std(0)
    scale[:H] = np.minimum(scale[:H], np.sqrt((scale[H:] ** 2).mean()))
    return of_length((columns(x) - columns(by).mean(0)) * scale, 3 * H)[:, H:]


def rows(side: FrozenTokens, m: int, chosen: Tensor) -> ReadTokens:
    return ReadTokens(*(part[chosen] for part in side.tokens[m]))


def fitted(train: FrozenTokens, val: FrozenTokens, rank: int) -> tuple[ReadOuts, Summary]:
    torch.manual_seed(0)
    read_outs, summary = ReadOuts(NAMES, WIDTHS, 1, rank), Summary()
    for m in range(2):
        set_scale(read_outs, m, train, "both")
    fit_proxies(read_outs, train, val, summary)
    return read_outs, summary


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("rank", [RANK, 12])  # 12: nothing is cut
def test_a_proxy_is_the_best_of_its_rank_for_the_ridge_of_least_validation_error(rank: int, gaps: bool) -> None:
    """Reduced-rank regression: the full fit's predictions, projected on their first principal directions."""
    train, val = drawn(40, 0, noise=2.0), drawn(60, 1, noise=2.0)
    train, val = (with_gaps(side) for side in (train, val)) if gaps else (train, val)
    read_outs, summary = fitted(train, val, rank)
    chosen = set()
    for i, j in itertools.permutations(range(2), 2):
        both, both_val = (side.present_NM.all(1) for side in (train, val))
        own, other = (rows(train, m, train.present_NM[:, m]) for m in (i, j))
        x, x_val = (source_by_hand(rows(s, i, b), own) for s, b in ((train, both), (val, both_val)))
        y, y_val = (read_by_hand(rows(s, j, b), other) for s, b in ((train, both), (val, both_val)))
        errors, maps = {}, {}
        for ridge in RIDGES:
            full = Ridge(alpha=ridge * len(x), fit_intercept=False, solver="svd").fit(x, y).coef_.T
            top = np.linalg.svd(x @ full)[2][:rank].T
            maps[ridge] = full @ top @ top.T
            errors[ridge] = ((x_val @ maps[ridge] - y_val) ** 2).mean() / (y_val**2).mean()
        name = f"{NAMES[i]}_to_{NAMES[j]}"
        best = min(errors, key=errors.__getitem__)
        assert summary.ridges[name] == best
        assert summary.proxy_errors[name] == pytest.approx(errors[best], abs=1e-4)
        proxy = read_outs.proxies[name]
        z = torch.zeros(len(x_val), 3 * WIDTHS[i])
        z[:, WIDTHS[i] :] = torch.from_numpy(x_val)
        with torch.no_grad():
            np.testing.assert_allclose(proxy(z).numpy(), x_val @ maps[best], atol=2e-3)
            z = torch.zeros(len(x), 3 * WIDTHS[i])
            z[:, WIDTHS[i] :] = torch.from_numpy(x)
            codes = proxy.encode(z).square().mean(0)  # every code counts alike at the start
        np.testing.assert_allclose(codes.numpy()[: min(rank, 8)], 1, atol=1e-2)
        assert not proxy.encode.weight[:, : WIDTHS[i]].any()  # mask tokens say nothing yet
        chosen.add(best)
    assert chosen <= set(RIDGES[1:-1]), "the case would not tell the best ridge from the first or last"


def test_until_a_head_start_a_proxy_says_the_mean() -> None:
    read_outs = ReadOuts(NAMES, WIDTHS, 1, RANK)
    with torch.no_grad():
        assert not any(
            proxy(torch.randn(5, 3 * WIDTHS[NAMES.index(name[0])])).any()
            for name, proxy in read_outs.proxies.items()
        )


@pytest.mark.parametrize("kind", ["cls", "mean", "both"])
def test_statistics_are_of_the_present_samples_and_of_the_read_out_alone(kind: str) -> None:
    train = with_gaps(drawn(50, 3))
    read_outs = ReadOuts(NAMES, WIDTHS, 1, RANK)
    for m, (name, H) in enumerate(zip(NAMES, WIDTHS, strict=True)):
        set_scale(read_outs, m, train, kind)
        own = columns(rows(train, m, train.present_NM[:, m]))[:, H:]
        used = np.repeat([kind != "mean", kind != "cls"], H)
        np.testing.assert_allclose(read_outs.scales[name].mean.numpy(), own.mean(0), rtol=1e-5)
        np.testing.assert_allclose(read_outs.scales[name].scale.numpy(), used / own.std(0), rtol=1e-5)


def test_a_mask_token_that_hardly_varies_yet_is_not_blown_up_beyond_the_others() -> None:
    train = with_gaps(drawn(50, 3))
    read_outs, _ = fitted(train, train, RANK)
    for m, (name, H) in enumerate(zip(NAMES, WIDTHS, strict=True)):
        own = columns(rows(train, m, train.present_NM[:, m]))
        scale = 1 / own.std(0)
        scale[:H] = np.minimum(scale[:H], np.sqrt((scale[H:] ** 2).mean()))
        np.testing.assert_allclose(read_outs.sources[name].scale[0].numpy(), scale, rtol=1e-5)
        np.testing.assert_allclose(read_outs.sources[name].mean[0].numpy(), own.mean(0), rtol=1e-5)


@pytest.mark.parametrize("tells", ["cls", "mean"])
def test_the_read_out_is_the_one_whose_probe_has_the_least_validation_loss(tells: str) -> None:
    def side(n: int, seed: int) -> FrozenTokens:
        g = torch.Generator().manual_seed(seed)
        target = torch.randint(C, (n,), generator=g)
        clear = torch.nn.functional.one_hot(target, 4).float() + 0.3 * torch.randn(n, 4, generator=g)
        noise, mask = torch.randn(n, 4, generator=g), torch.zeros(n, 1, 4)
        one = ReadTokens(clear, noise, mask) if tells == "cls" else ReadTokens(noise, clear, mask)
        return FrozenTokens((one,), torch.ones(n, 1, dtype=torch.bool), target)

    train, val = side(40, 0), side(40, 1)
    read_outs, head, summary = ReadOuts(("a",), (4,), 1, 0), ModalityHead(("a",), (4,), C), Summary()
    with torch.enable_grad():
        choose_read_outs(read_outs, head, train, val, "auto", summary)
    losses = summary.probe_losses["a"]
    assert set(losses) == {"cls", "mean", "both"}
    assert summary.read_outs["a"] == min(losses, key=losses.__getitem__) == tells
    assert read_outs.scales["a"].scale.bool().tolist() == [tells == "cls"] * 4 + [tells == "mean"] * 4
    with torch.enable_grad():
        choose_read_outs(read_outs, head, train, val, "both", again := Summary())
    assert (again.read_outs, set(again.probe_losses["a"])) == ({"a": "both"}, {"both"})
    assert read_outs.scales["a"].scale.all()


def test_every_target_has_its_own_mask_token_of_each_source() -> None:
    """Three modalities with a mask token for each of the two others, in recipe order."""
    read_outs, head = ReadOuts(("a", "b", "c"), (2, 2, 2), 2, 3), ModalityHead(("a", "b", "c"), (2, 2, 2), C)
    g = torch.Generator().manual_seed(0)
    tokens = [ReadTokens(*(torch.randn(6, *s, generator=g) for s in ((2,), (2,), (2, 2)))) for _ in range(3)]
    side = FrozenTokens(tuple(tokens), torch.ones(6, 3, dtype=torch.bool), torch.arange(6) % C)
    with torch.no_grad():
        for parameter in (*read_outs.parameters(), *head.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=g))
        cls = torch.stack([read_outs.read(m, tokens[m]) for m in range(3)], 1)
        mine = ([0, 0, 1], [0, 0, 1], [0, 1, 0])  # source m's token for a, b and c; none for itself
        mask = torch.stack([read_outs.stand_ins(m, tokens[m], mine[m]) for m in range(3)], 1)
        wanted = exhaustive_task_losses(
            lambda present: head(select_tokens(cls, mask, present)), side.present_NM, side.target
        )
        assert float(Patterns(read_outs, side).loss(head, 1.0)) == pytest.approx(float(wanted.mean()), rel=1e-5)


def test_nothing_of_earlier_weights_stays_in_a_fitted_proxy() -> None:
    train = drawn(40, 0)
    fresh, _ = fitted(train, train, 12)
    again, _ = fitted(train, train, 12)
    with torch.no_grad():
        for parameter in again.proxies.parameters():
            parameter.fill_(1.0)
    fit_proxies(again, train, train, Summary())
    for name, weight in fresh.proxies.state_dict().items():
        assert torch.equal(weight, again.proxies.state_dict()[name]), name


@pytest.mark.parametrize(
    ("n_train", "n_val", "fits"), [(0, 9, False), (1, 9, False), (2, 9, True), (9, 0, False)]
)
def test_too_few_samples_of_both_modalities_leave_the_mean(n_train: int, n_val: int, fits: bool) -> None:
    """Two are needed, and one to judge it by; the strongest ridge is told, for a fit on all samples later."""
    train, val = drawn(20, 0), drawn(20, 1)
    for side, n in ((train, n_train), (val, n_val)):
        side.present_NM[n:, 0] = torch.arange(20 - n) % 2 == 0
        side.present_NM[n:, 1] = ~side.present_NM[n:, 0]
    read_outs, summary = fitted(train, val, RANK)
    for name, proxy in read_outs.proxies.items():
        assert np.isfinite(summary.proxy_errors[name]) == fits == bool(proxy.decode.weight.any())
        assert fits or summary.ridges[name] == RIDGES[-1]


def test_a_target_that_never_varies_is_said_without_error() -> None:
    train = drawn(20, 0)
    for part in train.tokens[1]:
        part.fill_(2.0)
    read_outs, summary = fitted(train, train, RANK)
    assert summary.proxy_errors["a_to_b"] == 0
    assert all(weight.isfinite().all() for weight in read_outs.proxies.state_dict().values())


def test_a_direction_that_hardly_varies_may_tell_of_a_target() -> None:
    """Of two numbers that are nearly one the difference says the other modality: a weak ridge keeps it."""
    train, val = drawn(40, 0, noise=0.1), drawn(60, 1, noise=0.1)
    for side in (train, val):
        side.tokens[0].cls_PH[:, 1] = side.tokens[0].cls_PH[:, 0] + 0.1 * side.tokens[1].cls_PH[:, 0].cos()
        for part in side.tokens[1]:
            part.copy_(part[..., :1].cos().expand_as(part) + 0.2 * part)
    _, summary = fitted(train, val, 12)
    x, x_val = (source_by_hand(side.tokens[0], train.tokens[0]) for side in (train, val))
    y, y_val = (read_by_hand(side.tokens[1], train.tokens[1]) for side in (train, val))
    fits = [Ridge(alpha=ridge * len(x), fit_intercept=False, solver="svd").fit(x, y) for ridge in RIDGES]
    errors = [((fit.predict(x_val) - y_val) ** 2).mean() / (y_val**2).mean() for fit in fits]
    assert summary.proxy_errors["a_to_b"] == pytest.approx(min(errors), abs=1e-3)
