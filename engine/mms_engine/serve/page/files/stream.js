// A stream of audio to /v1/stream and its events, through one lost connection.

import { ServerError, address, askForKey, key, sentence, stateOfServer } from "./server.js";

const KEPT_SECONDS = 60;
const PATIENCE_SECONDS = 10;
const MOST_WAITING_BYTES = 4 << 20;

/**
 * A caption stream.
 *
 * Audio since the last finished utterance is kept, and sent again where the connection is lost, so
 * that no word is. Times are of the session, which was at `begin`. `handlers` are `session`, `event`, `lost` (connecting again), `end` and `fail`.
 */
export class CaptionStream {
  constructor({ language, latency, rate, begin }, handlers) {
    this.query = { language, latency, tentative: "true", format: "s16le", sample_rate: rate };
    this.rate = rate;
    this.handlers = handlers;
    this.kept = []; // blocks as {begin, samples}
    this.sent = begin; // time of the session up to which audio was given to `send`
    this.offset = begin; // that at which the stream of this connection began
    this.isOpen = false;
    this.isFinishing = false;
    this.isOver = false;
    this.mayRetry = false; // once per connection that worked
    this.connect();
  }

  connect() {
    const url = address("v1/stream");
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams(this.query);
    const protocols = ["mms-stream"];
    if (key.get()) protocols.push(`openai-insecure-api-key.${key.get()}`);
    try {
      this.socket = new WebSocket(url, protocols);
    } catch {
      this.fail(new ServerError("The API key has characters that a browser cannot send."));
      return;
    }
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.socket.onclose = (event) => this.closed(event);
  }

  /** Send samples, or keep them until there is a connection. */
  send(samples) {
    if (this.isOver || this.isFinishing) return;
    this.kept.push({ begin: this.sent, samples });
    this.sent += samples.length / this.rate;
    while (this.sent - this.kept[0].begin > KEPT_SECONDS) this.kept.shift();
    if (!this.isOpen) return;
    this.socket.send(samples);
    if (this.socket.bufferedAmount > MOST_WAITING_BYTES) {
      this.fail(new ServerError("The connection is too slow for live audio."));
    }
  }

  /** Ask for the rest of the text, and end. */
  finish() {
    if (this.isFinishing) return;
    this.isFinishing = true;
    if (this.isOpen) this.sendFinish();
  }

  sendFinish() {
    this.socket.send('{"type":"finish"}');
    const late = new ServerError("The server did not end the stream in time.");
    this.timer = setTimeout(() => this.fail(late), 1000 * PATIENCE_SECONDS);
  }

  receive(event) {
    if (this.isOver) return;
    if (event.type === "session") this.began(event);
    else if (event.type === "error") this.failed(event.error);
    else if (event.type === "end") {
      this.over();
      this.handlers.end();
    } else {
      const moved = shifted(event, this.offset);
      if (moved.type === "endpoint") this.forget(moved.at);
      this.handlers.event(moved, Math.max(0, this.sent - moved.audio_seconds));
    }
  }

  began(event) {
    this.isOpen = this.mayRetry = true;
    this.offset = this.kept[0]?.begin ?? this.sent;
    for (const { samples } of this.kept) this.socket.send(samples);
    this.handlers.session(event);
    if (this.isFinishing) this.sendFinish();
  }

  /** Forget the audio before a time, which is text. */
  forget(time) {
    const first = this.kept.findIndex(({ begin, samples }) => begin + samples.length / this.rate > time);
    this.kept.splice(0, first < 0 ? this.kept.length : first);
  }

  async failed({ message, code }) {
    if (code?.endsWith("_api_key")) {
      this.detach();
      if (await askForKey(sentence(message))) {
        if (!this.isOver) this.connect();
        return;
      }
    }
    this.fail(new ServerError(sentence(message), { code }));
  }

  closed(event) {
    if (this.isOver) return;
    this.detach();
    if (this.mayRetry && event.code !== 1008 && event.code !== 1009) {
      this.mayRetry = false;
      this.handlers.lost();
      this.timer = setTimeout(() => this.connect(), 1000);
      return;
    }
    if (event.reason) this.fail(new ServerError(sentence(event.reason)));
    else this.unreachable();
  }

  /** Fail with what the server's health tells: browsers hide why a connection was refused. */
  async unreachable() {
    const state = await stateOfServer();
    const words = { ready: "did not take the connection: it may be full", unreachable: "cannot be reached" };
    this.fail(new ServerError(`The server ${words[state] ?? `is ${state}`}.`));
  }

  detach() {
    clearTimeout(this.timer);
    this.isOpen = false;
    this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
  }

  over() {
    this.isOver = true;
    if (this.socket) this.detach();
  }

  fail(error) {
    if (this.isOver) return;
    this.over();
    this.handlers.fail(error);
  }
}

/** Return an event with its times moved. */
function shifted(event, offset) {
  const moved = { ...event };
  for (const name of ["audio_seconds", "start", "at"]) if (name in moved) moved[name] += offset;
  moved.words = event.words?.map((word) => ({
    ...word,
    start: word.start + offset,
    end: word.end + offset,
  }));
  return moved;
}
