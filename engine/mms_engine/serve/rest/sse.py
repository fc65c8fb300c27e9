"""Server-sent events of a transcription."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, BinaryIO

from starlette.responses import Response, StreamingResponse

from mms_engine.serve.call import Call
from mms_engine.serve.errors import api_error
from mms_engine.serve.rest import results
from mms_engine.types import Audio, Transcript

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers of an answer that proxies must pass on as it comes."""
Run = Callable[[Audio, Callable[[str], None]], Awaitable[tuple[Transcript, str | None]]]


async def event_stream(call: Call, upload: BinaryIO, run: Run, *, logprobs: bool) -> Response:
    """Return a stream of the text as it settles, and of the whole at the end.

    The audio is decoded first, so that its errors have a status of their own.
    """
    held = AsyncExitStack()
    audio = await call.while_connected(
        held.enter_async_context(call.service.decoded(call.client, upload))
    )
    call.free_body()

    async def events() -> AsyncIterator[str]:
        async with held:
            async for event in _events(audio, run, logprobs=logprobs):
                yield event_line(event)

    call.held.push_async_callback(held.aclose)
    return StreamingResponse(events(), media_type="text/event-stream", headers=STREAM_HEADERS)


def event_line(event: dict[str, Any]) -> str:
    """Return an event as it is sent."""
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"


async def _events(audio: Audio, run: Run, *, logprobs: bool) -> AsyncIterator[dict[str, Any]]:
    loop = asyncio.get_running_loop()
    texts: asyncio.Queue[str | None] = asyncio.Queue()

    def changed(text: str) -> None:
        loop.call_soon_threadsafe(texts.put_nowait, text)

    task = asyncio.ensure_future(run(audio, changed))
    task.add_done_callback(lambda _: texts.put_nowait(None))
    sent = ""
    try:
        while (text := await texts.get()) is not None:
            if text.startswith(sent) and text != sent:
                yield {"type": "transcript.text.delta", "delta": text[len(sent) :]}
                sent = text
        transcript, detected = task.result()
    except Exception as error:  # noqa: BLE001 (the status is sent already)
        yield api_error(error).envelope()
        return
    finally:
        task.cancel()
    if rest := transcript.text.removeprefix(sent):
        delta: dict[str, Any] = {"type": "transcript.text.delta", "delta": rest}
        if logprobs and not sent:
            delta["logprobs"] = results.word_logprobs(transcript)
        yield delta
    body = results.plain(transcript, detected=detected, logprobs=logprobs)
    yield {"type": "transcript.text.done", **body}
