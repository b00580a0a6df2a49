"""What every section of a recipe has in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator

from u2a.plugins.registry import Registry

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
ModalityName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def plugins_of(context: Any) -> Registry:
    """The plugins that a recipe is validated with; they are handed in, see `u2a.recipe.file.parse_recipe`."""
    return context["plugins"]


class Section(BaseModel):
    """Base of the recipe's own sections: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _bool_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"is {str(value).lower()}, where no true or false belongs")
        return value


class PluginSection(Section):
    """A section that asks plugins: those that the recipe was validated with."""

    _plugins: Registry = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Keep them."""
        self._plugins = plugins_of(context)

    @property
    def plugins(self) -> Registry:
        """Where modalities, metrics and loggers come from."""
        return self._plugins
