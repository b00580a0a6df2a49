"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from u2a_serve.gate import Gate

if TYPE_CHECKING:
    from u2a.evaluation.predict import Prediction
    from u2a.evaluation.trained import Model

#: The type of what `Measures.text` gives.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128)


class Measures:
    """Counters of one service, in a registry of its own.

    Args:
        model: the run's.
        gate: what is inside.
        waiting: how many samples wait for a batch.
    """

    def __init__(self, model: Model, gate: Gate, waiting: Callable[[], int]) -> None:
        self._all = CollectorRegistry()
        within: dict[str, Any] = {"registry": self._all}
        self._requests = Counter("u2a_requests", "Requests answered.", ("path", "status"), **within)
        self._seconds = Histogram(
            "u2a_predict_seconds", "From a request's headers to its answer.", buckets=_SECONDS, **within
        )
        self._samples = Counter("u2a_samples", "Samples, by what became of them.", ("outcome",), **within)
        self._used = Counter(
            "u2a_modality_used", "Answered samples that had a modality.", ("modality",), **within
        )
        self._batch = Histogram("u2a_batch_samples", "Samples of a batch.", buckets=_SAMPLES, **within)
        self._forward = Histogram(
            "u2a_batch_seconds", "A batch's pass of the network.", buckets=_SECONDS, **within
        )
        for name, text, value in (
            ("u2a_samples_inside", "Samples that are read or wait.", lambda: gate.inside),
            ("u2a_samples_waiting", "Samples that wait for a batch.", waiting),
            ("u2a_body_bytes_inside", "Bytes of bodies.", lambda: gate.bytes_inside),
        ):
            Gauge(name, text, **within).set_function(value)
        for modality in model.network.names:
            self._used.labels(modality)
        ProcessCollector(registry=self._all)

    def request(self, path: str, status: int) -> None:
        """A request was answered; `path` is a route's, so that strangers cannot make up names."""
        self._requests.labels(path, str(status)).inc()

    def seconds(self, seconds: float) -> None:
        """A prediction was answered after so long."""
        self._seconds.observe(seconds)

    def sample(self, prediction: Prediction | None) -> None:
        """A sample was answered, or (None) refused."""
        self._samples.labels("answered" if prediction else "refused").inc()
        for name in prediction.used if prediction else ():
            self._used.labels(name).inc()

    def batch(self, samples: int, seconds: float) -> None:
        """A batch was predicted."""
        self._batch.observe(samples)
        self._forward.observe(seconds)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._all)
