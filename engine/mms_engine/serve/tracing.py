"""Traces of requests for OpenTelemetry: their stages and times, never texts, audio or file names.

Off unless the variables of OpenTelemetry name where traces go.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

_VARIABLES = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)
_CLOSE_SECONDS = 3.0
_Value = str | int | float


class TraceSpan:
    """Span of a request or of one of its stages; without tracing, nothing."""

    def __init__(self, span: Any = None) -> None:  # noqa: ANN401
        """Take over a span of OpenTelemetry's API."""
        self._span = span

    def set(self, **attributes: _Value) -> None:
        """Set attributes of our own, `mms.NAME`."""
        if self._span is not None:
            self._span.set_attributes(_named(attributes))

    def event(self, name: str) -> None:
        """Record that something happened now."""
        if self._span is not None:
            self._span.add_event(name)

    def end(self) -> None:
        """End a span that `Tracing.begin` began."""
        if self._span is not None:
            self._span.end()

    def answered(self, method: str, route: str, status: int, code: str) -> None:
        """Name the span of a request by its route, and set its outcome.

        Args:
            method: Method; `WS` for a WebSocket.
            route: Template of the path.
            status: HTTP status.
            code: Code of the error; empty for none.
        """
        if self._span is None:
            return
        self._span.update_name(f"{method} {route}")
        self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if code:
            self._span.set_attribute("error.type", code)
        if status >= 500:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)


class Tracing:
    """Spans of the server; without a provider, none."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        """Take over a provider, which `close` shuts down."""
        self._provider = provider
        self._tracer: Any = None
        if provider is not None:
            self._tracer = provider.get_tracer("mms_engine.serve", version("mms-engine"))

    @contextlib.contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[TraceSpan]:
        """Yield the span of a request, a child of the one that its headers name."""
        if self._tracer is None:
            yield TraceSpan()
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        with self._tracer.start_as_current_span(
            method,
            context=extract(dict(headers)),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
            record_exception=False,  # messages may quote the request
            set_status_on_exception=False,
        ) as span:
            yield TraceSpan(span)

    @contextlib.contextmanager
    def stage(self, name: str, **attributes: _Value) -> Iterator[TraceSpan]:
        """Yield the span of a stage of the current request."""
        span = self.begin(name, **attributes)
        try:
            yield span
        finally:
            span.end()

    def begin(self, name: str, **attributes: _Value) -> TraceSpan:
        """Return the span of a stage, which its caller ends; attributes as for `TraceSpan.set`."""
        if self._tracer is None:
            return TraceSpan()
        return TraceSpan(self._tracer.start_span(name, attributes=_named(attributes)))

    def past(self, name: str, start: int, end: int, **attributes: _Value) -> None:
        """Record a stage that is over; times in nanoseconds of Unix time."""
        if self._tracer is not None:
            span = self._tracer.start_span(name, attributes=_named(attributes), start_time=start)
            span.end(end)

    def close(self) -> None:
        """Send what is left, for a short time: nobody may answer."""
        if self._provider is not None:
            thread = threading.Thread(target=self._provider.shutdown, daemon=True)
            thread.start()
            thread.join(_CLOSE_SECONDS)


def _named(attributes: Mapping[str, _Value]) -> dict[str, _Value]:
    return {f"mms.{name}": value for name, value in attributes.items()}


def open_tracing() -> Tracing:
    """Return tracing as the variables of OpenTelemetry say; none where they name no exporter."""
    given = [name for name in _VARIABLES if os.environ.get(name)]
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    kind = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if not given or is_disabled or kind == "none":
        return Tracing()
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(kind)
    except ModuleNotFoundError as error:
        logger.warning(
            "no traces, though %s is set: they need the package %s: pip install 'mms-engine[otel]'",
            given[0], error.name,
        )  # fmt: skip
        return Tracing()
    if exporter is None:
        logger.warning("no traces: OTEL_TRACES_EXPORTER=%s is not installed", kind)
        return Tracing()
    # The variables of OpenTelemetry override it.
    resource = Resource({"service.name": "mms-engine"}).merge(_environment_resource())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    logger.info("traces go to the exporter %s", kind)
    return Tracing(provider)


def _environment_resource() -> Any:  # noqa: ANN401
    from opentelemetry.sdk.resources import OTELResourceDetector

    return OTELResourceDetector().detect()


def _exporter(kind: str) -> Any:  # noqa: ANN401
    """Return an exporter by its name in `OTEL_TRACES_EXPORTER`, or `None`."""
    if kind == "otlp":
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", ""
        )
        kind = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = list(entry_points(group="opentelemetry_traces_exporter", name=kind))
    return found[0].load()() if found else None
