// The tab of recordings: a file, its waveform, its words.

import { byPauses, level, paragraph } from "./captions.js";
import { byId, clock, downloads, element, notify, save } from "./dom.js";
import * as formats from "./formats.js";
import { Player } from "./player.js";
import { upload } from "./server.js";

const PEAK_RATE = 8000;
const MOST_DECODED_BYTES = 200 << 20;

export class Recording {
  constructor(picker, languages) {
    this.picker = picker;
    this.languages = languages;
    this.words = [];
    this.player = new Player(byId("file-player"), {
      label: "Position in the recording",
      moved: (seconds, isPlaying) => this.highlight(seconds, isPlaying),
    });
    byId("file-start").addEventListener("click", () => this.transcribe());
    byId("file-cancel").addEventListener("click", () => this.running?.abort());
    this.accept();
    this.listenToWords();
    downloads(byId("file-downloads"), {
      TXT: () => this.save("txt", () => `${this.answer.text}\n`),
      SRT: () => this.save("srt", formats.srt),
      VTT: () => this.save("vtt", formats.vtt),
      TextGrid: () => this.save("TextGrid", (words, joiner) => formats.textgrid(words, joiner, this.answer.duration)),
      CTM: () => this.save("ctm", (words) => formats.ctm(words, this.stem)),
      JSON: () => this.save("json", () => `${JSON.stringify(this.answer)}\n`),
    });
  }

  /** Take files that are chosen or dropped. */
  accept() {
    const input = byId("file-input");
    const panel = byId("file");
    input.addEventListener("change", () => {
      if (input.files.length) this.choose(input.files[0]);
      input.value = "";
    });
    for (const type of ["dragenter", "dragover"]) {
      panel.addEventListener(type, (event) => {
        event.preventDefault();
        byId("file-drop").classList.add("over");
      });
    }
    panel.addEventListener("dragleave", (event) => {
      if (!panel.contains(event.relatedTarget)) byId("file-drop").classList.remove("over");
    });
    panel.addEventListener("drop", (event) => {
      event.preventDefault();
      byId("file-drop").classList.remove("over");
      if (event.dataTransfer.files.length) this.choose(event.dataTransfer.files[0]);
    });
  }

  /** Play from a word that is clicked; arrow keys move between words. */
  listenToWords() {
    const panel = byId("file-words");
    panel.addEventListener("click", (event) => {
      const found = event.target.closest("[data-index]");
      if (found) this.play(found);
    });
    panel.addEventListener("keydown", (event) => {
      const found = event.target.closest("[data-index]");
      if (!found) return;
      const isRightToLeft = getComputedStyle(found).direction === "rtl";
      const steps = { ArrowRight: isRightToLeft ? -1 : 1, ArrowLeft: isRightToLeft ? 1 : -1 };
      if (event.key === "Enter" || event.key === " ") this.play(found);
      else if (event.key in steps) this.focus(Number(found.dataset.index) + steps[event.key]);
      else return;
      event.preventDefault();
    });
  }

  play(found) {
    const index = Number(found.dataset.index);
    this.focus(index);
    this.player.playFrom(this.words[index].start);
  }

