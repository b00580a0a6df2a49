"""One process of a training in float64; started by torchrun from test_trainer.py.

usage: ddp_job.py RECIPE OUT ACCUMULATION... : final adapter tensors to OUT-<accumulation>.safetensors
"""

import sys
from pathlib import Path

from safetensors.torch import save_file

import u2a.training.trainer
from u2a.common.distributed import World, world
from u2a.plugins.loading import registry
from u2a.recipe.file import load_recipe
from u2a.runs.build import build_model
from u2a.runs.checkpoint import adapter_state
from u2a.runs.folder import Run

u2a.training.trainer.build_model = lambda *args, **kwargs: build_model(*args, **kwargs).double()


def train(recipe_file: str, out: str, accumulation: str, place: World) -> None:
    recipe = load_recipe(recipe_file, [f"training.accumulation={accumulation}"])
    run = Run(Path(f"{out}-{accumulation}-run"))
    trainer = u2a.training.trainer.Trainer(recipe, run, place, registry())
    if place.main:
        run.create(recipe, registry())
    trainer.fit()
    if place.main:
        state = {name: tensor.contiguous() for name, tensor in adapter_state(trainer.model).items()}
        save_file(state, f"{out}-{accumulation}.safetensors")


if __name__ == "__main__":
    with world("cpu") as place:
        for accumulation in sys.argv[3:]:
            train(sys.argv[1], sys.argv[2], accumulation, place)
