"""Position tables of pictures whose grid of patches is not square.

transformers interpolates every table as if its grid were square: one trained on 2 x 8 patches it reads as
4 x 4, and gives each patch the position of another one.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

from u2a.errors import U2AError

if TYPE_CHECKING:
    from torch import Tensor


def fit_grid(module: Any, encoder: str) -> None:
    """Let a backbone interpolate its position table from the table's own grid, where that is not square.

    Raises:
        U2AError: the table cannot be interpolated.
    """
    grid = patch_grid(module.config)
    patch = _pair(getattr(module.config, "patch_size", None))
    if grid is None or patch is None or (grid[0] == grid[1] and patch[0] == patch[1]):
        return
    embeddings = module.embeddings
    table = getattr(embeddings, "position_embeddings", None)
    if table is None or table.dim() != 3 or table.shape[1] < grid[0] * grid[1]:
        raise U2AError(
            f"encoder {encoder}: config.json's image_size is not square, and the positions of a "
            f"{module.config.model_type} model cannot be interpolated from such a grid"
        )
    embeddings.u2a_grid = grid
    embeddings.interpolate_pos_encoding = MethodType(_interpolate, embeddings)


def patch_grid(config: Any) -> tuple[int, int] | None:
    """How many patches the configuration's pictures have, (down, across); None if it states no sizes."""
    size, patch = _pair(getattr(config, "image_size", None)), _pair(getattr(config, "patch_size", None))
    if size is None or patch is None:
        return None
    return size[0] // patch[0], size[1] // patch[1]


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    return (value[0], value[1]) if isinstance(value, list | tuple) and len(value) == 2 else None


def _interpolate(self: Any, embeddings: Tensor, height: int, width: int) -> Tensor:
    """The table for pictures of another size, [1, special + patches, D], in place of transformers' own."""
    import torch

    patch = _pair(self.patch_size)
    assert patch is not None
    grid, wanted = self.u2a_grid, (height // patch[0], width // patch[1])
    table_1LD = self.position_embeddings
    if wanted == grid:
        return table_1LD
    special = table_1LD.shape[1] - grid[0] * grid[1]
    rest_1DHW = table_1LD[:, special:].transpose(1, 2).reshape(1, -1, *grid)
    resized = torch.nn.functional.interpolate(rest_1DHW.float(), size=wanted, mode="bicubic").to(
        table_1LD.dtype
    )
    return torch.cat([table_1LD[:, :special], resized.flatten(2).transpose(1, 2)], 1)
