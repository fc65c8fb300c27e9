// The microphone as blocks of 16-bit samples.

import { address } from "./server.js";

const RATE = 16_000;
const REASONS = {
  NotAllowedError:
    "This page may not use the microphone. Allow it in the browser's settings for this site, then start again.",
  NotFoundError: "No microphone was found. Connect one, then start again.",
  OverconstrainedError: "The chosen microphone is not connected. Choose another one.",
  NotReadableError: "The microphone cannot be opened: another program may be using it.",
};

/** Return the message for an error of `Microphone.open`. */
export const microphoneMessage = (error) =>
  REASONS[error.name] ?? `The microphone cannot be used: ${error.message}`;

export class Microphone {
  constructor(media, context) {
    this.media = media;
    this.context = context;
    /** Samples per second. */
    this.rate = context.sampleRate;
  }

  /**
   * Open a microphone; throws where there is none, or the page may not use it.
   *
   * `heard` gets each block and its peak, `ended` is called when the device goes away.
   */
  static async open({ device, clean, heard, ended }) {
    if (!navigator.mediaDevices) {
      throw new Error("browsers allow it only on pages of HTTPS or of this computer (localhost).");
    }
    const media = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: device ? { exact: device } : undefined,
        channelCount: 1,
        echoCancellation: clean,
        noiseSuppression: clean,
        autoGainControl: clean,
      },
    });
    const track = media.getAudioTracks()[0];
    try {
      const [context, source] = connect(media);
      await context.audioWorklet.addModule(address("page/capture-worklet.js"));
      const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
      node.port.onmessage = ({ data }) => heard(data.samples, data.peak);
      source.connect(node);
      await context.resume();
      track.addEventListener("ended", ended);
      return new Microphone(media, context);
    } catch (error) {
      track.stop();
      throw error;
    }
  }

  close() {
    for (const track of this.media.getTracks()) track.stop();
    this.context.close();
  }
}

/** Return a context and its source: at 16 kHz, or at the rate of the device where that fails. */
function connect(media) {
  const context = new AudioContext({ sampleRate: RATE });
  try {
    return [context, context.createMediaStreamSource(media)];
  } catch {
    context.close(); // some browsers do not resample a microphone; the server does
    const own = new AudioContext();
    return [own, own.createMediaStreamSource(media)];
  }
}
