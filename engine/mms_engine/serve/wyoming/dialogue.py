"""Order of the requests of one connection."""

from typing import Literal

from mms_engine.serve.errors import ApiError
from mms_engine.serve.wyoming import requests
from mms_engine.serve.wyoming.requests import Request

_State = Literal["idle", "audio", "text"]
_ORDER: dict[type[Request], tuple[_State, _State]] = {
    requests.Transcribe: ("idle", "idle"),
    requests.AudioStart: ("idle", "audio"),
    requests.AudioChunk: ("audio", "audio"),
    requests.AudioStop: ("audio", "idle"),
    requests.Synthesize: ("idle", "idle"),
    requests.SynthesizeStart: ("idle", "text"),
    requests.SynthesizeChunk: ("text", "text"),
    requests.SynthesizeStop: ("text", "idle"),
}
"""State in which a request may come, and the one behind it. Others may come at any time."""
_RECEIVING = {
    "idle": "no utterance and no text has been begun",
    "audio": "the audio of an utterance is being received",
    "text": "a text is being received in parts",
}


class Dialogue:
    """What is being received: nothing, the audio of an utterance, or a text in parts."""

    def __init__(self) -> None:
        self.state: _State = "idle"

    def accept(self, request: Request) -> bool:
        """Take a request; return whether it is to be served, and not to be ignored.

        Home Assistant sends a text that it has sent in parts once more as a whole, for servers that
        take no parts.

        Raises:
            ApiError: 400; it may not come now.
        """
        if isinstance(request, requests.Synthesize) and self.state == "text":
            return False
        before, behind = _ORDER.get(type(request), (self.state, self.state))
        if self.state != before:
            kind = type(request).__struct_config__.tag
            message = f"{kind} may not come now: {_RECEIVING[self.state]}"
            raise ApiError(400, message, code="out_of_order")
        self.state = behind
        return True
