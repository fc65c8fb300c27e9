// The tab of live captions.

import { Captions } from "./captions.js";
import { byId, clock, downloads, element, enable, face, notify, remembered, save } from "./dom.js";
import * as formats from "./formats.js";
import { Microphone, microphoneMessage } from "./microphone.js";
import { CaptionStream } from "./stream.js";

const QUIET_DECIBELS = -60;
const STATES = {
  idle: "Not listening",
  starting: "Opening the microphone …",
  connecting: "Connecting …",
  listening: "Listening",
  finishing: "Finishing …",
};

export class Live {
  constructor(picker, languages) {
    this.picker = picker;
    this.languages = languages;
    this.begin = 0; // time of the session at which the next stream begins, in seconds
    this.captions = new Captions({
      panel: byId("live-captions"),
      finals: byId("live-finals"),
      partial: byId("live-partial"),
      empty: byId("live-empty"),
      tag: (code) => languages.tag(code),
    });
    this.setState("idle");
    this.restore();
    byId("live-start").disabled = false;
    byId("live-start").addEventListener("click", () => this.toggle());
    byId("live-clear").addEventListener("click", () => this.clear());
    byId("live-more").addEventListener("toggle", () => this.listDevices());
    downloads(byId("live-downloads"), {
      TXT: () => this.save("txt", () => this.text()),
      SRT: () => this.save("srt", formats.srt),
      VTT: () => this.save("vtt", formats.vtt),
      TextGrid: () => this.save("TextGrid", (words, joiner) => formats.textgrid(words, joiner, this.seconds)),
    });
    this.updateButtons();
  }

  /** Take up the latency of last time, and remember a new one. */
  restore() {
    const radios = [...document.querySelectorAll("#live-latency input")];
    for (const radio of radios) {
      radio.checked = radio.value === (remembered.get("latency") || "balanced");
      radio.addEventListener("change", () => remembered.set("latency", radio.value));
    }
  }

  setState(state) {
    this.state = state;
    byId("live-state").textContent = STATES[state];
    byId("live-state").dataset.state = state;
    const isIdle = state === "idle";
    face(byId("live-start"), isIdle ? "microphone" : "stop", isIdle ? "Start" : "Stop");
    byId("live-start").classList.toggle("running", !isIdle);
    for (const radio of document.querySelectorAll("#live-latency input")) radio.disabled = !isIdle;
    this.picker.input.disabled = !isIdle;
    byId("live-device").disabled = byId("live-clean").disabled = !isIdle;
  }

  updateButtons() {
    const hasText = this.captions.utterances.length > 0;
    enable(byId("live-downloads"), hasText);
    byId("live-clear").disabled = !hasText || this.state !== "idle";
  }

  toggle() {
    if (this.state === "idle") this.start();
    else this.stop();
  }

  async start() {
    notify(byId("live-notice"), "");
    byId("live-badge").hidden = true;
    this.setState("starting");
    const waiting = []; // audio until the stream exists
    let stream = null;
    try {
      this.microphone = await Microphone.open({
        device: byId("live-device").value,
        clean: byId("live-clean").checked,
        heard: (samples, peak) => {
          this.showLevel(peak);
          if (stream) stream.send(samples);
          else waiting.push(samples);
        },
        ended: () => this.fail("The microphone was disconnected."),
      });
    } catch (error) {
      this.fail(microphoneMessage(error));
      return;
    }
    if (this.state !== "starting") return this.release(); // stopped meanwhile
    this.setState("connecting");
    stream = this.stream = this.open();
    for (const samples of waiting) stream.send(samples);
    this.listDevices();
  }

  open() {
    const { rate } = this.microphone;
    const latency = document.querySelector("#live-latency input:checked").value;
    const language = this.picker.value;
    this.captions.language = language === "auto" ? "" : language;
    return new CaptionStream(
      { language, latency, rate, begin: this.begin },
      {
        session: (session) => this.began(session),
        event: (event, lag) => this.show(event, lag),
        lost: () => this.reconnecting(),
        end: () => this.ended(),
        fail: (error) => this.fail(error.message),
      },
    );
  }

