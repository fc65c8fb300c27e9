// Small helpers for elements, notices, times and files.

export const byId = (id) => document.getElementById(id);

/** Return a new element; `class`, `data-…`, `aria-…` and other attributes, then its children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Return an icon of the sprite. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Show a message in a notice, with buttons; an empty message hides it. */
export function notify(notice, message, actions = {}) {
  notice.replaceChildren();
  notice.hidden = !message;
  if (!message) return;
  notice.append(element("p", {}, message));
  for (const [label, act] of Object.entries(actions)) {
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => {
      notify(notice, "");
      act();
    });
    notice.append(button);
  }
}

/** Set the icon and the label of a button. */
export function face(button, name, label) {
  button.querySelector("use").setAttribute("href", `#icon-${name}`);
  button.querySelector("span").textContent = label;
}

/** Return seconds as 1:02 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** Save a blob or a text under a name. */
export function save(content, name, type = "text/plain;charset=utf-8") {
  const url = URL.createObjectURL(new Blob([content], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Fill a group with a download button per format; `formats` maps a label to a function. */
export function downloads(group, formats) {
  group.replaceChildren(element("span", {}, "Download"));
  for (const [label, act] of Object.entries(formats)) {
    const button = element("button", { type: "button", class: "quiet" }, label);
    button.addEventListener("click", act);
    group.append(button);
  }
}

/** Enable or disable every button of a group. */
export function enable(group, isEnabled) {
  for (const button of group.querySelectorAll("button")) button.disabled = !isEnabled;
}

/** Remember a choice in this browser, where it has storage. */
export const remembered = {
  get: (name) => localStorage.getItem(name) ?? "",
  set: (name, value) => localStorage.setItem(name, value),
};
