"""Spans, as a collector on this machine gets them from a running service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serving.run import serving
from serving.traces import Traces
from tests.serving.asking import free_port

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue[bytes]]:
    """What spans are sent to, and what came in."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs [traces]")
    got: Queue[bytes] = Queue()

    class Collect(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield got
        server.shutdown()


def test_a_request_is_a_span_of_its_callers_trace(
    collector: Queue[bytes], directory: Path, tmp_path: Path
) -> None:
    with serving(directory, tmp_path / "store.db", free_port()) as running:
        answer = httpx.get(
            f"{running.url}/v1/leads/a-certain-lead/score",
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
        assert answer.status_code == 404
        found = None
        while found is None:
            raw = collector.get(timeout=20)
            assert b"a-certain-lead" not in raw
            spans = [
                span
                for resource in ExportTraceServiceRequest.FromString(raw).resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
            found = next((one for one in spans if one.trace_id.hex() == TRACE), None)
    assert found.parent_span_id.hex() == PARENT
    assert found.name == "GET /v1/leads/{lead_id}/score"
    told = {one.key: one.value for one in found.attributes}
    assert told["http.response.status_code"].int_value == 404
    assert told["leadcast.request_id"].string_value == answer.headers["x-request-id"]


def test_nobody_is_told_anything_unless_it_is_asked_for() -> None:
    assert Traces.configured() is None
