// Where sound comes from: streams of Float32Array, mono, in [-1, 1], at the rate that is asked for. Cancelling a stream
// ends it.

const MOST_WAITING_S = 30;
const PIECE_S = 5; // of a file: scored at a stretch, in well under a tenth of a second

/** Why there is no sound, in words for the person in front of the page. */
export class SoundError extends Error {}

const REFUSALS = {
  NotAllowedError: "The microphone was refused. Allow it for this page, beside the address, and press Listen again.",
  NotFoundError: "There is no microphone. Plug one in and press Listen again, or choose a file.",
  NotReadableError: "The microphone can't be opened; another program may be using it.",
};

/**
 * What the microphone hears, as it is: no echo cancellation, no noise suppression, no gain control.
 *
 * What isn't read yet waits, and `onWaiting` is told how many seconds of it do; when that are too many, the stream ends
 * with an error rather than with a gap.
 */
export async function microphone(rateHz, onWaiting) {
  const context = new AudioContext({ sampleRate: rateHz });
  let device;
  const close = async () => {
    device?.getTracks().forEach((track) => track.stop());
    await context.close();
  };
  try {
    device = await openDevice();
    const recorder = await record(device, context);
    await context.resume(); // some browsers begin with a pause
    return pieces(recorder, device, context, onWaiting, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function openDevice() {
  const asIs = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: asIs });
  } catch (error) {
    throw new SoundError(REFUSALS[error.name] ?? `The microphone can't be opened: ${error.message}`);
  }
}

async function record(device, context) {
  await context.audioWorklet.addModule("recorder.mjs");
  const recorder = new AudioWorkletNode(context, "recorder", { channelCount: 1, channelCountMode: "explicit" });
  try {
    context.createMediaStreamSource(device).connect(recorder);
  } catch (error) {
    if (error.name !== "NotSupportedError") throw error;
    const rateHz = context.sampleRate;
    throw new SoundError(`This browser can't bring the microphone to ${rateHz} Hz. Use another one, or choose a file.`);
  }
  recorder.connect(context.destination); // only so it is run; what it gives is silence
  return recorder;
}

function pieces(recorder, device, context, onWaiting, close) {
  const cancel = () => {
    recorder.port.onmessage = context.onstatechange = null;
    return close();
  };
  const start = (controller) => {
    const fail = (message) => {
      controller.error(new SoundError(message));
      cancel();
    };
    recorder.port.onmessage = ({ data }) => {
      controller.enqueue(data);
      const waitingS = -controller.desiredSize / context.sampleRate;
      onWaiting(waitingS);
      if (waitingS > MOST_WAITING_S) fail("This device can't score as fast as it hears; listening was stopped.");
    };
    device.getAudioTracks()[0].onended = () => fail("The microphone is gone: unplugged, or taken away.");
    context.onstatechange = () => {
      if (context.state !== "running") fail("The browser stopped the sound. Press Listen to go on.");
    };
  };
  return new ReadableStream({ start, cancel }, { highWaterMark: 0, size: (piece) => piece.length });
}

/** The sound of a file, if the browser can decode it; `onProgress` is told the share of it that was read. */
export async function recording(file, rateHz, onProgress) {
  const samples = mono(await decode(file, rateHz));
  let start = 0;
  const pull = async (controller) => {
    await new Promise((resolve) => setTimeout(resolve)); // so that the page stays alive
    const piece = samples.subarray(start, start + PIECE_S * rateHz);
    start += piece.length;
    onProgress(start / samples.length);
    controller.enqueue(piece);
    if (start === samples.length) controller.close();
  };
  return new ReadableStream({ pull }, { highWaterMark: 0 });
}

async function decode(file, rateHz) {
  const decoder = new OfflineAudioContext(1, 1, rateHz); // decodes to its own rate
  try {
    return await decoder.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new SoundError(`${file.name}: this browser can't decode it as sound.`);
  }
}

function mono(sound) {
  const channels = Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel));
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, n) => channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length);
}
