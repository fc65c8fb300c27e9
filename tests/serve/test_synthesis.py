"""Speech of many texts at once: equality with the library, fair shares, leaving, and bounds."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from mms_engine import LanguageError, Synthesizer, TextError
from mms_engine.backends.options import RunOptions
from mms_engine.serve.config import Limits, ServeConfig
from mms_engine.serve.errors import ApiError
from mms_engine.serve.models import Models, VoiceModel
from mms_engine.serve.speech import Speech
from mms_engine.types import Audio

TEXT = "It rained. We walked home."


@pytest.fixture(scope="module")
def synthesizer(demo_voice: Path) -> Iterator[Synthesizer]:
    with Synthesizer.open(demo_voice, threads=1) as opened:
        yield opened


@pytest.fixture
def speech(synthesizer: Synthesizer) -> Iterator[Speech]:
    """One thread, so that the order of the work is known."""
    opened = speech_of(Models(voices=[VoiceModel("demo-voice", synthesizer)]))
    yield opened
    opened.close()


def speech_of(models: Models, **limits: float) -> Speech:
    config = ServeConfig(bundles=(), run=RunOptions(threads=1), limits=Limits(**limits))
    return Speech(config, lambda: models)


async def joined(chunks: AsyncIterator[Audio]) -> np.ndarray:
    return np.concatenate([chunk.samples async for chunk in chunks])


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.5])
def test_samples_are_those_of_the_library(speech, synthesizer, speed) -> None:
    found = asyncio.run(joined(speech.speak("a", TEXT, "eng", speed=speed)))
    np.testing.assert_array_equal(found, synthesizer.synthesize(TEXT, "eng", speed=speed).samples)


def test_texts_at_once_do_not_disturb_each_other(speech, synthesizer) -> None:
    texts = [TEXT, "Hello.", "It was late. It was very late."]

    async def run() -> list[np.ndarray]:
        tasks = [joined(speech.speak(str(i), text, "eng")) for i, text in enumerate(texts)]
        return await asyncio.gather(*tasks)

    for text, samples in zip(texts, asyncio.run(run()), strict=True):
        np.testing.assert_array_equal(samples, synthesizer.synthesize(text, "eng").samples)


def test_clients_take_turns(speech) -> None:
    """One with five texts does not keep out one with a single text."""

    async def run() -> list[str]:
        order: list[str] = []

        async def read(client: str) -> None:
            async for _ in speech.speak(client, "It rained.", "eng"):
                order.append(client)  # noqa: PERF401 (all tasks append as they come)

        await asyncio.gather(*(read("a") for _ in range(5)), read("b"))
        return order

    order = asyncio.run(run())
    count = order.count("b")
    last = len(order) - 1 - order[::-1].index("b")
    # The next turn is given before the reader of a chunk asks for its next one.
    assert order[: last + 1].count("a") <= 2 * count + 2


def test_nothing_is_made_for_a_reader_that_does_not_ask(speech) -> None:
    """Neither for one that left, in the middle of a chunk or between two."""

    async def run() -> None:
        slow = speech.speak("a", TEXT * 40, "eng")
        await anext(slow)
        left = speech.speak("b", TEXT * 40, "eng")
        task = asyncio.ensure_future(anext(left))
        await asyncio.sleep(0)
        assert speech.estimate("b", 1) == 0  # the speed is not known yet
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(await joined(speech.speak("c", "Hello.", "eng"))) > 0
        assert speech.waiting == 0
        each = 0.07 / speech.clock.speed  # of the text that came to its end
        assert speech.estimate("b", 1) == pytest.approx(each)
        assert (await anext(slow)).seconds > 0

    asyncio.run(run())


def test_texts_that_would_come_too_late_are_refused(synthesizer) -> None:
    """A client waits for its own texts, and for as much of each other client."""
    models = Models(voices=[VoiceModel("demo-voice", synthesizer)])
    speech = speech_of(models, request_seconds=60)

    async def run() -> None:
        await joined(speech.speak("a", TEXT, "eng"))
        each = 0.07 / speech.clock.speed
        tasks = [asyncio.create_task(joined(speech.speak("a", TEXT, "eng"))) for _ in range(4)]
        await asyncio.sleep(0)
        assert speech.estimate("a", 10) == pytest.approx((4 * len(TEXT) + 10) * each)
        assert speech.estimate("b", 10) == pytest.approx((10 + 10) * each)
        assert speech.estimate("b", 4000) == pytest.approx((4000 + 4 * len(TEXT)) * each)
        await asyncio.gather(*tasks)
        assert speech.estimate("a", 10) == pytest.approx(10 * 0.07 / speech.clock.speed)
        speech.clock.count(1.0, 1e6)
        with pytest.raises(ApiError) as caught:
            await anext(speech.speak("a", TEXT, "eng"))
        assert (caught.value.status, caught.value.code) == (429, "overloaded")

    asyncio.run(run())
    speech.close()


def test_deadline_ends_a_text(synthesizer) -> None:
    speech = speech_of(
        Models(voices=[VoiceModel("demo-voice", synthesizer)]), request_seconds=0.001
    )

    async def run() -> None:
        with pytest.raises(ApiError) as caught:
            await joined(speech.speak("a", TEXT, "eng"))
        assert (caught.value.status, caught.value.code) == (503, "deadline_exceeded")

    asyncio.run(run())
    speech.close()


def test_what_cannot_be_spoken(speech) -> None:
    async def speak(text: str, voice: str = "eng") -> None:
        await joined(speech.speak("a", text, voice))

    with pytest.raises(LanguageError, match="'xyz'"):
        asyncio.run(speak("a", "xyz"))
    with pytest.raises(TextError, match="nothing to speak"):
        asyncio.run(speak("Ѣ"))
    with pytest.raises(ApiError, match="4097 characters, the limit is 4096"):
        asyncio.run(speak("a" * 4097))
    with pytest.raises(ValueError, match="speed is 5"):
        asyncio.run(joined(speech.speak("a", "a", "eng", speed=5)))
    with pytest.raises(ApiError, match="no bundle of voices"):
        asyncio.run(joined(speech_of(Models()).speak("a", "a", "eng")))


def test_unspoken_characters(speech, synthesizer) -> None:
    text = "Hello Ѣ, world. № is a symbol, жук a word."
    found = asyncio.run(speech.unspoken("a", text, "eng"))
    spoken = synthesizer.synthesize(text, "eng").sentences
    assert found == tuple(one for s in spoken for one in s.dropped if one.is_loss)
    assert [text[one.start : one.end] for one in found] == [one.text for one in found]
    assert found


def test_names_of_models(synthesizer) -> None:
    model = VoiceModel("facebook/mms-tts", synthesizer)
    models = Models(voices=[model], aliases={"tts-1": "facebook/mms-tts", "x": "mms-tts-eng"})
    for name in ("", "tts-1", "mms-tts", "facebook/mms-tts", "mms-tts-eng", "mms-tts-en", "x"):
        assert models.find_voices(name) == (model, "eng")
    for name, status, code in (
        ("mms-tts-xyz", 400, "unsupported_language"),
        ("whisper-1", 404, "model_not_found"),
    ):
        with pytest.raises(ApiError) as caught:
            models.find_voices(name)
        assert (caught.value.status, caught.value.code) == (status, code)
    with pytest.raises(ApiError, match="no bundle of speech recognition"):
        models.find()
