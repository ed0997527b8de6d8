"""What happened to the requests, and what is served, as Prometheus reads it.

The names are TF Serving's where it has the same metric, so that a dashboard or an alert
made here fits there.
"""

import contextlib
import threading
from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from tfembed.serving.status import StatusError

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_MICROSECONDS = [10 * 1.8**power for power in range(33)]  # 10 us to 20 minutes
# The methods of gRPC whose requests TF Serving counts; over REST it counts them all.
_COUNTED = ("Predict", "Classify", "Regress")
_STATES = ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")


class Metrics:
    """Counts requests, and tells the state of each version when asked.

    Args:
        models: The `Models`. Requests for a name that is not served are counted under
            the empty name, so that wrong names do not fill the memory.
    """

    def __init__(self, models):
        self._models = models
        self._lock = threading.Lock()
        self._requests = Tally()
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) of answered requests.",
            ["model_name", "API", "entrypoint"],
            buckets=_MICROSECONDS,
            registry=self._registry,
        )
        self._warmup_latency = Histogram(
            ":tensorflow:serving:model_warmup_latency",
            "Distribution of wall time (in microseconds) for warming up the model.",
            ["model_path", "status"],
            buckets=_MICROSECONDS,
            registry=self._registry,
        )
        self._warmup_records = Tally()
        self._registry.register(self)

    def record(self, model, method, entrypoint, status, seconds):
        """Counts one request.

        Args:
            model: Name of the model that was asked for.
            method: Such as `"Predict"`.
            entrypoint: `"GRPC"` or `"REST"`.
            status: Name of the code that was answered, such as `"OK"`.
            seconds: How long the answer took.
        """
        if model not in self._models.names():
            model = ""
        with self._lock:
            self._requests[model, method, entrypoint, status] += 1
        if status == "OK" and _is_counted(method, entrypoint):
            api = "" if method.startswith("Get") else method  # as it is to TF Serving
            self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def record_warmup(self, path, status, count, seconds):
        """Counts the replay of a version's warm-up records.

        Args:
            path: The folder of the version.
            status: `"OK"`, or code and text of what is wrong with the file.
            count: How many records there were.
            seconds: How long they took.
        """
        with self._lock:
            self._warmup_records[path, status] += count
        self._warmup_latency.labels(path, status).observe(seconds * 1e6)

    def page(self):
        """Returns the metrics in Prometheus' text format, as bytes."""
        return generate_latest(self._registry)

    def collect(self):
        """Yields the metrics that are not kept in the registry, as it wants them."""
        with self._lock:
            requests = dict(self._requests)
            records = sorted(self._warmup_records.items())
        by_status = Tally()
        each = Metric(
            "tfembed_serving_requests",
            "The number of requests by method and status.",
            "counter",
        )
        for (model, method, entrypoint, status), count in sorted(requests.items()):
            if _is_counted(method, entrypoint):
                by_status[model, status] += count
            labels = {
                "model_name": model,
                "method": method,
                "entrypoint": entrypoint,
                "status": status,
            }
            each.add_sample("tfembed_serving_requests_total", labels, count)
        yield each
        name = ":tensorflow:serving:request_count"
        total = Metric(name, "The total number of requests.", "unknown")
        for (model, status), count in sorted(by_status.items()):
            total.add_sample(name, {"model_name": model, "status": status}, count)
        yield total
        name = ":tensorflow:serving:model_warmup_records_read"
        read = Metric(name, "Total number of warmup records read.", "unknown")
        for (path, status), count in records:
            read.add_sample(name, {"model_path": path, "status": status}, count)
        yield read
        states = GaugeMetricFamily(
            "tfembed_serving_version_state",
            "1 for the state that a version of a model is in.",
            labels=["model_name", "version", "state"],
        )
        for model in self._models.names():
            with contextlib.suppress(StatusError):  # it may have gone meanwhile
                for version, state in self._models.states(model):
                    for name in _STATES:
                        labels = [model, str(version), name]
                        states.add_metric(labels, float(name == state.state))
        yield states


def _is_counted(method, entrypoint):
    return entrypoint == "REST" or method in _COUNTED
