"""The head start: everything behind the encoders, fitted on the frozen encoders' tokens before the first step.

Linear probing before fine-tuning (Kumar et al., ICLR 2022), for all availability patterns at once: statistics
of the tokens, the read-out of each modality, low-rank proxies for what is missing (reduced-rank ridge
regression), then the head by L-BFGS on the exhaustive task loss. Every choice is made by validation **loss**:
with a hundred validation samples accuracy picks at random.

Shape suffixes: N samples, M modalities in recipe order, K mask tokens, H one encoder's width, F = 2 H, S = 3 H,
R rank, C classes; see `u2a.method.read_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from u2a.method.losses import task_losses
from u2a.method.read_out import ModalityHead, Proxy, ReadOuts, ReadTokens, Scale, beside_mask, both
from u2a.method.selection import subsets

#: What a modality's read-out may be: which halves of class and mean token side by side.
READ_OUTS = {"cls": (True, False), "mean": (False, True), "both": (True, True)}
#: Weight decays of single probes, strongest first; the path ends where validation grows worse.
DECAYS = tuple(0.3 * 10 ** (-i / 2) for i in range(12))
#: Common factors on the probes' decays, for the joint fit.
FACTORS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
#: Share of the training samples that choices are made on where there is no validation data.
HELD_SHARE = 0.2
#: Logits that are computed at once.
LARGEST = 20_000_000
#: Worse than the best so far by this factor: stop walking down a path.
PATIENCE = 1.02


@dataclass(frozen=True)
class FrozenTokens:
    """What the frozen encoders made of a set of samples; places of absent modalities hold anything.

    Attributes:
        tokens: one `ReadTokens` a modality, N rows each.
        present_NM: bool.
        target: ``[N]`` long or ``[N, C]`` float.
        class_weights: as `u2a.method.losses.task_losses` takes them.
    """

    tokens: tuple[ReadTokens, ...]
    present_NM: Tensor
    target: Tensor
    class_weights: Tensor | None = None

    def rows(self, chosen_N: Tensor) -> FrozenTokens:
        """The chosen samples only (bool or places)."""
        tokens = tuple(ReadTokens(*(part[chosen_N] for part in one)) for one in self.tokens)
        return replace(self, tokens=tokens, present_NM=self.present_NM[chosen_N], target=self.target[chosen_N])


@dataclass
class Summary:
    """What the head start chose, plain values for logs and the run folder.

    Attributes:
        read_outs: modality to ``cls``, ``mean`` or ``both``.
        probe_losses: modality to the validation loss of its own probe, by read-out.
        decays: modality to the decay of its weights.
        proxy_errors: ``image_to_text`` and so on to the proxies' squared error (1 = a constant).
        ridges: the strength of each proxy's ridge regression.
        gate: 1 where proxies stand in for what is missing, 0 where its mean does.
        loss: validation loss of the joint fit, averaged over all patterns.
        held_out: True where choices were made on a part of the training samples.
    """

    read_outs: dict[str, str] = field(default_factory=dict)
    probe_losses: dict[str, dict[str, float]] = field(default_factory=dict)
    decays: dict[str, float] = field(default_factory=dict)
    proxy_errors: dict[str, float] = field(default_factory=dict)
    ridges: dict[str, float] = field(default_factory=dict)
    gate: float = 0.0
    loss: float = float("nan")
    held_out: bool = False

    def lines(self) -> list[str]:
        """What a person should know of it, a line each."""
        read = ", ".join(
            f"{name} by {'class and mean token' if r == 'both' else r + ' token'}"
            for name, r in self.read_outs.items()
        )
        errors = ", ".join(f"{pair.replace('_to_', ' to ')} {e:.2f}" for pair, e in self.proxy_errors.items())
        stand = "proxies stand in for what is missing" if self.gate else "a missing modality counts as its mean"
        lines = [f"head start: {read}; {stand}; validation loss {self.loss:.4f} over all patterns"]
        return lines + ([f"squared error of the proxies (1 = a constant): {errors}"] if errors else [])


def fit_head_start(
    read_outs: ReadOuts,
    head: ModalityHead,
    train: FrozenTokens,
    validation: FrozenTokens | None,
    *,
    read_out: str = "auto",
    seed: int = 0,
) -> Summary:
    """Fit statistics, proxies and head in place.

    Args:
        train: tokens of the training samples, on the modules' device, float32.
        validation: what choices are made on; None holds out a fifth of the training samples for the choices,
            and fits on all of them afterwards.
        read_out: ``cls``, ``mean`` or ``both`` for every modality, or ``auto``.
    """
    summary = Summary(held_out=validation is None)
    fit_on = train
    if validation is None:
        held_N = torch.zeros(len(train.target), dtype=torch.bool, device=train.target.device)
        order = torch.randperm(len(held_N), generator=torch.Generator().manual_seed(seed))
        held_N[order[: max(1, round(HELD_SHARE * len(held_N)))].to(held_N.device)] = True
        fit_on, validation = train.rows(~held_N), train.rows(held_N)
    with torch.enable_grad():
        _choose_read_outs(read_outs, head, fit_on, validation, read_out, summary)
        _fit_proxies(read_outs, fit_on, validation, summary)
        _fit_head(read_outs, head, fit_on, validation, summary)
        if summary.held_out:
            _refit(read_outs, head, train, summary)
    return summary


def _choose_read_outs(
    read_outs: ReadOuts,
    head: ModalityHead,
    train: FrozenTokens,
    validation: FrozenTokens,
    read_out: str,
    summary: Summary,
) -> None:
    """Each modality's read-out and decay, by the validation loss of its own linear probe."""
    kinds = tuple(READ_OUTS) if read_out == "auto" else (read_out,)
    for m, name in enumerate(read_outs.names):
        losses: dict[str, float] = {}
        best: tuple[float, float, str] | None = None
        for kind in kinds:
            set_scale(read_outs, m, train, kind)
            loss, decay = _probe(read_outs, head, m, train, validation)
            losses[kind] = loss
            best = min(best or (loss, decay, kind), (loss, decay, kind))
        assert best is not None
        set_scale(read_outs, m, train, best[2])
        summary.read_outs[name], summary.decays[name] = best[2], best[1]
        summary.probe_losses[name] = losses


