"""Triton's model of recordings, driven through the interface of the Python backend."""

import json

import msgspec
import numpy as np
import pytest


@pytest.fixture(scope="module")
def hosted(repository, backend):
    model = backend.HostedModel(repository / "mms_transcribe")
    yield model
    model.model.finalize()


def strings(*rows):
    return np.array([[row] for row in rows], np.object_)


def request(hosted, path, code):
    return hosted.request(audio=strings(path.read_bytes()), language=strings(code.encode()))


def test_batch_of_five_languages_has_the_engines_transcripts(hosted, recognizer, clips):
    responses = hosted.model.execute([request(hosted, *clip) for clip in clips])
    for response, (path, code) in zip(responses, clips, strict=True):
        expected = recognizer.transcribe(path, code)
        outputs = hosted.outputs(response)
        assert outputs["text"] == [expected.text.encode()]
        assert json.loads(outputs["words"][0]) == list(msgspec.to_builtins(expected.words))
        assert outputs["language"] == [code.encode()]
        assert expected.text


def test_request_with_several_rows(hosted, recognizer, clips):
    audio = strings(*(path.read_bytes() for path, _ in clips))
    languages = strings(*(code.encode() for _, code in clips))
    (response,) = hosted.model.execute([hosted.request(audio=audio, language=languages)])
    expected = [recognizer.transcribe(path, code).text.encode() for path, code in clips]
    assert hosted.outputs(response)["text"] == expected


def test_bad_requests_do_not_disturb_others(hosted, recognizer, clips, backend):
    path, code = clips[0]
    content = path.read_bytes()
    requests = [
        hosted.request(audio=strings(b"no audio"), language=strings(code.encode())),
        request(hosted, path, code),
        hosted.request(audio=strings(content), language=strings(b"xyz")),
        hosted.request(audio=strings(content, content), language=strings(b"eng")),
        hosted.request(audio=strings(content), language=strings(code.encode()), is_cancelled=True),
    ]
    found = hosted.model.execute(requests)
    codes = [response.error() and response.error().code() for response in found]
    error = backend.TritonError
    bad = error.INVALID_ARG
    assert codes == [bad, None, bad, bad, error.CANCELLED]
    assert "xyz" in found[2].error().message()
    expected = recognizer.transcribe(path, code).text.encode()
    assert hosted.outputs(found[1])["text"] == [expected]


def test_missing_bundle_is_an_error_at_the_start(repository, backend, tmp_path):
    text = (repository / "mms_transcribe" / "config.pbtxt").read_text()
    model = tmp_path / "mms_transcribe"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").write_bytes(
        (repository / "mms_transcribe" / "1" / "model.py").read_bytes()
    )
    none = str(tmp_path / "none")
    (model / "config.pbtxt").write_text(text.replace(str(repository.parent / "bundle"), none))
    with pytest.raises(backend.TritonModelException, match="none holds no manifest"):
        backend.HostedModel(model)
