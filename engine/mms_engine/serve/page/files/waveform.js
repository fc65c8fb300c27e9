// A recording as its peaks on a canvas, with the position of playback.

const BAR = 2;
const GAP = 1;
const LEAST = 0.02;

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.samples = new Float32Array(0);
    this.duration = 0;
    this.position = 0;
    new ResizeObserver(() => this.measure()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    document.addEventListener("themechange", () => this.draw());
  }

  /** Set the samples, at any rate, and their duration in seconds. */
  set(samples, duration) {
    this.samples = samples;
    this.duration = duration;
    this.frame ??= requestAnimationFrame(() => this.measure());
  }

  /** Set the position in seconds. */
  at(position) {
    this.position = position;
    this.draw();
  }

  measure() {
    this.frame = undefined;
    const ratio = devicePixelRatio;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.peaks = peaks(this.samples, Math.floor(width / (BAR + GAP)));
    this.draw();
  }

  draw() {
    if (!this.peaks) return;
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    const style = getComputedStyle(this.canvas);
    const step = (BAR + GAP) * devicePixelRatio;
    const loudest = Math.max(...this.peaks, LEAST);
    const played = this.duration ? (this.position / this.duration) * width : 0;
    context.clearRect(0, 0, width, height);
    this.peaks.forEach((peak, index) => {
      const tall = Math.max(devicePixelRatio, (peak / loudest) * height * 0.94);
      context.fillStyle = style.getPropertyValue(index * step < played ? "--accent" : "--wave");
      context.fillRect(index * step, (height - tall) / 2, BAR * devicePixelRatio, tall);
    });
  }
}

/** Return the highest absolute value in each of `count` equal parts. */
function peaks(samples, count) {
  return Array.from({ length: count }, (_, index) => {
    const begin = Math.floor((index * samples.length) / count);
    const end = Math.floor(((index + 1) * samples.length) / count);
    let peak = 0;
    for (let i = begin; i < end; i++) peak = Math.max(peak, Math.abs(samples[i]));
    return peak;
  });
}
