// Start of the page: its tabs, its theme, and the parts that the server has.

import { Combobox } from "./combobox.js";
import { byId, notify, remembered } from "./dom.js";
import { Languages } from "./languages.js";
import { Live } from "./live.js";
import { Recording } from "./recording.js";
import { getJson, untilReady } from "./server.js";
import { Speech } from "./speech.js";

const STATES = {
  loading: "The server is loading its models. The page goes on when they are ready.",
  draining: "The server is about to stop, and takes no new work.",
  failed: "The server's device has failed. Its log has the cause.",
  unreachable: "The server cannot be reached. Trying again …",
};
const THEMES = ["auto", "light", "dark"];

function startTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const select = (tab) => {
    for (const one of tabs) {
      const isChosen = one === tab;
      one.setAttribute("aria-selected", String(isChosen));
      one.tabIndex = isChosen ? 0 : -1;
      byId(one.getAttribute("aria-controls")).hidden = !isChosen;
    }
    history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
  };
  tabs.forEach((tab) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const shown = tabs.filter((one) => !one.hidden);
      const place = shown.indexOf(tab);
      const places = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: -1 };
      if (!(event.key in places)) return;
      const next = shown.at(places[event.key] % shown.length);
      select(next);
      next.focus();
      event.preventDefault();
    });
  });
  const asked = () => byId(`tab-${location.hash.slice(1)}`);
  const follow = () => asked() && !asked().hidden && select(asked());
  window.addEventListener("hashchange", follow);
  return follow;
}

function startTheme() {
  const button = byId("theme");
  let theme = remembered.get("theme") || "auto";
  const show = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
    document.dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remembered.set("theme", theme);
    show();
  });
  show();
}

/** Colour words where it is asked for, and show what the colours mean. */
function startColours() {
  for (const name of ["live", "file"]) {
    const box = byId(`${name}-colour`);
    box.addEventListener("change", () => {
      byId(name).classList.toggle("coloured", box.checked);
      byId(name).querySelector(".legend").hidden = !box.checked;
    });
  }
}

/** Return the two pickers of a language, which follow each other. */
function languagePickers(languages) {
  const pickers = ["live", "file"].map(
    (name) =>
      new Combobox(byId(`${name}-language-box`), {
        id: `${name}-language`,
        noun: "Languages",
        changed: ({ value }) => {
          remembered.set("language", value);
          for (const one of pickers) one.set(value);
        },
      }),
  );
  for (const picker of pickers) picker.fill(languages.options, languages.usual);
  return pickers;
}

async function start() {
  const notice = byId("server-notice");
  const followHash = startTabs();
  startTheme();
  startColours();
  await untilReady((state) => notify(notice, STATES[state] ?? `The server is ${state}.`));
  notify(notice, "");
  try {
    const languages = await Languages.load();
    const [live, file] = languagePickers(languages);
    new Live(live, languages);
    new Recording(file, languages);
    if (languages.tasks.includes("speak")) {
      const voices = await getJson("v1/voices");
      new Speech(voices.data, voices.default);
      byId("tab-speech").hidden = false;
    }
  } catch (error) {
    notify(notice, error.message, { "Try again": () => location.reload() });
  }
  followHash();
}

start();
