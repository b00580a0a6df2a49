"""Every small change to a module that a test could notice: a comparison turned round, an argument left out.

Text of errors, annotations and asserts are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from .changes import changes_of, name_of

#: What is not looked into, besides asserts, imports and formatted text.
SKIPPED = {"annotation", "returns", "decorator_list", "type_comment", "bases", "msg", "exc", "cause"}
ASIDE = ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom
ABOVE = ast.expr | ast.keyword | ast.Assign | ast.Return | ast.Expr | ast.AugAssign
#: Enough of the surrounding expression to know a change by.
CONTEXT = 24


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        name: function, old and new text; no path and no line, so that it outlives a move.
        outermost: the module's function or method to replace, None at module or class level.
        lines: where it is.
        source: the whole module with the change in it.
    """

    name: str
    outermost: str | None
    lines: range
    source: str


def change_of(source: str, old: str, new: str, name: str) -> Mutant:
    """A change of text that occurs once in a module."""
    begin = source.index(old) + len(old) - len(old.lstrip())
    first, last = (source.count("\n", 0, end) + 1 for end in (begin, source.index(old) + len(old.rstrip())))
    around = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and node.lineno <= first and (node.end_lineno or 0) >= last
    ]
    within: list[str] = []
    for node in around:  # from the outside inwards
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            within.append(node.name)
        if isinstance(node, ast.FunctionDef):
            break
    inside = bool(around) and isinstance(node, ast.FunctionDef) and first >= node.body[0].lineno
    lines = range(around[-1].lineno if around else first, last + 1)
    return Mutant(name, ".".join(within) if inside else None, lines, source.replace(old, new))


def mutants_of(source: str) -> list[Mutant]:
    """All changes of a module, in the order of its lines."""
    return _Module(source).mutants()


class _Module:
    def __init__(self, source: str) -> None:
        self.text = source.encode()
        self.lines = self.text.splitlines(keepends=True)
        self.tree = ast.parse(source)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def mutants(self) -> list[Mutant]:
        found: dict[str, Mutant] = {}
        for node in self._visible(self.tree):
            for new in changes_of(node, self.parents.get(node)):
                mutant = self._make(node, new)
                name, again = mutant.name, 1
                if any(m.source == mutant.source for m in found.values()):
                    continue
                while name in found:
                    again += 1
                    name = f"{mutant.name} #{again}"
                found[name] = Mutant(name, mutant.outermost, mutant.lines, mutant.source)
        return sorted(found.values(), key=lambda m: m.lines.start)

    def _visible(self, node: ast.AST) -> Iterator[ast.AST]:
        yield node
        for field, value in ast.iter_fields(node):
            if field in SKIPPED:
                continue
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST) or isinstance(child, ASIDE):
                    continue
                if isinstance(node, ast.Call) and name_of(node.func) == "cast" and child is node.args[0]:
                    continue
                yield from self._visible(child)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        begin = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return begin, self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def _make(self, node: ast.AST, new: str) -> Mutant:
        begin, end = self._span(node)
        padding = b"\n" * (self.text[begin:end].count(b"\n") - new.count("\n"))
        new_bytes = new.encode()
        if isinstance(node, ast.expr):
            new_bytes = b"(" + new_bytes + padding + b")"
        source = (self.text[:begin] + new_bytes + self.text[end:]).decode()
        around = node
        while isinstance(around, ast.expr | ast.keyword | ast.comprehension) and self._length(around) < CONTEXT:
            above = self.parents[around]
            if not isinstance(above, ABOVE):
                break
            around = above
        first, last = self._span(around)
        old = _line(self.text[first:last])
        shown = _line(self.text[first:begin] + new.encode() + self.text[end:last])
        qualname, outermost = self._function(node)
        name = f"{qualname}: {old} => {shown}"
        return Mutant(name, outermost, range(node.lineno, node.end_lineno + 1), source)  # type: ignore[attr-defined]

    def _length(self, node: ast.AST) -> int:
        begin, end = self._span(node) if hasattr(node, "lineno") else (0, 0)
        return end - begin

    def _function(self, node: ast.AST) -> tuple[str, str | None]:
        """The qualified name of where a node stands, and its outermost function if its body is changed."""
        path: list[ast.AST] = []
        child, above = node, self.parents.get(node)
        while above is not None:
            if isinstance(above, ast.FunctionDef | ast.Lambda | ast.ClassDef):
                body = above.body if isinstance(above.body, list) else [above.body]
                if child in body or isinstance(above, ast.ClassDef):
                    path.append(above)
                else:
                    path = []  # a default argument: not of the body
            child, above = above, self.parents.get(above)
        names = [getattr(p, "name", "<lambda>") for p in reversed(path)]
        outermost = []
        for part in reversed(path):
            outermost.append(getattr(part, "name", "<lambda>"))
            if isinstance(part, ast.FunctionDef):
                return ".".join(names), ".".join(outermost)
        return ".".join(names) or "module", None


def _line(text: bytes) -> str:
    return " ".join(text.decode().split())
