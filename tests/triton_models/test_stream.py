"""Triton's model of streams, driven through the interface of the Python backend."""

import json
import time

import numpy as np
import pytest

PIECE = 3200
TIMES = ("wall_seconds", "audio_seconds")


@pytest.fixture(scope="module")
def hosted(repository, backend):
    model = backend.HostedModel(repository / "mms_stream")
    yield model
    model.model.finalize()


def pieces(samples):
    cuts = [samples[start : start + PIECE] for start in range(0, len(samples), PIECE)]
    return [np.ascontiguousarray(cut)[None] for cut in cuts]


def language(code):
    return np.array([[code.encode()]], np.object_)


def requests(hosted, key, samples, code):
    """Yield the requests of a sequence."""
    cuts = pieces(samples)
    for index, cut in enumerate(cuts):
        first = {"language": language(code)} if index == 0 else {}
        is_last = index == len(cuts) - 1
        yield hosted.sequenced(key, start=index == 0, end=is_last, audio=cut, **first)


def events(hosted, request):
    return [json.loads(hosted.outputs(one)["event"][0]) for one in request.sender.responses()]


def finals(found):
    return [event["text"] for event in found if event["type"] == "final"]


def expected_finals(recognizer, samples, code):
    stream = recognizer.stream(code)
    found = [event for cut in pieces(samples) for event in stream.feed(cut[0])]
    return [event.transcript.text for event in [*found, *stream.finish()] if event.type == "final"]


def test_sequences_of_five_languages_at_once(hosted, recognizer, clips):
    audios = [recognizer.read(path).samples for path, _ in clips]
    pairs = list(zip(audios, clips, strict=True))
    queues = [
        list(requests(hosted, key, samples, code))
        for key, (samples, (_, code)) in enumerate(pairs, start=1)
    ]
    found = [[] for _ in queues]
    for step in range(max(map(len, queues))):  # one request of each sequence, as Triton does
        batch = [(own, queued[step]) for own, queued in enumerate(queues) if step < len(queued)]
        hosted.model.execute([request for _, request in batch])
        for own, request in batch:
            found[own] += events(hosted, request)
    for own, (samples, (_, code)) in zip(found, pairs, strict=True):
        assert finals(own) == expected_finals(recognizer, samples, code)
        assert finals(own)
        assert own[-1]["type"] == "endpoint"
        assert own[-1]["reason"] == "end"
        assert any(event["type"] == "partial" for event in own)


def test_events_come_with_the_audio_that_caused_them(hosted, recognizer, clips):
    path, code = clips[0]
    samples = recognizer.read(path).samples
    fed = 0.0
    for request in requests(hosted, 77, samples, code):
        hosted.model.execute([request])
        fed += request.inputs[0].as_numpy().size / 16000
        for event in events(hosted, request):
            assert event["audio_seconds"] == pytest.approx(fed)


def test_errors_end_the_sequence_only(hosted, recognizer, clips, backend):
    samples = recognizer.read(clips[0][0]).samples
    code = clips[0][1]
    good = requests(hosted, 5, samples, code)
    hosted.model.execute([next(good)])
    cut = pieces(samples)[0]

    def failure(request, of):
        hosted.model.execute([request])
        (response,) = request.sender.responses()
        assert response.error().code() == of
        return response.error().message()

    bad = backend.TritonError.INVALID_ARG
    unknown = hosted.sequenced(6, start=True, audio=cut, language=language("xyz"))
    assert "xyz" in failure(unknown, bad)
    assert "has ended or failed" in failure(hosted.sequenced(6, audio=cut), bad)
    assert "has ended or failed" in failure(hosted.sequenced(9, audio=cut), bad)
    start = hosted.sequenced(8, start=True, audio=cut, language=language(code))
    hosted.model.execute([start])
    start.sender.responses()
    long = np.zeros((1, 31 * 16000), np.float32)
    assert "the limit is 30" in failure(hosted.sequenced(8, audio=long), bad)
    assert "has ended or failed" in failure(hosted.sequenced(8, end=True, audio=cut), bad)
    start = hosted.sequenced(8, start=True, audio=cut * np.nan, language=language(code))
    failure(start, bad)
    rest = []
    for request in good:
        hosted.model.execute([request])
        rest += events(hosted, request)
    assert finals(rest) == expected_finals(recognizer, samples, code)


def test_sequence_that_begins_again_replaces_the_former(hosted, recognizer, clips):
    path, code = clips[1]
    samples = recognizer.read(path).samples
    cut = pieces(samples)[0]
    hosted.model.execute([hosted.sequenced(3, start=True, audio=cut, language=language(code))])
    found = []
    for request in requests(hosted, 3, samples, code):
        hosted.model.execute([request])
        found += events(hosted, request)
    assert finals(found) == expected_finals(recognizer, samples, code)


def test_idle_sequences_are_dropped(hosted, recognizer, clips, monkeypatch):
    cut = pieces(recognizer.read(clips[0][0]).samples)[0]
    code = language(clips[0][1])
    hosted.model.execute([hosted.sequenced(31, start=True, audio=cut, language=code)])
    now = time.monotonic()
    monkeypatch.setattr("mms_engine.triton.stream.time.monotonic", lambda: now + 61)
    hosted.model.execute([hosted.sequenced(32, start=True, audio=cut, language=code)])
    late = hosted.sequenced(31, audio=cut)
    hosted.model.execute([late])
    assert late.sender.responses()[0].has_error()
    last = hosted.sequenced(32, end=True, audio=cut)
    hosted.model.execute([last])
    assert events(hosted, last)[-1]["reason"] == "end"


def test_finalize_completes_what_is_open(repository, backend, recognizer, clips):
    model = backend.HostedModel(repository / "mms_stream")
    samples = np.tile(recognizer.read(clips[0][0]).samples, 9)[None, : 25 * 16000]
    code = language(clips[0][1])
    request = model.sequenced(1, start=True, audio=samples, language=code)
    model.model.execute([request])
    model.model.finalize()
    responses = request.sender.responses()
    assert all(not one.has_error() for one in responses[:-1])
