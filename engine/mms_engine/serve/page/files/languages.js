// The languages of the server, as options of a combobox.

import { remembered } from "./dom.js";
import { getJson } from "./server.js";

const SCRIPTS = new Intl.DisplayNames(["en"], { type: "script" });

/** The languages: options, the tag of each code, and the tasks of the server. */
export class Languages {
  constructor(answer) {
    this.tasks = answer.tasks;
    this.rows = answer.data;
    this.byCode = new Map(this.rows.map((row) => [row.code, row]));
    this.options = this.rows.map(option).sort((a, b) => a.label.localeCompare(b.label, "en"));
    if (this.tasks.includes("identify") && this.rows.length > 1) {
      const keys = ["identify", "detect"];
      this.options.unshift({ value: "auto", label: "Identify automatically", note: "auto", keys });
    }
  }

  static async load() {
    return new Languages(await getJson("v1/languages"));
  }

  /** Return the name of a code. */
  name(code) {
    const row = this.byCode.get(code);
    return row ? label(row) : code;
  }

  /** Return the BCP 47 tag of a code, for fonts and screen readers. */
  tag(code) {
    return this.byCode.get(code)?.bcp47 ?? "";
  }

  /** Return the choice of last time, else `auto`, else the first language of the browser. */
  get usual() {
    const last = remembered.get("language");
    if (this.options.some((one) => one.value === last)) return last;
    if (this.options[0]?.value === "auto") return "auto";
    const wanted = navigator.languages.map((tag) => tag.split("-")[0]);
    const found = this.rows.find((row) => wanted.includes(row.iso639_1));
    return found?.code ?? this.options[0]?.value;
  }
}

function label(row) {
  const variant = row.code.split("-").slice(1).join("-");
  if (!variant) return row.name || row.code;
  const [kind, value] = variant.split("_");
  const shown = kind === "script" && row.script ? SCRIPTS.of(row.script) : value;
  return `${row.name || row.code} (${shown ?? variant})`;
}

/** Return a language, or a voice with the same fields, as an option. */
export function option(row) {
  return {
    value: row.id ?? row.code,
    label: label(row),
    native: row.native === row.name ? "" : row.native,
    lang: row.bcp47,
    note: [row.country, row.code].filter(Boolean).join(" · "),
    keys: [row.code, row.iso639_1, row.iso639_3, row.bcp47, row.country].filter(Boolean),
  };
}
