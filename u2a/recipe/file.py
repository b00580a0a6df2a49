"""Reading a recipe file: TOML, ``--set`` overrides, validation of every section, errors for people."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from u2a.common.hints import alike, meant
from u2a.contract.blame import reason_of
from u2a.contract.modality import ModalityOptions
from u2a.contract.names import check_name
from u2a.contract.paths import FromShell
from u2a.errors import PluginError, RecipeError
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.recipe.kept import lost
from u2a.recipe.sections import Recipe


def load_recipe(
    path: str | Path,
    sets: Sequence[str] = (),
    plugins: Registry | None = None,
    owners: Mapping[str, str] | None = None,
) -> Recipe:
    """Read and validate a recipe before any compute.

    Args:
        path: a TOML file; relative paths in it are relative to its folder.
        sets: overrides ``a.b=value``, the values in TOML (a bare word is text); relative paths in them are
            relative to the working directory.
        owners: the distribution that is meant where several bring what the recipe names: by modality section,
            or by ``metric:NAME`` (see `u2a.runs.owners`).
        plugins: what the recipe is validated with and stands on from then on, `Recipe.plugins`; the installed
            ones if None.

    Raises:
        RecipeError: with every fault, one a line, each with file and key.
    """
    path = Path(path)
    return parse_recipe(_read(path), sets, source=str(path), folder=path.parent, plugins=plugins, owners=owners)


def parse_recipe(
    document: dict[str, Any],
    sets: Sequence[str] = (),
    *,
    source: str,
    folder: Path,
    plugins: Registry | None = None,
    owners: Mapping[str, str] | None = None,
) -> Recipe:
    """`load_recipe` for a document that is already parsed; `source` names it in errors."""
    for assignment in sets:
        _apply(document, assignment)
    plugins = plugins or registry()
    context = {"folder": str(folder.resolve()), "plugins": plugins, "owners": owners or {}}
    modalities, faults = _modalities(document, context, plugins)
    try:
        recipe = Recipe.model_validate({**document, "modalities": modalities}, context=context)
    except ValidationError as error:
        faults = [*_faults(error, Recipe, ()), *faults]
    if faults:
        raise RecipeError("\n".join(f"{source}: {fault}" for fault in faults))
    return recipe


def as_recipe(value: str | Path | Mapping[str, Any] | Recipe, sets: Sequence[str] = ()) -> Recipe:
    """A recipe from a file, a dict as TOML would give it (paths relative to the working directory), or itself.

    Raises:
        RecipeError: it cannot be used; or `sets` beside a `Recipe`.
    """
    if isinstance(value, Recipe):
        if sets:
            raise RecipeError("sets are for a recipe file or a dict; change a Recipe before it is validated")
        return value
    if isinstance(value, Mapping):
        return parse_recipe(deepcopy(dict(value)), sets, source="recipe", folder=Path.cwd())
    return load_recipe(value, sets)


def parse_options(name: str, sets: Sequence[str], plugins: Registry) -> ModalityOptions:
    """The options of a modality by themselves, as ``--set option=value`` gives them.

    Raises:
        RecipeError: with every fault.
        PluginError: nobody brings the modality.
    """
    section: dict[str, Any] = {}
    for assignment in sets:
        _apply(section, assignment)
    context = {"folder": str(Path.cwd()), "plugins": plugins, "owners": {}}
    found, faults = _modalities({"modalities": {"checked": {**section, "kind": name}}}, context, plugins)
    if faults:
        raise RecipeError("\n".join(fault.removeprefix("modalities.checked").lstrip(".: ") for fault in faults))
    return found["checked"]


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as TOML; reading it back gives the same recipe, wherever it lies."""
    return tomli_w.dumps(recipe.resolved(), multiline_strings=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe; `u2a recipe copy NAME` gives you a shipped one") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: is a folder, not a recipe file") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None


