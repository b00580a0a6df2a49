"""One of two processes of a streamed training; started by torchrun from test_stream.py.

usage: stream_job.py RECIPE RUN : fails unless every step's counts are those of the gathered presence
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from u2a.common.distributed import world
from u2a.method.losses import Counts
from u2a.plugins.loading import registry
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer

if __name__ == "__main__":
    with world("cpu") as place:
        recipe = load_recipe(sys.argv[1])
        trainer = Trainer(recipe, Run(Path(sys.argv[2])), place, registry())
        if place.main:
            trainer.run.create(recipe, registry())
        given, keys = trainer.data.counts, set()

        def checked(t, micro_batches):
            counts = given(t, micro_batches)
            mine = torch.cat([batch.present_BM for batch in micro_batches])
            parts = [torch.empty_like(mine) for _ in range(2)]
            dist.all_gather(parts, mine)
            wanted = Counts.of(torch.cat(parts))
            assert counts.samples == wanted.samples == recipe.training.batch_size
            assert torch.equal(counts.pairs_MM, wanted.pairs_MM)
            keys.update(key for batch in micro_batches for key in batch.keys)
            return counts

        trainer.data.counts = checked
        trainer.fit()
        everybody = [None, None]
        dist.all_gather_object(everybody, sorted(keys))
        assert not set(everybody[0]) & set(everybody[1]), "two processes read the same shard"
