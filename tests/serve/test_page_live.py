"""Live captions of the page in Chromium, from a microphone that hears a clip of the demo."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from browser import microphone, open_page, write_sound
from engine_demo import Clip
from mms_engine import Recognizer, read_audio
from server_process import ServerProcess, running
from serve.conftest import export

MMS = [sys.executable, "-c", "from mms_engine.cli import main; main()"]
WATCH = """
window.times = { sent: 0, first: 0 };
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  // The first block of audio was heard when the stream's time was at its end.
  window.times.sent ||= performance.now() - data.length / 16;
  return send.call(this, data);
};
document.addEventListener("DOMContentLoaded", () =>
  new MutationObserver(() => {
    if (!window.times.first && document.querySelector("#live-partial .said")) {
      window.times.first = performance.now();
    }
  }).observe(document.getElementById("live-partial"), { childList: true }),
);
"""
