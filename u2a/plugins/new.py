"""``u2a plugins new``: a complete, tested distribution that its author only has to change."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from u2a.contract.extensions import NAME
from u2a.contract.names import check_name
from u2a.errors import U2AError
from u2a.plugins.registry import Registry

_LEAVE = ("__pycache__",)


def new_plugin(
    name: str, plugins: Registry, out: str | Path | None = None, *, pretrained: bool = False
) -> Path:
    """Write the distribution ``u2a-plugin-<name>``.

    Args:
        name: the modality's name, a lower-case identifier that no installed plugin brings.
        out: the folder to make; ``u2a-plugin-<name>`` in the working directory if None.
        plugins: the installed modalities.
        pretrained: adapt a transformers checkpoint; otherwise train a small network whole.

    Returns:
        The folder.

    Raises:
        U2AError: a name that cannot be used, or the folder is there and not empty.
    """
    _check_name(name, plugins)
    folder = Path(out) if out else Path(f"u2a-plugin-{name.replace('_', '-')}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise U2AError(f"{folder}: is there already and not empty; name another folder with --out")
    try:
        template = "plugin_template_pretrained" if pretrained else "plugin_template"
        _copy(files("u2a") / template, folder, _names(name))
    except OSError as error:
        raise U2AError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    return folder


def _check_name(name: str, plugins: Registry) -> None:
    if not re.fullmatch(NAME, name) or name.endswith("_"):
        raise U2AError(
            f"{name!r} is no name for a modality: lower-case letters, digits and _, first a letter, "
            "last no _ (a distribution cannot be called so)"
        )
    check_name("modality", name)
    if name in plugins.specs:
        raise U2AError(f"modality {name!r} is already registered by {plugins.owners[name]}; take another name")


def _names(name: str) -> dict[str, str]:
    """What stands in the template, and what takes its place."""
    return {
        "u2a-plugin-mymodality": f"u2a-plugin-{name.replace('_', '-')}",
        "MyModality": "".join(part.capitalize() for part in name.split("_")),
        "MYMODALITY": name.upper(),
        "mymodality": name,
    }


def _copy(source: Traversable, target: Path, names: dict[str, str]) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for child in source.iterdir():
            if child.name not in _LEAVE:
                _copy(child, target / _replace(child.name, names), names)
    else:
        target.write_text(_replace(source.read_text(encoding="utf-8"), names), encoding="utf-8")


def _replace(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text
