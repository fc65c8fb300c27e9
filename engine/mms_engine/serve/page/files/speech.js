// The tab of speech: a text, spoken while it is made.

import { Combobox } from "./combobox.js";
import { byId, downloads, face, notify, remembered, save } from "./dom.js";
import { option } from "./languages.js";
import { Player } from "./player.js";
import { address, request } from "./server.js";

const RATE = 24_000;

export class Speech {
  constructor(voices, usual) {
    this.player = new Player(byId("speech-player"), { label: "Position in the speech" });
    this.picker = new Combobox(byId("speech-voice-box"), {
      id: "speech-voice",
      noun: "Voices",
      changed: ({ value }) => remembered.set("voice", value),
    });
    const options = voices.map(option);
    options.sort((a, b) => a.label.localeCompare(b.label, "en"));
    this.picker.fill(options, usual);
    this.picker.set(remembered.get("voice"));
    byId("speech-start").addEventListener("click", () => (this.running ? this.stop() : this.speak()));
    byId("speech-text").addEventListener("input", () => this.showCount());
    byId("speech-text").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !this.running) this.speak();
    });
    byId("speech-speed").addEventListener("input", () => {
      byId("speech-speed-value").textContent = `${Number(byId("speech-speed").value).toFixed(1)}×`;
    });
    downloads(byId("speech-downloads"), { WAV: () => save(this.wav, "speech.wav", "audio/wav") });
    this.showCount();
  }

  showCount() {
    const { value } = byId("speech-text");
    byId("speech-count").textContent = [...value].length.toLocaleString("en");
    byId("speech-start").disabled = !this.running && !value.trim();
  }

  stop() {
    this.running?.abort();
  }

  async speak() {
    const text = byId("speech-text").value.trim();
    if (!text) return;
    const running = (this.running = new AbortController());
    this.player.unload();
    byId("speech-below").hidden = true;
    notify(byId("speech-notice"), "");
    face(byId("speech-start"), "stop", "Stop");
    byId("speech-state").textContent = "Making speech …";
    const sound = await Sound.open((seconds) => this.player.showAt(seconds));
    running.signal.addEventListener("abort", () => sound.close());
    const begin = performance.now();
    try {
      const response = await this.ask(text, running.signal);
      await this.play(response, sound, begin);
      sound.complete();
      byId("speech-state").textContent += ", all of it after " + after(begin);
      await sound.ended;
    } catch (error) {
      if (error.name !== "AbortError") notify(byId("speech-notice"), error.message);
      byId("speech-state").textContent = error.name === "AbortError" ? "Stopped" : "";
    }
    sound.close();
    this.finish(sound.samples);
  }

  ask(text, signal) {
    return request("v1/audio/speech", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        input: text,
        voice: this.picker.value,
        speed: Number(byId("speech-speed").value),
        response_format: "pcm",
      }),
      signal,
    });
  }

  /** Play a response of 16-bit samples as it arrives. */
  async play(response, sound, begin) {
    this.showDropped(response.headers.get("X-MMS-Dropped"));
    let rest = new Uint8Array(0);
    for await (const part of chunks(response.body)) {
      const bytes = new Uint8Array(rest.length + part.length);
      bytes.set(rest);
      bytes.set(part, rest.length);
      const whole = bytes.length & ~1;
      rest = bytes.slice(whole);
      if (!whole) continue;
      if (!sound.samples.length) byId("speech-state").textContent = `First sound after ${after(begin)}`;
      sound.add(new Int16Array(bytes.buffer, 0, whole / 2));
      byId("speech-player").hidden = false;
      this.player.waveform.set(sound.samples, sound.samples.length / RATE);
    }
  }

  /** Tell which characters were left out: a JSON object with their count and the first of them. */
  showDropped(header) {
    if (!header) return;
    const { count, first } = JSON.parse(header);
    const named = [...new Set(first.map(({ text }) => text))].join(" ");
    const words = count === 1 ? "1 character has" : `${count} characters have`;
    notify(byId("speech-notice"), `${words} no sound in this voice and will not be heard: ${named}`);
  }

  finish(samples) {
    this.running = null;
    face(byId("speech-start"), "play", "Speak");
    this.showCount();
    if (!samples.length) return;
    this.wav = wav(samples);
    this.player.load(this.wav);
    byId("speech-below").hidden = false;
  }
}

/** Sound that is played while it grows. */
class Sound {
  static async open(moved) {
    const sound = new Sound();
    sound.buffer = new Float32Array(30 * RATE);
    sound.samples = sound.buffer.subarray(0, 0);
    sound.context = new AudioContext({ sampleRate: RATE });
    await sound.context.audioWorklet.addModule(address("page/playback-worklet.js"));
    sound.node = new AudioWorkletNode(sound.context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    sound.node.connect(sound.context.destination);
    sound.ended = new Promise((resolve) => {
      sound.resolve = resolve;
      sound.node.port.onmessage = ({ data }) => (data === "ended" ? resolve() : moved(data / RATE));
    });
    await sound.context.resume();
    return sound;
  }

  add(integers) {
    const block = Float32Array.from(integers, (value) => value / 32768);
    const [begin, end] = [this.samples.length, this.samples.length + block.length];
    if (end > this.buffer.length) {
      const longer = new Float32Array(2 * end);
      longer.set(this.samples);
      this.buffer = longer;
    }
    this.buffer.set(block, begin);
    this.samples = this.buffer.subarray(0, end);
    this.node.port.postMessage(block, [block.buffer]);
  }

  complete() {
    this.node.port.postMessage("complete");
  }

  close() {
    this.resolve();
    this.node.port.onmessage = null;
    if (this.context.state !== "closed") this.context.close();
  }
}

async function* chunks(body) {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

const after = (begin) => `${((performance.now() - begin) / 1000).toFixed(2)} s`;

/** Return samples as a WAV file. */
function wav(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, word) => [...word].forEach((c, i) => view.setUint8(place + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, index) => view.setInt16(44 + 2 * index, Math.round(value * 32768), true));
  return new Blob([view], { type: "audio/wav" });
}
