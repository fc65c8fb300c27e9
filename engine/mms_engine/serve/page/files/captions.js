// Text with times: captions of a stream, and the transcript of a recording.

import { clock, element } from "./dom.js";

const CONFIDENT = 0.9;
const DOUBTFUL = 0.6;
const PAUSE_SECONDS = 1.0;

/** Return the level of a confidence, as the legend names it: 1 low, 2 medium, 3 high. */
export const level = (confidence) =>
  confidence < DOUBTFUL ? "1" : confidence < CONFIDENT ? "2" : "3";

/** Return a text cut at each of its words, as strings and elements made by `make(word, index)`. */
export function cut(text, words, make) {
  const parts = [];
  let position = 0;
  words.forEach((word, index) => {
    const begin = text.indexOf(word.text, position);
    if (begin < 0) return;
    if (begin > position) parts.push(text.slice(position, begin));
    parts.push(make(word, index));
    position = begin + word.text.length;
  });
  if (position < text.length) parts.push(text.slice(position));
  return parts;
}

/** Return a paragraph with its time beside it. */
export function paragraph(seconds, lang, ...content) {
  return element(
    "p",
    { class: "said", dir: "auto" },
    element("time", {}, clock(seconds)),
    element("span", { class: "text", lang }, ...content),
  );
}

/** Return the words in groups, a new one after each pause. */
export function byPauses(words) {
  const groups = [];
  words.forEach((word, index) => {
    const last = words[index - 1];
    if (!last || word.start - last.end >= PAUSE_SECONDS) groups.push([]);
    groups.at(-1).push(word);
  });
  return groups;
}

/** The captions of a session: finished utterances, and the one that may still change. */
export class Captions {
  constructor({ panel, finals, partial, empty, tag }) {
    Object.assign(this, { panel, finals, partial, empty, tag });
    this.utterances = [];
    this.language = "";
  }

  show(event) {
    const isAtEnd = this.panel.scrollHeight - this.panel.scrollTop - this.panel.clientHeight < 40;
    if (event.type === "partial") this.showPartial(event);
    else if (event.type === "final") this.showFinal(event);
    else if (event.type === "language") this.language = event.language ?? "";
    this.empty.hidden = this.utterances.length > 0 || this.partial.hasChildNodes();
    if (isAtEnd) this.panel.scrollTop = this.panel.scrollHeight;
  }

  showPartial({ text, words, stable_chars: stable, audio_seconds: now }) {
    if (!text) {
      this.partial.replaceChildren();
      return;
    }
    const characters = [...text]; // the server counts code points
    const solid = characters.slice(0, stable).join("");
    const tail = element("span", { class: "unstable" }, characters.slice(stable).join(""));
    const begin = words?.[0]?.start ?? now;
    this.partial.replaceChildren(paragraph(begin, this.tag(this.language), solid, tail));
  }

  showFinal({ text, words, start, language }) {
    this.partial.replaceChildren();
    if (!text) return;
    this.utterances.push({ text, words, start, language });
    const made = cut(text, words, (word) =>
      element("span", { "data-level": level(word.confidence) }, word.text),
    );
    this.finals.append(paragraph(words[0]?.start ?? start, this.tag(language), ...made));
  }

  /** Drop what may still change: the stream that would have finished it has ended. */
  drop() {
    this.partial.replaceChildren();
    this.empty.hidden = this.utterances.length > 0;
  }

  clear() {
    this.utterances = [];
    this.finals.replaceChildren();
    this.drop();
  }
}
