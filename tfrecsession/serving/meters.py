"""Metrics of the server for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Meters:
    """Requests by model, API and code; latency; requests per call; waiting requests; available versions.

    Only names of existing models become labels, so that requests for other names cannot fill the memory.
    """

    def __init__(self, models):
        self.registry = CollectorRegistry()
        self._models = models
        name = "tfrecsession_serving_"
        self.requests = Counter(
            f"{name}requests", "Requests, answered or refused.", ["model", "api", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            f"{name}seconds",
            "Seconds from request to answer.",
            ["model", "api"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.joined = Histogram(
            f"{name}joined",
            "Requests joined into one model call.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.waiting = Gauge(f"{name}waiting", "Requests that wait in the queue.", registry=self.registry)
        labels = ["model", "version"]
        self.available = Gauge(
            f"{name}version_available", "1 if the version answers, else 0.", labels, registry=self.registry
        )

    def count(self, model: str, api: str, code: str, seconds: float) -> None:
        model = model if self._models.knows(model) else ""
        self.requests.labels(model, api, code).inc()
        self.seconds.labels(model, api).observe(seconds)

    def text(self) -> bytes:
        for version in self._models.all_states():
            label = self.available.labels(version.name, str(version.number))
            label.set(version.state == "AVAILABLE")
        return generate_latest(self.registry)
