"""A server's metrics port, read before and after, and the difference."""

from __future__ import annotations

import http.client
import time
import urllib.request

from respin.errors import Busy, InternalError

STILL_S = 0.7
"""Time in which nothing may change before a reading counts: the engine updates its metrics every half second."""


class MetricsReading(dict[str, float]):
    """Values by series: `respin_jobs_ended_total{status="OK"}`; a counter that has not counted yet is missing."""

    @classmethod
    def from_text(cls, text: str) -> MetricsReading:
        """Read Respin's own series from Prometheus' text format."""
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("respin_"))
        return cls({series: float(value) for series, _, value in lines})

    def since(self, before: MetricsReading) -> MetricsReading:
        """Return what was added; of gauges the change."""
        return MetricsReading({series: value - before.get(series, 0.0) for series, value in self.items()})

    def value(self, name: str, **labels: str) -> float:
        """Return one series' value; 0 if it has not counted yet."""
        inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
        return self.get(f"{name}{{{inside}}}" if inside else name, 0.0)

    def samples_per_call(self, unet: str) -> float:
        """Return the samples per call of a UNet, mean; 0 if there was none."""
        calls = self.value("respin_batch_size_count", unet=unet)
        return self.value("respin_batch_size_sum", unet=unet) / calls if calls else 0.0

    def busy_s(self, unet: str) -> float:
        """Return how long a UNet was called."""
        return self.value("respin_unet_busy_seconds_total", unet=unet)

    @property
    def answered(self) -> int:
        """Jobs that were answered."""
        return round(min(self.value("respin_jobs_ended_total", status="OK"), self.value("respin_job_seconds_count")))

    @property
    def cache_hits(self) -> int:
        """Results that were there already."""
        return round(sum(value for series, value in self.items() if series.startswith("respin_cache_hits_total{")))


class MetricsPort:
    """The port on which a server publishes its metrics.

    Args:
        url: HOST:PORT.
        timeout_s: limit until the metrics count the jobs that were answered.
    """

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self.url, self._timeout_s = url, timeout_s

    def read(self) -> MetricsReading:
        """Read the metrics now.

        Raises:
            Busy: there is no answer, or not that of a metrics port.
        """
        try:
            with urllib.request.urlopen(f"http://{self.url}/metrics", timeout=10) as answer:
                return MetricsReading.from_text(answer.read().decode())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Busy(
                f"no metrics at '{self.url}' ({error}); give HOST:PORT of the server's metrics port as --metrics-url"
            ) from None

    def read_settled(self, before: MetricsReading, answered: int) -> MetricsReading:
        """Read the metrics once every job is counted and nothing changes any more.

        Args:
            before: an earlier reading.
            answered: jobs that were answered since then.

        Raises:
            Busy: there is no answer.
            InternalError: the metrics keep changing, or do not count the jobs.
        """
        began_s, last, now = time.monotonic(), None, self.read()
        while now != last or now.since(before).answered < answered or now.value("respin_jobs"):
            if time.monotonic() - began_s > self._timeout_s:
                raise InternalError(
                    f"the metrics at {self.url} count {now.since(before).answered} answered jobs, not {answered}, "
                    f"and {now.value('respin_jobs'):g} under way, {self._timeout_s:g} s later; measure a server that "
                    "no one else uses, and name its own metrics port with --metrics-url"
                )
            time.sleep(STILL_S)
            last, now = now, self.read()
        return now
