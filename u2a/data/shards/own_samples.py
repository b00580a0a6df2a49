"""Samples of this package's own shards: each has a json member that declares it."""

from __future__ import annotations

from collections.abc import Callable

from u2a.data.shards.members import Found, Member
from u2a.data.shards.samples import Sample, encode_key, parse_sample, split_suffix


def read_own_sample(name: str, members: dict[str, Member], read: Callable[[Member], bytes]) -> Found:
    """A sample of this package's own shards: its json member declares it (see `u2a.data.shards.samples`)."""
    if "json" not in members:
        raise ValueError(
            f"sample {name!r}: has no {name}.json next to its members to declare its modalities; "
            "shards made elsewhere are indexed with --map"
        )
    for suffix, member in members.items():
        if suffix != "json":
            try:
                split_suffix(suffix)
            except ValueError as error:
                raise ValueError(f"{name + '.' + suffix!r}: {error}") from None
        if not member.size:
            raise ValueError(f"{name}.{suffix}: is empty; a missing modality is left out of 'present' instead")
    data = read(members.pop("json"))
    try:
        sample = parse_sample(data)
        key = _key(name, sample)
    except ValueError as error:
        raise ValueError(f"{name}.json: {error}") from None
    return key, sample, _match(name, sample, members)


def _key(name: str, sample: Sample) -> str:
    if sample.key is None or sample.key == name or encode_key(sample.key) == name:
        return sample.key or name
    raise ValueError(f"belongs to another sample: its key is {sample.key!r}")


def _match(name: str, sample: Sample, members: dict[str, Member]) -> dict[str, Member]:
    """The member of each present modality: every declaration kept, every member declared."""
    own: dict[str, Member] = {}
    for suffix, member in members.items():
        modality = suffix.partition(".")[0]
        if modality in own:
            other = own[modality].suffix
            raise ValueError(f"sample {name!r}: {other} and {suffix} are two members for one modality")
        own[modality] = member
    found = {}
    for modality in sample.present:
        shared = sample.members.get(modality)
        if shared is not None and modality in own and own[modality].suffix != shared:
            raise ValueError(f"sample {name!r}: {modality} has a member and points at {shared} as well")
        pick = own.get(modality) if shared is None else members.get(shared)
        if pick is None:
            wanted = f"{name}.{shared or modality + '.*'}"
            raise ValueError(
                f"sample {name!r}: declares {modality}, but {wanted} is lost "
                "or not next to the sample's other members"
            )
        found[modality] = pick
    used = {member.suffix for member in found.values()}
    if undeclared := sorted(members.keys() - used):
        raise ValueError(f"{name}.{undeclared[0]}: is there, but {name}.json does not declare it")
    return found
