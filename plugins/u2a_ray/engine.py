"""u2a's engine on Ray: Train for one training, Tune for many, Data for everything that goes item by item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from u2a.contract.engines import Race, Training
from u2a.errors import U2AError, one_line
from u2a_ray.cluster import bookkeeping, heard, joined
from u2a_ray.workers import Box, Caller, Refused, obey_sigterm, on_train, on_tune

A = TypeVar("A")
B = TypeVar("B")
#: A training is begun again so often after processes were lost. Each time it goes on from what is saved.
FAILURES = 3
#: At every halting point of a race this share of the trainings goes on.
GOES_ON = 3


class RayEngine:
    """See `u2a.Engine`."""

    def train(self, training: Training, *, workers: int) -> bool:
        """One training with Ray Train."""
        from ray import train
        from ray.train.torch import TorchTrainer

        with joined(workers, training.device) as share, heard() as queue, bookkeeping(training.run) as folder:
            loop, again = {"training": training, "queue": queue}, train.FailureConfig(max_failures=FAILURES)
            scale = train.ScalingConfig(num_workers=workers, use_gpu="GPU" in share, resources_per_worker=share)
            run = train.RunConfig(storage_path=folder, failure_config=again)
            trainer = TorchTrainer(
                on_train, train_loop_config=loop, torch_config=_group(), scaling_config=scale, run_config=run
            )
            try:
                ended = trainer.fit().return_value
            except train.TrainingFailedError as error:
                raise U2AError(
                    f"--engine ray: the training failed {FAILURES + 1} times: {one_line(error, 300)}; "
                    "what was saved is whole: the same command with --resume goes on"
                ) from None
        if isinstance(ended, Refused):
            raise U2AError(ended.text)
        return bool(ended)

    def sweep(self, trainings: Sequence[Training], *, workers: int, race: Race | None) -> list[str]:
        """Trainings with Ray Tune, each a trial."""
        from ray import tune

        first = trainings[0]
        with joined(workers, first.device) as share, bookkeeping(first.run) as folder:
            trial = tune.with_resources(tune.with_parameters(on_tune, trainings=list(trainings)), share)
            again = tune.FailureConfig(max_failures=FAILURES)
            tuner = tune.Tuner(
                trial,
                param_space={"number": tune.grid_search(list(range(len(trainings))))},
                tune_config=tune.TuneConfig(max_concurrent_trials=workers, scheduler=_halving(race)),
                run_config=tune.RunConfig(storage_path=folder, verbose=0, failure_config=again),
            )
            found = {result.config["number"]: result.error for result in tuner.fit()}
        return [_why(found.get(number)) for number in range(len(trainings))]

    def map(
        self, begin: Callable[[], Callable[[A], B]], items: Sequence[A], *, workers: int, device: str
    ) -> Iterator[B]:
        """Items with Ray Data, in their order."""
        from ray import data

        if not items:
            return
        with joined(workers, device) as share:
            context = data.DataContext.get_current()
            context.execution_options.preserve_order = True
            context.enable_progress_bars = False
            parts, pool = min(len(items), 16 * workers), data.ActorPoolStrategy(size=workers)
            rows = data.from_items([{"item": Box(item)} for item in items], override_num_blocks=parts)
            each = {"num_cpus": share["CPU"], "num_gpus": share.get("GPU")}
            for row in rows.map(Caller, fn_constructor_args=(begin,), compute=pool, **each).iter_rows():
                made = row["made"].held
                if isinstance(made, Refused):
                    raise U2AError(made.text)
                yield made


def _group() -> Any:
    """Ray's own set-up of torch's process group, after which each process obeys SIGTERM."""
    from ray.train.torch.config import TorchConfig, _TorchBackend

    class Backend(_TorchBackend):
        def on_training_start(self, worker_group: Any, backend_config: Any) -> None:
            super().on_training_start(worker_group, backend_config)
            worker_group.execute(obey_sigterm)

    return type("Config", (TorchConfig,), {"backend_cls": Backend})()


def _halving(race: Race | None) -> Any:
    """Asynchronous successive halving on validation; None: all run to their end."""
    if race is None:
        return None
    from ray.tune.schedulers import ASHAScheduler

    way, longest = "max" if race.higher_is_better else "min", race.epochs + 1
    return ASHAScheduler(
        "epoch", metric="selected", mode=way, max_t=longest, grace_period=1, reduction_factor=GOES_ON
    )


def _why(error: BaseException | None) -> str:
    return one_line(error).rpartition("RuntimeError: ")[2][:300] if error else ""
