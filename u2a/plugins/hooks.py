"""Which hooks a plugin implements, and calling them so that no way of writing one goes unheard.

pluggy's marker says what is a hook; its manager is not asked, because it looks at every attribute of a module,
also at those that a lazy module would have to import.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from u2a.contract import hookspecs
from u2a.errors import PluginError

MARK = "u2a_impl"
PREFIX = "u2a_register_"
KNOWN = tuple(sorted(name for name in vars(hookspecs) if name.startswith(PREFIX)))
#: What hooks bring, as entry-point groups name it: ``u2a.commands``.
KINDS = frozenset(name.removeprefix(PREFIX) for name in KNOWN)


def hooks_of(plugin: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Each hook that a module or object implements, by its name, with the function.

    Raises:
        PluginError: none at all, one that u2a does not know, or one that cannot simply be called.
    """
    if isinstance(plugin, type) or inspect.isroutine(plugin):
        what = "class" if isinstance(plugin, type) else "function"
        raise PluginError(
            f"its entry point names the {what} {getattr(plugin, '__name__', plugin)}; name the module, or an "
            "object whose methods are hooks"
        )
    functions = {name: value for name, value in _attributes(plugin) if callable(value)}
    marked = {name: value for name, value in functions.items() if isinstance(getattr(value, MARK, None), dict)}
    if not marked:
        near = [name for name in functions if name.startswith("u2a_")]
        hint = f" ({sorted(near)[0]} lacks @u2a.hookimpl)" if near else ""
        raise PluginError(f"implements no u2a hook{hint}; known hooks: {', '.join(KNOWN)}")
    for name, function in sorted(marked.items()):
        options = getattr(function, MARK)
        hook = options.get("specname") or name
        if hook in KNOWN:
            _check(hook, function, options)
            yield hook, function
        elif not options.get("optionalhook"):
            raise PluginError(f"unknown hook {hook!r}; known hooks: {', '.join(KNOWN)}")


def call(hook: str, function: Callable[..., Any], register: Callable[[Any], None]) -> None:
    """Run a hook.

    Raises:
        PluginError: it returned what it should have registered, or registered nothing.
    """
    registered: list[Any] = []

    def noting(spec: Any) -> None:
        register(spec)
        registered.append(spec)

    try:
        inspect.signature(function).bind(register=noting)
    except TypeError:
        raise PluginError(f"{hook} must take the parameter register; write: {_line(hook)}") from None
    except ValueError:  # written in C: it has no signature to look at
        pass
    returned = function(register=noting)
    if inspect.iscoroutine(returned):
        returned.close()
        raise PluginError(f"{hook} is async and was not run; write: {_line(hook)}")
    if returned is not None and not registered:
        raise PluginError(
            f"{hook} returned {type(returned).__name__} and registered nothing; write: {_line(hook)}"
        )
    if not registered:
        raise PluginError(f"{hook} registered nothing; write: {_line(hook)}")


def _check(hook: str, function: Callable[..., Any], options: dict[str, Any]) -> None:
    if options.get("hookwrapper") or options.get("wrapper"):
        raise PluginError(
            f"{hook} is a hook wrapper, and there is nothing to wrap; with @u2a.hookimpl alone, "
            f"write: {_line(hook)}"
        )
    inner = inspect.unwrap(function)
    for kind, is_one in (("async", inspect.iscoroutinefunction), ("async", inspect.isasyncgenfunction)):
        if is_one(inner):
            raise PluginError(f"{hook} is {kind}, which nothing awaits; write: {_line(hook)}")
    if inspect.isgeneratorfunction(inner):
        raise PluginError(f"{hook} yields, which nothing reads; write: {_line(hook)}")


def _line(hook: str) -> str:
    return f"def {hook}(register): register(SPEC)"


def _attributes(plugin: object) -> Iterator[tuple[str, Any]]:
    """Attributes that are there already; what a lazy module or a property would make is left alone."""
    if isinstance(plugin, ModuleType):
        yield from vars(plugin).items()
        return
    for name in dir(type(plugin)):
        if not name.startswith("__") and not isinstance(inspect.getattr_static(plugin, name), property):
            yield name, getattr(plugin, name)
    yield from getattr(plugin, "__dict__", {}).items()
