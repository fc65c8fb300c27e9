// A text field that filters a list: the ARIA pattern "editable combobox with list autocomplete".

import { element, icon } from "./dom.js";

const PAGE = 8;

/** Return a text as it is compared: without case, accents and apostrophes. */
export function fold(text) {
  return text
    .normalize("NFD")
    .replace(/[\p{M}'’ʼ]/gu, "")
    .toLocaleLowerCase("en");
}

/**
 * A combobox. Options are `{value, label, native, note, keys}`: what is shown, and further texts by
 * which it is found.
 */
export class Combobox {
  constructor(box, { id, noun, changed }) {
    this.noun = noun;
    this.changed = changed;
    this.options = [];
    this.shown = [];
    this.active = -1;
    this.value = "";
    this.list = element("ul", { id: `${id}-list`, role: "listbox", "aria-label": noun, hidden: true });
    this.count = element("span", { class: "unseen", role: "status" });
    this.input = element("input", {
      id,
      type: "text",
      role: "combobox",
      autocomplete: "off",
      spellcheck: "false",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": this.list.id,
      disabled: true,
    });
    box.append(this.input, icon("open"), this.list, this.count);
    this.input.addEventListener("click", () => this.open());
    this.input.addEventListener("input", () => this.filter());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => this.close());
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) this.choose(this.shown[Number(row.dataset.index)]);
    });
  }

  /** Set the options, and the value that is chosen at first. */
  fill(options, value) {
    this.options = options.map((option) => ({
      ...option,
      folded: [option.label, option.native, ...(option.keys ?? [])].filter(Boolean).map(fold),
    }));
    this.input.disabled = false;
    this.choose(this.options[0], false);
    this.set(value);
  }

  /** Choose a value, if there is such an option, without a call of `changed`. */
  set(value) {
    this.choose(this.options.find((option) => option.value === value), false);
  }

  get chosen() {
    return this.options.find((option) => option.value === this.value);
  }

  choose(option, isNew = true) {
    if (option === undefined) return;
    this.value = option.value;
    this.hide();
    this.input.value = option.label;
    if (isNew) this.changed?.(option);
  }

  open() {
    if (!this.list.hidden) return;
    // Typing replaces the text. A click into a selection would drop it, after its event.
    setTimeout(() => this.input.select());
    this.show(this.options);
    this.move(this.shown.findIndex((option) => option.value === this.value));
  }

  filter() {
    const wanted = fold(this.input.value.trim());
    const rank = (option) => {
      if (option.folded.some((text) => text === wanted)) return 0;
      if (option.folded.some((text) => text.startsWith(wanted))) return 1;
      return option.folded.some((text) => text.includes(wanted)) ? 2 : 3;
    };
    const ranked = this.options.map((option) => [rank(option), option]).filter(([r]) => r < 3);
    if (wanted) ranked.sort((a, b) => a[0] - b[0]); // stable: the order of the list otherwise
    this.show(ranked.map(([, option]) => option));
    this.move(this.shown.length && wanted ? 0 : -1);
    this.count.textContent = `${this.shown.length} of ${this.options.length}`;
  }

  show(options) {
    this.shown = options;
    this.list.replaceChildren(
      ...options.map((option, index) =>
        element(
          "li",
          {
            id: `${this.list.id}-${index}`,
            role: "option",
            "data-index": String(index),
            "aria-selected": String(option.value === this.value),
          },
          element("span", { class: "label" }, option.label),
          element("bdi", { class: "native", lang: option.lang }, option.native ?? ""),
          element("span", { class: "note" }, option.note ?? ""),
        ),
      ),
    );
    if (!options.length) {
      const text = `Nothing matches “${this.input.value.trim()}”.`;
      this.list.append(element("li", { class: "none", role: "option", "aria-disabled": "true", "aria-selected": "false" }, text));
    }
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
  }

  hide() {
    this.list.hidden = true;
    this.active = -1;
    this.count.textContent = "";
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  close() {
    if (this.list.hidden) return;
    this.hide();
    this.input.value = this.chosen?.label ?? "";
  }

  move(index) {
    this.list.children[this.active]?.classList.remove("active");
    this.active = Math.max(-1, Math.min(index, this.shown.length - 1));
    const row = this.shown.length ? this.list.children[this.active] : undefined;
    if (row) {
      row.classList.add("active");
      this.input.setAttribute("aria-activedescendant", row.id);
      row.scrollIntoView({ block: "nearest" });
    } else this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const isOpen = !this.list.hidden;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE };
    if (event.key in moves) {
      if (isOpen) this.move(Math.max(0, this.active + moves[event.key]));
      else this.open();
    } else if (event.key === "Enter" && isOpen) this.choose(this.shown[this.active]);
    else if (event.key === "Escape" && isOpen) this.close();
    else return;
    event.preventDefault();
  }
}
