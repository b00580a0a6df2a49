"""Functions that live in this process, and changed code in place of theirs."""

from __future__ import annotations

import gc
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType

from .operators import Mutant
from .tree import own_packages


def import_file(path: Path, tree: Path) -> None:
    """Import a file's module, so that its functions live; nothing happens where it cannot be imported."""
    roots = (tree, tree / "plugins", *own_packages(tree))
    root = max((root for root in roots if path.is_relative_to(root)), key=lambda root: len(root.parts))
    with suppress(ImportError):
        import_module(".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"))


def functions_of(paths: Collection[Path]) -> dict[str, list[FunctionType]]:
    """The living functions of files."""
    found: dict[str, list[FunctionType]] = {str(path): [] for path in paths}
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename in found:  # isinstance would wake proxies
            found[one.__code__.co_filename].append(one)
    return found


def replace_code(mutant: Mutant, path: str, living: Mapping[str, Sequence[FunctionType]]) -> None:
    """Give the living function of a mutant its changed code.

    Raises:
        LookupError: there is none.
    """
    assert mutant.outermost is not None
    changed = _find(compile(mutant.source, path, "exec"), mutant.outermost)
    own = [
        function
        for function in living[path]
        if (function.__code__.co_qualname, function.__code__.co_firstlineno)
        == (changed.co_qualname, changed.co_firstlineno)
    ]
    if not own:
        raise LookupError(mutant.outermost)
    for function in own:
        function.__code__ = changed


def _find(code: CodeType, qualname: str) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == qualname:
                return constant
            if qualname.startswith(constant.co_qualname + "."):
                return _find(constant, qualname)
    raise LookupError(qualname)
