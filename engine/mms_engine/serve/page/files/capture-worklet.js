// Audio of the microphone in blocks of 40 ms, as 16-bit samples with their peak.

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    const quanta = Math.max(1, Math.round((0.04 * sampleRate) / 128));
    this.block = new Float32Array(128 * quanta);
    this.filled = 0;
  }

  process([channels]) {
    if (!channels.length) return true;
    const size = channels[0].length;
    for (let i = 0; i < size; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = sum / channels.length;
      if (this.filled === this.block.length) this.post();
    }
    return true;
  }

  post() {
    const samples = new Int16Array(this.filled);
    let peak = 0;
    for (let i = 0; i < this.filled; i++) {
      const value = Math.max(-1, Math.min(1, this.block[i]));
      samples[i] = Math.round(value * 32767);
      peak = Math.max(peak, Math.abs(value));
    }
    this.filled = 0;
    this.port.postMessage({ samples, peak }, [samples.buffer]);
  }
}

registerProcessor("capture", Capture);
