"""Traces of requests: their stages, what they do not tell, and where they go."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from websockets.sync.client import connect

from mms_engine.bundle import open_bundle
from mms_engine.serve.app import create_app
from mms_engine.serve.auth import read_keyring
from mms_engine.serve.config import ServeConfig
from mms_engine.serve.service import Service
from mms_engine.serve.tracing import Tracing, open_tracing
from server_process import running

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def traced(demo_bundle, lid_bundle, demo_voice):
    """Function that sends requests to an application in this process, and returns its spans."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    bundles = (demo_bundle, lid_bundle, demo_voice)

    async def send(*requests):
        service = Service(
            ServeConfig(bundles=bundles), [open_bundle(one) for one in bundles], read_keyring(None)
        )
        service.tracing = Tracing(provider)
        await service.load()
        transport = httpx2.ASGITransport(create_app(service))
        try:
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
                answers = [await client.request(*one[:2], **one[2]) for one in requests]
        finally:
            service.tracing = Tracing()  # the provider is needed again
            await service.close()
        return answers

    def run(*requests):
        exporter.clear()
        return asyncio.run(send(*requests)), exporter.get_finished_spans()

    yield run
    provider.shutdown()


def post(path, clip, **fields):
    file = {"file": (clip.path.name, clip.path.read_bytes())}
    return "POST", path, {"files": file, "data": fields, "headers": HEADERS}


def names(spans):
    return [span.name for span in spans]


def test_stages_of_a_transcription(traced, clip):
    (answer,), spans = traced(post("/v1/audio/transcriptions", clip, language="eng"))
    assert answer.status_code == 200
    assert names(spans) == ["decode", "queue", "recognize", "POST /v1/audio/transcriptions"]
    *stages, request = spans
    assert format(request.context.trace_id, "032x") == TRACE
    assert format(request.parent.span_id, "016x") == PARENT
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["mms.request_id"] == answer.headers["x-request-id"]
    for stage in stages:
        assert stage.parent.span_id == request.context.span_id
        assert request.start_time <= stage.start_time <= stage.end_time <= request.end_time
    decode, queue, recognize = stages
    assert decode.end_time <= queue.start_time
    assert queue.end_time == recognize.start_time
    assert dict(recognize.attributes) == {
        "mms.model": "demo",
        "mms.language": "eng",
        "mms.audio_seconds": request.attributes["mms.audio_seconds"],
    }


def test_spans_have_no_text_and_no_names(traced, clip):
    text = "the secret text of this request"
    requests = [
        post("/v1/audio/transcriptions", clip, language="eng", prompt=text),
        post("/v1/audio/alignments", clip, language="eng", text=text),
        post("/v1/audio/languages", clip),
        ("POST", "/v1/audio/speech", {"json": {"input": text}}),
        ("GET", f"/v1/languages?query={text}", {}),
        ("GET", f"/{text}", {}),
        ("POST", "/v1/audio/transcriptions", {"content": text, "headers": HEADERS}),
    ]
    answers, spans = traced(*requests)
    assert [one.status_code for one in answers] == [200, 200, 200, 200, 200, 404, 415]
    expected = ["decode", "queue", "recognize", "POST /v1/audio/transcriptions"]
    expected += ["decode", "run", "POST /v1/audio/alignments"]
    expected += ["decode", "run", "POST /v1/audio/languages"]
    expected += ["speak", "POST /v1/audio/speech", "GET /v1/languages", "GET unmatched"]
    assert names(spans) == [*expected, "POST /v1/audio/transcriptions"]
    told = "".join(span.to_json() for span in spans).lower()
    heard = answers[0].json()["text"]
    assert heard
    for secret in ("secret", clip.path.name, heard, "multipart"):
        assert secret not in told
    speak = next(span for span in spans if span.name == "speak")
    assert speak.attributes["mms.characters"] == len(text)
    assert [event.name for event in speak.events] == ["first audio"]


def test_errors_have_their_code_and_not_their_message(traced, clip):
    requests = [
        post("/v1/audio/transcriptions", clip, language="qqq"),
        ("GET", "/v1/models", {"headers": {"origin": "http://elsewhere"}}),
        ("GET", "/health/ready", {}),
        ("GET", "/metrics", {}),
    ]
    answers, spans = traced(*requests)
    assert [one.status_code for one in answers] == [400, 403, 200, 200]
    assert [span.attributes["error.type"] for span in spans] == [
        answers[0].json()["error"]["code"],
        "bad_origin",
    ]
    assert all(not span.events for span in spans)


class Collector:
    """An endpoint of OTLP over HTTP, which keeps the spans it is sent."""

    def __init__(self):
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

        spans, resources = self.spans, self.resources = [], []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for found in service.ExportTraceServiceRequest.FromString(body).resource_spans:
                    resources.append(found.resource)
                    spans.extend(span for scope in found.scope_spans for span in scope.spans)
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def test_server_sends_its_spans_to_the_endpoint_of_the_environment(demo_bundle, clip):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with Collector() as collector:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with running("--bundle", demo_bundle, env=variables) as server:
            answer = httpx2.post(
                f"{server.url}/v1/audio/transcriptions",
                files={"file": ("clip.flac", clip.path.read_bytes())},
                data={"language": "eng"},
            )
            assert answer.status_code == 200
            url = server.url.replace("http", "ws") + "/v1/stream?language=eng&sample_rate=16000"
            with connect(url) as socket:
                assert json.loads(socket.recv())["type"] == "session"
                socket.send(bytes(32000))
                socket.send('{"type": "finish"}')
                list(socket)
            assert server.terminate() == 0
    found = {span.name for span in collector.spans}
    assert found == {
        "decode", "queue", "recognize", "POST /v1/audio/transcriptions", "WS /v1/stream",
    }  # fmt: skip
    names = {entry.key: entry.value.string_value for entry in collector.resources[0].attributes}
    assert names["service.name"] == "mms-engine"


def test_endpoint_that_nobody_serves_disturbs_nothing(demo_bundle):
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    variables = {**endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with running("--bundle", demo_bundle, env=variables) as server:
        assert server.get("/v1/models")[0] == 200
        assert server.terminate() == 0


def test_end_does_not_wait_for_an_endpoint(monkeypatch):
    release, begun = threading.Event(), threading.Event()

    class Provider:
        def get_tracer(self, *_):
            return None

        def shutdown(self):
            begun.set()
            release.wait()

    monkeypatch.setattr("mms_engine.serve.tracing._CLOSE_SECONDS", 0.05)
    Tracing(Provider()).close()
    assert begun.wait(10)
    release.set()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_tracing_is_off(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracing = open_tracing()
    assert tracing._tracer is None
    with tracing.request("GET", {}) as span, tracing.stage("decode"):
        span.set(audio_seconds=1.0)
    tracing.close()


def test_exporter_that_is_not_installed_is_named(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    assert open_tracing()._tracer is None
    assert "OTEL_TRACES_EXPORTER=zipkin is not installed" in caplog.text
