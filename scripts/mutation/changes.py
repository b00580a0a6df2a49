"""What a node of a module's syntax may be changed into; nothing is said of where it stands."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
SEEDED = ("stable_seed", "rng")
ORDERED = ast.Lt | ast.LtE | ast.Gt | ast.GtE
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
#: Calls that are left out, their first argument staying.
UNWRAPPED = {"sorted", "reversed", "abs", "round", "set"}
#: Methods whose absence changes a type or a place at most: other tools look after those.
HARMLESS = {"cpu", "tolist", "item", "keys", "items", "values", "resolve", "expanduser", "encode", "decode"}
MODULES = {"torch", "F", "nn", "np", "math", "json", "os", "Path", "stats", "signal", "self", "cls", "super"}


def changes_of(node: ast.AST, parent: ast.AST | None) -> Iterator[str]:
    """New texts for a node."""
    match node:
        case ast.Compare(ops=[op], left=left, comparators=[right]):
            yield ast.unparse(ast.Compare(left, [COMPARISONS[type(op)]()], [right]))
            if not isinstance(parent, ast.If | ast.IfExp) and isinstance(op, ORDERED):
                other = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}[type(op)]
                yield ast.unparse(ast.Compare(left, [other()], [right]))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
            yield ast.unparse(ast.BinOp(left, OPERATIONS[type(op)](), right))
        case ast.BoolOp(values=values):
            for i in range(len(values)):
                rest = [v for j, v in enumerate(values) if j != i]
                yield ast.unparse(ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0])
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub(), operand=operand):
            yield ast.unparse(operand)
        case ast.IfExp(body=body, orelse=orelse):
            yield ast.unparse(body)
            yield ast.unparse(orelse)
        case ast.Constant(value=value) if not isinstance(parent, ast.UnaryOp):
            yield from _constants(value, parent)
        case ast.Call():
            yield from _calls(node)
        case ast.Subscript(slice=ast.Slice() as part, ctx=ast.Load()):
            for end in ("lower", "upper", "step"):
                if getattr(part, end) is not None:
                    changed = copy.deepcopy(node)
                    setattr(changed.slice, end, None)
                    yield ast.unparse(changed)
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for g, generator in enumerate(node.generators):
                for i in range(len(generator.ifs)):
                    changed = copy.deepcopy(node)
                    del changed.generators[g].ifs[i]
                    yield ast.unparse(changed)
        case (
            ast.Expr(value=ast.Call())
            | ast.AugAssign()
            | ast.Raise()
            | ast.Continue()
            | ast.Break()
            | ast.Delete()
        ):
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass"
        case ast.expr() if isinstance(parent, ast.If | ast.While) and parent.test is node:
            yield f"not {ast.unparse(node)}"


def _constants(value: object, parent: ast.AST | None) -> Iterator[str]:
    if isinstance(value, bool):
        yield repr(not value)
    elif isinstance(value, int):
        yield repr(value + 1)
    elif isinstance(value, float):
        yield repr(value * 2 or 1.0)
    elif isinstance(value, str) and (isinstance(parent, ast.keyword) or _is_seeded(parent)):
        yield repr(value + "!")


def _is_seeded(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) in SEEDED


def _calls(node: ast.Call) -> Iterator[str]:
    name = name_of(node.func)
    for i in (i for i, keyword in enumerate(node.keywords) if keyword.arg != "device"):
        yield ast.unparse(ast.Call(node.func, node.args, [k for j, k in enumerate(node.keywords) if j != i]))
    if isinstance(node.func, ast.Name):
        if name in SWAPPED:
            yield ast.unparse(ast.Call(ast.Name(SWAPPED[name]), node.args, node.keywords))
        if name in UNWRAPPED and node.args:
            yield ast.unparse(node.args[0])
    if name == "where" and len(node.args) == 3:
        a, b, c = node.args
        yield ast.unparse(ast.Call(node.func, [a, c, b], node.keywords))
    if isinstance(node.func, ast.Attribute):
        if name in SWAPPED:
            yield ast.unparse(ast.Call(ast.Attribute(node.func.value, SWAPPED[name]), node.args, node.keywords))
        moved = name == "to" and "device" in ast.unparse(node)
        if name_of(node.func.value) not in MODULES and name not in HARMLESS and not moved:
            yield ast.unparse(node.func.value)


def name_of(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=func):
            return name_of(func)
    return ""