def _apply(document: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {assignment}: expected KEY=VALUE, e.g. --set training.lr=1e-4")
    *parents, last = key.strip().split(".")
    section = document
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise RecipeError(f"--set {assignment}: {parent!r} is a value, not a section")
    section[last] = _toml_value(text.strip())


def _toml_value(text: str) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return _mark_shell(value)


def _mark_shell(value: Any) -> Any:
    if isinstance(value, str):
        return FromShell(value)
    if isinstance(value, list):
        return [_mark_shell(item) for item in value]
    if isinstance(value, dict):
        return {key: _mark_shell(item) for key, item in value.items()}
    return value


def _modalities(
    document: dict[str, Any], context: dict[str, Any], plugins: Registry
) -> tuple[dict[str, ModalityOptions], list[str]]:
    """Each modality's section validated by its plugin's own model, and the faults found."""
    sections = document.get("modalities")
    stand_in = ModalityOptions(kind="none")  # so that Recipe does not say once more that there are none
    if not isinstance(sections, dict) or not sections:
        return {"none": stand_in}, ["modalities: at least one [modalities.<name>] section is needed"]
    valid: dict[str, ModalityOptions] = {}
    faults: list[str] = []
    for name, section in sections.items():
        if not isinstance(section, dict):
            faults.append(f"modalities.{name}: expected a section, [modalities.{name}]")
            continue
        try:
            check_name("modality", name)
            kind = _kind(name, section, context, plugins)
            valid[name] = _options(kind, {**section, "kind": kind}, context, plugins)
        except PluginError as error:
            faults.append(f"modalities.{name}: {error}")
        except ValidationError as error:
            faults += _faults(error, plugins.specs[kind].options, ("modalities", name))
    return valid or {"none": stand_in}, faults


def _kind(name: str, section: dict[str, Any], context: dict[str, Any], plugins: Registry) -> str:
    try:
        return plugins.kind(str(section.get("kind", name)), context["owners"].get(name))
    except PluginError as error:
        if "kind" in section or name not in str(error):
            raise
        some = next(iter(plugins.specs), "image")
        hint = f'; if {name} is your name for one of these, say which: kind = "{some}" in [modalities.{name}]'
        raise PluginError(f"{error}{hint}") from None


def _options(kind: str, section: dict[str, Any], context: dict[str, Any], plugins: Registry) -> ModalityOptions:
    """A section validated, and sure to be the same when it is read from a run folder."""
    model = plugins.specs[kind].options
    try:
        options = model.model_validate(section, context=context)
    except (ValidationError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a plugin's own validators
        culprits = [key for key in section if key != "kind" and not _raises(model, section, key, context)]
        where = f"the option {culprits[0]!r}" if len(culprits) == 1 else "an option"
        raise PluginError(f"{where} is refused by {plugins.owners[kind]}: {reason_of(error)}") from error
    if reason := lost(options, context):
        raise PluginError(f"{reason}; {plugins.owners[kind]}")
    plugins.specs[kind].chosen(options)
    return options


def _raises(model: type[BaseModel], section: dict[str, Any], without: str, context: dict[str, Any]) -> bool:
    """Whether the model's own code still breaks down when one key is left out."""
    try:
        model.model_validate({key: value for key, value in section.items() if key != without}, context=context)
    except ValidationError:
        return False
    except BaseException:
        return True
    return False


def _faults(error: ValidationError, model: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[str]:
    for item in error.errors():
        loc = [str(part) for part in item["loc"] if "[" not in str(part)]  # pydantic names union members so
        key = ".".join([*prefix, *loc])
        if item["type"] == "extra_forbidden":
            yield f"{key}: unknown key{_nearest(str(item['loc'][-1]), model, item['loc'][:-1])}"
        elif item["type"] == "missing":
            yield f"{key}: is required"
        else:
            message = item["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(item["input"], dict | BaseModel) else f" (got {item['input']!r})"
            yield f"{key}: {message}{shown}" if key else message


def _nearest(wrong: str, model: type[BaseModel], loc: Sequence[int | str]) -> str:
    for part in loc:
        field = model.model_fields.get(str(part))
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not models:
            return ""
        model = models[0]
    names = list(model.model_fields)
    near = [n for n in names if n == _initials(wrong) or f"_{n}_" in f"_{wrong}_"]
    return meant(wrong, near or alike(wrong, names, cutoff=0.5)) or f"; known keys: {', '.join(names)}"


def _initials(name: str) -> str:
    """``lr`` for ``learning_rate``."""
    return "".join(word[:1] for word in name.split("_"))
