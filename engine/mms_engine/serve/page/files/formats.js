// Files of timed words, as the server writes them: text, SubRip, WebVTT, TextGrid and CTM.
// Words are {text, start, end, confidence}; `joiner` is what stands between two of them.

const PAUSE_SECONDS = 0.7;
const CUE_CHARACTERS = 84;
const CUE_SECONDS = 7;
const LINE_CHARACTERS = 42;
const SHORTEST_SECONDS = 0.001;

const length = (text) => [...text].length;

/** Return the joiner of a text: nothing in scripts without spaces. */
export const joinerOf = (text, words) => (words.length < 2 || text.includes(" ") ? " " : "");

/** Return groups of words that are read together: at most two lines and seven seconds. */
function cues(words, joiner) {
  const groups = [];
  for (const word of words) {
    const group = groups.at(-1);
    const fits =
      group &&
      word.start - group.at(-1).end < PAUSE_SECONDS &&
      word.end - group[0].start <= CUE_SECONDS &&
      length([...group, word].map((one) => one.text).join(joiner)) <= CUE_CHARACTERS;
    if (fits) group.push(word);
    else groups.push([word]);
  }
  return groups.map((group) => ({
    text: group.map((one) => one.text).join(joiner),
    start: group[0].start,
    end: group.at(-1).end,
  }));
}

function wrap(text) {
  const lines = [];
  for (let word of text.split(" ")) {
    if (lines.length && length(`${lines.at(-1)} ${word}`) <= LINE_CHARACTERS) {
      lines.push(`${lines.pop()} ${word}`);
      continue;
    }
    for (; length(word) > LINE_CHARACTERS; word = [...word].slice(LINE_CHARACTERS).join("")) {
      lines.push([...word].slice(0, LINE_CHARACTERS).join(""));
    }
    lines.push(word);
  }
  return lines;
}

function stamp(seconds, point) {
  const whole = Math.round(seconds * 1000);
  const two = (value) => String(value).padStart(2, "0");
  const parts = [Math.floor(whole / 3_600_000), Math.floor(whole / 60_000) % 60, Math.floor(whole / 1000) % 60];
  return `${parts.map(two).join(":")}${point}${String(whole % 1000).padStart(3, "0")}`;
}

function blocks(words, joiner, point, change) {
  return cues(words, joiner).map((cue, index) => {
    const times = `${stamp(cue.start, point)} --> ${stamp(cue.end, point)}`;
    return [index + 1, times, ...wrap(cue.text).map(change), ""].join("\n");
  });
}

export const srt = (words, joiner) => blocks(words, joiner, ",", (line) => line).join("\n") || "\n";

export function vtt(words, joiner) {
  const escape = (line) => line.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  return ["WEBVTT\n", ...blocks(words, joiner, ".", escape)].join("\n");
}

export function ctm(words, name) {
  const recording = name.split(/\s+/).filter(Boolean).join("_") || "-";
  const row = ({ text, start, end, confidence }) =>
    `${recording} 1 ${start.toFixed(3)} ${(end - start).toFixed(3)} ${text} ${confidence.toFixed(3)}\n`;
  return words.map(row).join("");
}

/** Return a TextGrid with one tier of words; silences are intervals without text. */
export function textgrid(words, joiner, duration) {
  const end = Math.max(duration, SHORTEST_SECONDS, ...words.slice(-1).map((word) => word.end));
  const intervals = filled(merged(words, joiner), end);
  const number = (value) => (Number.isInteger(value) ? value.toFixed(1) : String(value));
  const head = `File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0.0
xmax = ${number(end)}
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0.0
        xmax = ${number(end)}
        intervals: size = ${intervals.length}
`;
  const rows = intervals.map(
    ({ text, start, end: stop }, index) => `        intervals [${index + 1}]:
            xmin = ${number(start)}
            xmax = ${number(stop)}
            text = "${text.replaceAll('"', '""')}"
`,
  );
  return head + rows.join("");
}

/** Return the words with those too short for an interval joined to the next, or to the last. */
function merged(words, joiner) {
  const found = [];
  let waiting = [];
  for (const word of words) {
    waiting.push(word);
    if (word.end - word.start < SHORTEST_SECONDS) continue;
    found.push({ ...word, text: waiting.map((one) => one.text).join(joiner) });
    waiting = [];
  }
  const last = found.pop();
  if (last === undefined) return [];
  return [...found, { ...last, text: [last, ...waiting].map((one) => one.text).join(joiner) }];
}

/** Return intervals that cover the time from 0 to `end` without gaps. */
function filled(words, end) {
  const found = [];
  let position = 0;
  for (const word of words) {
    if (word.start > position) found.push({ text: "", start: position, end: word.start });
    found.push(word);
    position = word.end;
  }
  if (end > position) found.push({ text: "", start: position, end });
  return found;
}