def set_scale(read_outs: ReadOuts, m: int, train: FrozenTokens, kind: str) -> None:
    """Statistics of modality m's read-out, of the training samples that have it."""
    own_NF = both(train.tokens[m])[train.present_NM[:, m]]
    H = own_NF.shape[1] // 2
    used_F = torch.tensor(READ_OUTS[kind], device=own_NF.device).repeat_interleave(H)
    cast(Scale, read_outs.scales[read_outs.names[m]]).set(*_statistics(own_NF, used_F))


def _statistics(x_NF: Tensor, used_F: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and 1 / deviation; 0 for dimensions that do not vary (relative to the others) or are not used."""
    if not len(x_NF):
        return x_NF.new_zeros(x_NF.shape[1]), x_NF.new_zeros(x_NF.shape[1])
    deviation_F = x_NF.double().std(0, unbiased=False)
    floor = 1e-5 * deviation_F.square().mean().sqrt()
    varies_F = deviation_F > floor
    if used_F is not None:
        varies_F = varies_F & used_F
    scale_F = torch.where(varies_F, 1 / deviation_F.clamp(min=torch.finfo(torch.float64).tiny), 0)
    return x_NF.double().mean(0).to(x_NF.dtype), scale_F.to(x_NF.dtype)


def _probe(
    read_outs: ReadOuts, head: ModalityHead, m: int, train: FrozenTokens, validation: FrozenTokens
) -> tuple[float, float]:
    """The lowest validation loss of a linear probe of modality m along the path of decays, and its decay."""
    sides = []
    for side in (train, validation):
        there_N = side.present_NM[:, m]
        sides.append((_own(read_outs, m, side.rows(there_N)) / read_outs.width**0.5, side.target[there_N]))
    (x_NF, y), (x_val, y_val) = sides
    best = (float("inf"), DECAYS[-1])
    if not len(y) or not len(y_val):
        return best
    weight = torch.zeros_like(next(iter(head.each_weight()))[:, :1]).expand(-1, x_NF.shape[1]).clone()
    parameters = [weight.requires_grad_(), torch.zeros_like(head.bias).requires_grad_()]

    def logits(x: Tensor) -> Tensor:
        return x @ parameters[0].T + parameters[1]

    def loss_with(decay: float) -> Tensor:
        return task_losses(logits(x_NF), y, train.class_weights).mean() + decay * parameters[0].square().sum()

    for decay in DECAYS:
        minimise(parameters, partial(loss_with, decay))
        with torch.no_grad():
            loss = float(task_losses(logits(x_val), y_val, train.class_weights).mean())
        if loss > best[0] * PATIENCE:
            break
        best = min(best, (loss, decay))
    return best


def _own(read_outs: ReadOuts, m: int, side: FrozenTokens) -> Tensor:
    return read_outs.own(m, side.tokens[m])


def minimise(parameters: Sequence[Tensor], loss: Callable[[], Tensor], steps: int = 60) -> None:
    """L-BFGS with strong Wolfe line search, in place; ends where it no longer moves."""
    optimizer = torch.optim.LBFGS(
        list(parameters), max_iter=steps, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-8
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def _fit_proxies(read_outs: ReadOuts, train: FrozenTokens, validation: FrozenTokens, summary: Summary) -> None:
    """Ridge regression of every read-out on every other modality's tokens, cut to rank R, in place.

    The mask tokens of a network that has not been trained say nothing yet: their part starts at zero.
    """
    if not read_outs.proxies:
        return
    for i, name in enumerate(read_outs.names):
        _set_source_scale(read_outs, i, train)
        for j, target in enumerate(read_outs.names):
            if i != j:
                pair = f"{name}_to_{target}"
                ridges = (summary.ridges[pair],) if pair in summary.ridges else RIDGES
                found = _fit_proxy(read_outs, i, j, train, validation, ridges)
                summary.proxy_errors[pair], summary.ridges[pair] = found


def _set_source_scale(read_outs: ReadOuts, i: int, train: FrozenTokens) -> None:
    beside_NKS = beside_mask(train.tokens[i])[train.present_NM[:, i]]
    statistics = [_statistics(beside_NS) for beside_NS in beside_NKS.unbind(1)]
    mean_KS, scale_KS = (torch.stack(column) for column in zip(*statistics, strict=True))
    H = mean_KS.shape[1] // 3
    halves = scale_KS[:, :H], scale_KS[:, H:]  # constant before training: an untrained mask token still counts
    scale_KS = torch.cat([halves[0].clamp(max=halves[1].square().mean().sqrt()), halves[1]], 1)
    cast(Scale, read_outs.sources[read_outs.names[i]]).set(mean_KS, scale_KS)


def _fit_proxy(
    read_outs: ReadOuts,
    i: int,
    j: int,
    train: FrozenTokens,
    validation: FrozenTokens,
    ridges: Sequence[float],
) -> tuple[float, float]:
    """Reduced-rank ridge regression in place: squared error on validation (1 = a constant's), and its ridge."""
    proxy = cast(Proxy, read_outs.proxies[f"{read_outs.names[i]}_to_{read_outs.names[j]}"])
    (x_NS, z_NF), (x_val, z_val) = (_pairs(read_outs, i, j, side) for side in (train, validation))
    if len(x_NS) < 2 or not len(x_val):
        return float("nan"), ridges[-1]
    gram_SS = x_NS.T @ x_NS
    eigenvalues_S, basis_SS = torch.linalg.eigh(gram_SS)
    rotated_SF = basis_SS.T @ (x_NS.T @ z_NF)

    def of_rank(ridge: float) -> tuple[Tensor, Tensor]:
        """The best map of rank R keeps the leading directions of what the full one predicts."""
        map_SF = basis_SS @ (rotated_SF / (eigenvalues_S.clamp(min=0) + ridge * len(x_NS)).unsqueeze(1))
        top_FR = torch.linalg.eigh(map_SF.T @ gram_SS @ map_SF)[1][:, -proxy.encode.out_features :]
        return map_SF @ top_FR, top_FR

    found = []
    for ridge in ridges:
        down_SR, top_FR = of_rank(ridge)
        found.append((_relative_error(x_val @ down_SR @ top_FR.T, z_val), ridge))
    error, ridge = min(found)
    down_SR, top_FR = of_rank(ridge)
    deviation_R = (x_NS @ down_SR).square().mean(0).sqrt().clamp(min=1e-12)
    _put(proxy, down_SR / deviation_R, top_FR * deviation_R)
    return error, ridge


def _pairs(read_outs: ReadOuts, i: int, j: int, side: FrozenTokens) -> tuple[Tensor, Tensor]:
    """Class and mean token of i, read-out of j, of the samples that have both."""
    there = side.rows(side.present_NM[:, i] & side.present_NM[:, j])
    H = there.tokens[i].cls_PH.shape[1]
    return read_outs.source(i, there.tokens[i])[:, 0, H:], _own(read_outs, j, there)


def _relative_error(estimate_NF: Tensor, z_NF: Tensor) -> float:
    return float((estimate_NF - z_NF).square().mean() / z_NF.square().mean().clamp(min=1e-30))


def _put(proxy: Proxy, down_SR: Tensor, up_FR: Tensor) -> None:
    """The fitted map; unused ranks and the mask token's part at zero."""
    R = down_SR.shape[1]
    with torch.no_grad():
        proxy.encode.weight.zero_()
        proxy.encode.weight[:R, -len(down_SR) :] = down_SR.T
        proxy.decode.weight.zero_()
        proxy.decode.weight[:, :R] = up_FR


class _Patterns:
    """Logits of every availability pattern of fixed tokens; what they share is computed once a call.

    A stand-in of low rank meets the head as a code: ``W_j decode_ij code_ij``.
    """

    def __init__(self, read_outs: ReadOuts, side: FrozenTokens) -> None:
        names = read_outs.names
        self.present_NM, self.target, self.D = side.present_NM, side.target, read_outs.width
        self.class_weights = side.class_weights
        self.own = [_own(read_outs, m, side) * side.present_NM[:, m, None] for m in range(len(names))]
        self.codes: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        with torch.no_grad():
            for i, name in enumerate(names if read_outs.proxies else ()):
                source_NKS = read_outs.source(i, side.tokens[i])
                for j, target in enumerate(names):
                    if i != j:
                        proxy = cast(Proxy, read_outs.proxies[f"{name}_to_{target}"])
                        k = j - (j > i) if source_NKS.shape[1] > 1 else 0
                        self.codes[i, j] = proxy.encode(source_NKS[:, k]), proxy.decode.weight

    def loss(self, head: ModalityHead, gate: float) -> Tensor:
        """The exhaustive task loss (each sample's mean over the subsets of its own presence), a scalar."""
        terms_TNC = self._terms(list(head.each_weight()), gate)
        n_subsets_N = 2 ** self.present_NM.sum(1) - 1
        total = head.bias.new_zeros(())
        for part_PT, has_all_PN in self._parts(terms_TNC):
            logits_PNC = head.bias + torch.einsum("pt,tnc->pnc", part_PT, terms_TNC)
            target = self.target.expand(len(part_PT), *self.target.shape).flatten(0, 1)
            losses_PN = task_losses(logits_PNC.flatten(0, 1), target, self.class_weights)
            losses_PN = losses_PN.view(len(part_PT), -1)
            total = total + (torch.where(has_all_PN, losses_PN, 0) / n_subsets_N).sum()
        return total / len(self.target)

    def _terms(self, weights: Sequence[Tensor], gate: float) -> Tensor:
        """What the logits are sums of: M own terms, then one a pair of source and target, ``[T, N, C]``."""
        own = [x_NF @ w.T for x_NF, w in zip(self.own, weights, strict=True)]
        pairs = self.codes.items() if gate else ()
        stand_ins = [gate * code_NR @ (up_FR.T @ weights[j].T) for (_, j), (code_NR, up_FR) in pairs]
        return torch.stack([*own, *stand_ins]) / self.D**0.5

    def _parts(self, terms_TNC: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Patterns a few at a time: how much of each term they take, and which samples can have them."""
        M, (T, N, C) = self.present_NM.shape[1], terms_TNC.shape
        found = subsets(M)
        size = max(1, LARGEST // max(1, N * C))
        for start in range(0, len(found), size):
            kept_PM = torch.tensor(found[start : start + size], device=terms_TNC.device)
            part_PT = terms_TNC.new_zeros(len(kept_PM), T)
            part_PT[:, :M] = kept_PM.to(terms_TNC.dtype)
            for t, (i, j) in enumerate(self.codes if T > M else (), start=M):
                takes_P = kept_PM[:, i] & ~kept_PM[:, j]
                part_PT[:, t] = takes_P / kept_PM.sum(1)
            yield part_PT, (self.present_NM | ~kept_PM.unsqueeze(1)).all(2)


def _fit_head(
    read_outs: ReadOuts, head: ModalityHead, train: FrozenTokens, validation: FrozenTokens, summary: Summary
) -> None:
    """The joint fit: a common factor on the decays, and whether proxies stand in, by validation loss."""
    fitted, judged = _Patterns(read_outs, train), _Patterns(read_outs, validation)
    decays_M = [summary.decays[name] for name in read_outs.names]
    best: tuple[float, float, float, dict[str, Tensor]] | None = None
    for gate in (0.0, 1.0) if read_outs.proxies else (0.0,):
        reached = float("inf")
        _reset(head)
        for factor in FACTORS:
            _set_decay(head, [decay * factor for decay in decays_M])
            _minimise_head(head, fitted, gate)
            with torch.no_grad():
                loss = float(judged.loss(head, gate))
            if best is None or loss < best[0]:
                best = loss, factor, gate, {k: v.clone() for k, v in head.state_dict().items()}
            if loss > reached * PATIENCE:
                break
            reached = min(reached, loss)
    assert best is not None
    summary.loss, factor, summary.gate = best[:3]
    summary.decays = {name: decay * factor for name, decay in summary.decays.items()}
    head.load_state_dict(best[3])
    cast(Tensor, read_outs.gate).fill_(summary.gate)


def _refit(read_outs: ReadOuts, head: ModalityHead, train: FrozenTokens, summary: Summary) -> None:
    """The choices of a part of the samples, fitted on all of them."""
    for m, name in enumerate(read_outs.names):
        set_scale(read_outs, m, train, summary.read_outs[name])
    _fit_proxies(read_outs, train, train, Summary(ridges=summary.ridges))
    _minimise_head(head, _Patterns(read_outs, train), summary.gate)


def _reset(head: ModalityHead) -> None:
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()


def _set_decay(head: ModalityHead, decays: Sequence[float]) -> None:
    decay_M = cast(Tensor, head.decay_M)
    decay_M.copy_(torch.tensor(decays, dtype=decay_M.dtype))


def _minimise_head(head: ModalityHead, patterns: _Patterns, gate: float) -> None:
    parameters = list(head.parameters())
    minimise(parameters, lambda: patterns.loss(head, gate) + head.penalty())
    for parameter in parameters:
        parameter.grad = None
