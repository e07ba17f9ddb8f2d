"""A span for each request, told to an OpenTelemetry collector where the environment names one.

Without OTEL_EXPORTER_OTLP_ENDPOINT nobody is told anything, and nothing is loaded. A span carries
what the log does: method, route, status and the request's id; never ids of leads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_NAMED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class MissingExporter(RuntimeError):
    """A collector is named, and the extra that tells it is not installed."""


class Traces:
    """Begins spans; those of callers who send a `traceparent` are theirs to go on with."""

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer, self._context = tracer, TraceContextTextMapPropagator()

    @staticmethod
    def configured() -> Traces | None:
        """As the environment says; None where it names no collector.

        Raises :class:`MissingExporter` without the extra ``[traces]``.
        """
        if not any(os.environ.get(name) for name in _NAMED_BY):
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ModuleNotFoundError:
            raise MissingExporter(
                "OTEL_EXPORTER_OTLP_ENDPOINT names a collector: install leadcast[traces]"
            ) from None
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": "leadcast"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return Traces(provider.get_tracer("leadcast"))

    def begin(self, method: str, headers: Mapping[bytes, bytes]) -> Span:
        """The span of a request, until :func:`end`."""
        from opentelemetry.trace import SpanKind

        parent = headers.get(b"traceparent", b"").decode("latin-1")
        context = self._context.extract({"traceparent": parent})
        return self._tracer.start_span(method, context, SpanKind.SERVER)


def end(span: Span, name: str, told: Mapping[str, Any]) -> None:
    """The request was answered; ``told`` is what the log tells of it. 5xx is an error of ours."""
    from opentelemetry.trace import StatusCode

    span.update_name(name)
    span.set_attribute("http.request.method", told["method"])
    span.set_attribute("http.route", told["route"])
    span.set_attribute("http.response.status_code", told["status"])
    span.set_attribute("leadcast.request_id", told["request_id"])
    if told["status"] >= 500:
        span.set_status(StatusCode.ERROR)
    span.end()
