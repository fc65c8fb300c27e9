"""Metrics of the server for Prometheus."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mms_engine.serve.batcher import Batcher

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters of the requests, and gauges that are read when they are asked for."""

    def __init__(
        self,
        gauges: Callable[[], dict[str, float]],
        batchers: Callable[[], dict[str, Batcher]],
    ) -> None:
        """Begin at 0.

        Args:
            gauges: Returns the gauges by name.
            batchers: Returns the batchers by the id of their model.
        """
        self._registry = CollectorRegistry()
        self._registry.register(_Readings(gauges, batchers))
        self._requests = Counter(
            "mms_requests", "Requests", ("route", "status"), registry=self._registry
        )
        self._refused = Counter(
            "mms_refused", "Requests refused, by the code of the error", ("code",),
            registry=self._registry,
        )  # fmt: skip
        self._latency = Histogram(
            "mms_request_seconds", "Time from the headers to the end of the answer", ("route",),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._audio = Counter(
            "mms_audio_seconds", "Audio of successful requests", ("route",),
            registry=self._registry,
        )  # fmt: skip

    def count(self, route: str, status: int, seconds: float, audio_seconds: float) -> None:
        """Count a request that has ended."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)
        if audio_seconds and status < 400:
            self._audio.labels(route).inc(audio_seconds)

    def refuse(self, code: str) -> None:
        """Count a refusal."""
        self._refused.labels(code).inc()

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Readings(Collector):
    def __init__(
        self,
        gauges: Callable[[], dict[str, float]],
        batchers: Callable[[], dict[str, Batcher]],
    ) -> None:
        self._gauges = gauges
        self._batchers = batchers

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges, and the totals of the batchers."""
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"mms_{name}", name.replace("_", " "), value=value)
        batchers = self._batchers()
        for name in ("runs", "rows", "audio_seconds", "run_seconds", "expired", "cancelled"):
            total = CounterMetricFamily(
                f"mms_batcher_{name}", f"{name.replace('_', ' ')} of the batcher", labels=("model",)
            )
            for model, batcher in batchers.items():
                total.add_metric((model,), getattr(batcher.counts, name))
            yield total
        speed = GaugeMetricFamily(
            "mms_batcher_speed", "seconds of audio per second of runs", labels=("model",)
        )
        for model, batcher in batchers.items():
            speed.add_metric((model,), batcher.clock.speed)
        yield speed
