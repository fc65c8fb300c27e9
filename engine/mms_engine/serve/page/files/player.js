// A player: button, waveform and time. Plays a file, or shows what another source plays.

import { clock, element, icon } from "./dom.js";
import { Waveform } from "./waveform.js";

const STEP_SECONDS = 2;

export class Player {
  constructor(root, { label, moved = () => {}, failed = () => {} }) {
    this.root = root;
    this.moved = moved;
    this.audio = new Audio();
    this.button = element("button", { type: "button", class: "icon" }, icon("play"));
    this.canvas = element("canvas", { role: "slider", tabindex: "0", "aria-label": label });
    this.time = element("span", { class: "figure" });
    this.waveform = new Waveform(this.canvas);
    root.replaceChildren(this.button, this.canvas, this.time);
    this.button.addEventListener("click", () => this.toggle());
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.point(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.audio.addEventListener("play", () => this.follow());
    this.audio.addEventListener("pause", () => this.show());
    this.audio.addEventListener("seeked", () => this.show());
    this.audio.addEventListener("error", () => {
      if (!this.audio.getAttribute("src")) return;
      this.canPlay(false);
      failed();
    });
    this.canPlay(false);
  }

  /** Load a file or blob, of which the samples may be known. */
  load(blob) {
    this.unload();
    this.url = URL.createObjectURL(blob);
    this.audio.src = this.url;
    this.canPlay(true);
    this.show();
  }

  unload() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
    this.canPlay(false);
  }

  canPlay(can) {
    this.button.disabled = !can;
    this.canvas.setAttribute("aria-disabled", String(!can));
    this.showFace();
  }

  showFace() {
    const isPaused = this.audio.paused;
    this.button.querySelector("use").setAttribute("href", isPaused ? "#icon-play" : "#icon-pause");
    this.button.setAttribute("aria-label", isPaused ? "Play" : "Pause");
  }

  toggle() {
    if (this.audio.paused) this.audio.play();
    else this.audio.pause();
  }

  /** Play from a time in seconds. */
  playFrom(seconds) {
    if (this.button.disabled) return;
    this.audio.currentTime = seconds;
    this.audio.play();
  }

  seek(seconds) {
    if (this.button.disabled) return;
    this.audio.currentTime = Math.max(0, Math.min(seconds, this.waveform.duration));
  }

  point(event) {
    const { left, width } = this.canvas.getBoundingClientRect();
    this.seek(((event.clientX - left) / width) * this.waveform.duration);
  }

  key(event) {
    const now = this.audio.currentTime;
    const targets = {
      ArrowLeft: now - STEP_SECONDS,
      ArrowDown: now - STEP_SECONDS,
      ArrowRight: now + STEP_SECONDS,
      ArrowUp: now + STEP_SECONDS,
      Home: 0,
      End: this.waveform.duration,
    };
    if (event.key === " " || event.key === "Enter") {
      if (!this.button.disabled) this.toggle();
    } else if (event.key in targets) this.seek(targets[event.key]);
    else return;
    event.preventDefault();
  }

  follow() {
    this.show();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  show() {
    this.showFace();
    this.showAt(this.audio.currentTime);
    this.moved(this.audio.currentTime, !this.audio.paused);
  }

  /** Show a position in seconds. */
  showAt(seconds) {
    const { duration } = this.waveform;
    this.waveform.at(seconds);
    this.time.textContent = `${clock(seconds)} / ${clock(duration)}`;
    this.canvas.setAttribute("aria-valuemin", "0");
    this.canvas.setAttribute("aria-valuemax", duration.toFixed(1));
    this.canvas.setAttribute("aria-valuenow", Math.min(seconds, duration).toFixed(1));
    this.canvas.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(duration)}`);
  }
}