  began({ warnings = [] }) {
    notify(byId("live-notice"), warnings.join(" "));
    if (this.state === "connecting") this.setState("listening");
    this.tick ??= setInterval(() => this.showClock(), 250);
  }

  reconnecting() {
    notify(byId("live-notice"), "The connection was lost. Connecting again; nothing is lost meanwhile.");
    if (this.state === "listening") this.setState("connecting");
  }

  show(event, lag) {
    this.captions.show(event);
    if (event.type === "language") this.showLanguage(event);
    if (event.type === "partial") {
      byId("live-latency-figure").hidden = false;
      byId("live-lag").textContent = `${lag.toFixed(2)} s`;
    }
    if (event.type === "final") this.updateButtons();
  }

  showLanguage({ language, label, probability }) {
    const badge = byId("live-badge");
    const name = this.languages.name(language ?? label);
    const certain = `${Math.round(100 * probability)} %`;
    badge.replaceChildren(name, " ", element("small", {}, language ? certain : "not transcribed"));
    badge.title = `Identified language, ${certain} of the probability`;
    badge.hidden = false;
  }

  /** Seconds of audio so far. */
  get seconds() {
    return this.stream?.sent ?? this.begin;
  }

  showClock() {
    byId("live-clock").textContent = clock(this.seconds);
  }

  showLevel(peak) {
    const decibels = Math.max(QUIET_DECIBELS, 20 * Math.log10(peak + 1e-9));
    const meter = byId("live-meter");
    meter.firstElementChild.style.transform = `scaleX(${1 - decibels / QUIET_DECIBELS})`;
    meter.setAttribute("aria-valuenow", decibels.toFixed(0));
    meter.setAttribute("aria-valuetext", decibels > -45 ? `${decibels.toFixed(0)} decibels` : "silent");
  }

  stop() {
    if (this.state === "finishing") return;
    this.release();
    if (this.stream) {
      this.setState("finishing");
      this.stream.finish();
    } else this.setState("idle");
  }

  release() {
    this.microphone?.close();
    this.microphone = null;
    this.showLevel(0);
  }

  ended() {
    this.begin = this.seconds;
    this.stream = null;
    clearInterval(this.tick);
    this.tick = null;
    this.captions.drop();
    this.setState("idle");
    this.showClock();
    this.updateButtons();
  }

  fail(message) {
    this.release();
    this.stream?.over();
    this.ended();
    notify(byId("live-notice"), message, { "Start again": () => this.start() });
  }

  clear() {
    this.captions.clear();
    this.begin = 0;
    byId("live-badge").hidden = true;
    byId("live-latency-figure").hidden = true;
    this.showClock();
    this.updateButtons();
  }

  /** List the microphones; browsers name them once one was allowed. */
  async listDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const select = byId("live-device");
    const chosen = select.value;
    const named = devices.filter((one) => one.kind === "audioinput" && one.label && one.deviceId !== "default");
    const options = named.map((one) => element("option", { value: one.deviceId }, one.label));
    select.replaceChildren(element("option", { value: "" }, "Default of the system"), ...options);
    if (named.some((one) => one.deviceId === chosen)) select.value = chosen;
  }

  text() {
    return this.captions.utterances.map(({ text }) => `${text}\n`).join("");
  }

  save(suffix, make) {
    const { utterances } = this.captions;
    const words = utterances.flatMap((one) => one.words);
    const isSpaced = utterances.every((one) => formats.joinerOf(one.text, one.words));
    const now = new Date();
    const local = new Date(now - 60_000 * now.getTimezoneOffset()).toISOString();
    save(make(words, isSpaced ? " " : ""), `captions-${local.slice(0, 16).replace(/\D/g, "-")}.${suffix}`);
  }
}
