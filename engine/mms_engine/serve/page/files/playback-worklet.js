// Playback of blocks that arrive while they are played; reports its position.

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.blocks = [];
    this.place = 0; // in the first block
    this.played = 0;
    this.isComplete = false;
    this.port.onmessage = ({ data }) => {
      if (data === "complete") this.isComplete = true;
      else this.blocks.push(data);
    };
  }

  process(_, [[output]]) {
    for (let i = 0; i < output.length && this.blocks.length; i++) {
      output[i] = this.blocks[0][this.place++];
      this.played++;
      if (this.place === this.blocks[0].length) {
        this.blocks.shift();
        this.place = 0;
      }
    }
    this.port.postMessage(this.played);
    if (!this.blocks.length && this.isComplete) {
      this.port.postMessage("ended");
      return false;
    }
    return true;
  }
}

registerProcessor("playback", Playback);
