"""What the server counts about itself, as Prometheus reads it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class ServerMetrics:
    """Counters, gauges and histograms of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("malsori_requests", "Requests answered", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "malsori_request_seconds", "Time to the last byte", ["route"], buckets=_SECONDS, registry=registry
        )
        self.open = Gauge("malsori_requests_open", "Requests being answered", registry=registry)
        self.admitted = Gauge("malsori_requests_admitted", "Requests that hold a place for work", registry=registry)
        self.pieces_waiting = Gauge("malsori_pieces_waiting", "Pieces of work in the line", registry=registry)
        self.busy_seconds = Counter("malsori_busy_seconds", "Time that workers computed", registry=registry)
        self.sound_seconds = Counter(
            "malsori_sound_seconds", "Sound recognized or spoken", ["direction"], registry=registry
        )
        self.characters = Counter("malsori_characters", "Characters of text spoken", registry=registry)
        self.decoder_deaths = Counter("malsori_decoder_deaths", "Decoders that a sound ended", registry=registry)
        self.models_loaded = Gauge("malsori_models_loaded", "Models in memory", registry=registry)

    def page(self) -> bytes:
        """Return all values in Prometheus' text form."""
        return generate_latest(self._registry)