  focus(index) {
    const target = this.elements[index];
    if (!target) return;
    for (const one of this.elements) one.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  get stem() {
    return this.file.name.replace(/\.[^.]*$/, "") || this.file.name;
  }

  async choose(file) {
    this.running?.abort();
    this.file = file;
    this.clear();
    byId("file-name").textContent = file.name;
    byId("file-about").textContent = bytes(file.size);
    byId("file-start").disabled = false;
    if (file.size === 0) {
      byId("file-start").disabled = true;
      notify(byId("file-notice"), `${file.name} is empty.`);
      return;
    }
    this.draw(file);
    await this.transcribe();
  }

  clear() {
    notify(byId("file-notice"), "");
    this.player.unload();
    this.words = [];
    this.elements = [];
    for (const id of ["file-player", "file-words", "file-below", "file-badge"]) byId(id).hidden = true;
  }

  /** Draw the waveform, where this browser can decode the file. */
  async draw(file) {
    if (file.size > MOST_DECODED_BYTES) return;
    try {
      const context = new OfflineAudioContext(1, 1, PEAK_RATE);
      const decoded = await context.decodeAudioData(await file.arrayBuffer());
      if (file !== this.file) return;
      byId("file-player").hidden = false;
      this.player.load(file);
      this.player.waveform.set(decoded.getChannelData(0), decoded.duration);
      this.player.showAt(0);
      byId("file-about").textContent = `${clock(decoded.duration)} · ${bytes(file.size)}`;
    } catch {
      if (file === this.file) {
        byId("file-about").textContent = `${bytes(file.size)} · this browser cannot play it`;
      }
    }
  }

  async transcribe() {
    const { file } = this;
    this.running?.abort();
    const running = (this.running = new AbortController());
    const form = new FormData();
    if (this.picker.value !== "auto") form.append("language", this.picker.value);
    form.append("response_format", "verbose_json");
    form.append("timestamp_granularities[]", "word");
    form.append("timestamp_granularities[]", "segment");
    form.append("file", file, file.name);
    notify(byId("file-notice"), "");
    this.busy(true);
    this.progress(0);
    try {
      const signal = running.signal;
      const answer = await upload("v1/audio/transcriptions", form, { progress: (part) => this.progress(part), signal });
      if (running === this.running) this.show(answer);
    } catch (error) {
      if (running !== this.running) return;
      const retry = error.status === 429 || error.status === 503 || error.status === 0;
      const actions = retry ? { "Try again": () => this.transcribe() } : {};
      if (error.name !== "AbortError") notify(byId("file-notice"), error.message, actions);
      byId("file-state").textContent = error.name === "AbortError" ? "Cancelled" : "";
    }
    if (running === this.running) this.busy(false);
  }

  busy(isBusy) {
    byId("file-strip").hidden = false;
    byId("file-progress").hidden = byId("file-cancel").hidden = !isBusy;
    byId("file-start").disabled = isBusy;
    byId("file-start").textContent = this.file && !isBusy ? "Transcribe again" : "Transcribe";
  }

  /** Show the part of the upload that is done; all of it means that the server is at work. */
  progress(part) {
    const bar = byId("file-progress");
    if (part < 1) bar.value = part;
    else bar.removeAttribute("value");
    byId("file-state").textContent = part < 1 ? "Uploading …" : "Transcribing …";
  }

  show(answer) {
    this.answer = answer;
    this.words = answer.words.map((one) => ({ ...one, text: one.word, confidence: one.score }));
    this.joiner = formats.joinerOf(answer.text, this.words);
    this.elements = this.words.map((word, index) =>
      element("span", { role: "button", tabindex: index ? "-1" : "0", "data-index": String(index), "data-level": level(word.confidence) }, word.text),
    );
    this.current = -1;
    let index = 0;
    const tag = this.languages.tag(answer.language);
    const paragraphs = byPauses(this.words).map((group) => {
      const content = group.flatMap((_, place) => [place ? this.joiner : "", this.elements[index++]]);
      return paragraph(group[0].start, tag, ...content);
    });
    const silent = element("p", { class: "placeholder" }, "No speech was recognised.");
    byId("file-words").replaceChildren(...(paragraphs.length ? paragraphs : [silent]));
    byId("file-words").hidden = false;
    byId("file-below").hidden = !this.words.length;
    this.describe(answer);
  }

  describe({ words, duration, language, warnings = [] }) {
    const count = words.length === 1 ? "1 word" : `${words.length.toLocaleString("en")} words`;
    const time = duration < 60 ? `${duration.toFixed(1)} s` : clock(duration);
    const hint = words.length && !this.player.button.disabled ? " · choose a word to hear it" : "";
    byId("file-state").textContent = `${count} in ${time}${hint}`;
    byId("file-badge").textContent = this.languages.name(language);
    byId("file-badge").title = this.picker.value === "auto" ? "Identified language" : "Language";
    byId("file-badge").hidden = false;
    notify(byId("file-notice"), warnings.join(" "));
  }

  /** Highlight the word at a time. */
  highlight(seconds, isPlaying) {
    let index = this.words.findIndex((word) => word.end > seconds);
    if (index >= 0 && this.words[index].start > seconds) index = -1;
    if (index === this.current) return;
    this.elements[this.current]?.classList.remove("current");
    this.elements[index]?.classList.add("current");
    if (isPlaying) this.elements[index]?.scrollIntoView({ block: "nearest" });
    this.current = index;
  }

  save(suffix, make) {
    save(make(this.words, this.joiner), `${this.stem}.${suffix}`);
  }
}

/** Return a size as 340 KB or 1.2 MB. */
function bytes(size) {
  return size < 1e6 ? `${Math.ceil(size / 1000)} KB` : `${(size / 1e6).toFixed(1)} MB`;
}
