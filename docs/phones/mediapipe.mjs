// A bundle in MediaPipe's AudioClassifier, in its clip mode. The rule is in web/spotter.mjs: copy it beside this file.
//
// MediaPipe sends figures on its use to Google: ask for consent before you load one.

import { AudioClassifier, FilesetResolver } from "@mediapipe/tasks-audio";
import { Spotter } from "./spotter.mjs";

const FORMAT = 2;
const FILE = "commands.tflite";

export class MediaPipe {
  #address;
  #description;
  #classifier;

  constructor(address, description, classifier) {
    this.#address = address;
    this.#description = description;
    this.#classifier = classifier;
  }

  /** Open the bundle at an address, with MediaPipe's wasm folder at another; a bundle of another format is refused. */
  static async load(address, wasm) {
    const description = await (await fetched(`${address}/commands.json`)).json();
    if (description.format !== FORMAT) {
      throw new Error(`commands.json: format ${description.format}, and this code reads format ${FORMAT}`);
    }
    const files = await FilesetResolver.forAudioTasks(wasm);
    return new MediaPipe(address, description, await AudioClassifier.createFromModelPath(files, `${address}/${FILE}`));
  }

  get sampleRateHz() {
    return this.#description.audio.sample_rate_hz;
  }

  /** Scores of one window, in the order of the labels; MediaPipe gives them from the best to the worst. */
  score(window) {
    const [{ classifications: [{ categories }] }] = this.#classifier.classify(window, this.sampleRateHz);
    return categories.sort((a, b) => a.index - b.index).map(({ score }) => score);
  }

  /** Hears the bundle's words in a stream. */
  spotter() {
    const { labels, thresholds, audio, listen } = this.#description;
    return new Spotter((window) => this.score(window), labels, thresholds, audio, listen);
  }

  /** Score the golden clips; an error says which score is further off than its tolerance allows. */
  async checkGolden() {
    const { tolerance, clips } = await (await fetched(`${this.#address}/golden/golden.json`)).json();
    for (const { file, scores } of clips) {
      const found = this.score(pcm(await (await fetched(`${this.#address}/golden/${file}`)).arrayBuffer()));
      if (found.length !== scores[FILE].length) throw new Error(`${file}: ${found.length} scores`);
      found.forEach((score, label) => {
        const off = Math.abs(score - scores[FILE][label]);
        const fault = `${file}: ${this.#description.labels[label]} is ${off} off, and ${tolerance[FILE]} is allowed`;
        if (!(off <= tolerance[FILE])) throw new Error(fault); // for NaN too
      });
    }
  }

  close() {
    this.#classifier.close();
  }
}

async function fetched(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: the server says ${response.status}`);
  return response;
}

/** Sound of a golden clip: 16-bit PCM, mono, little-endian, behind a header of 44 bytes. */
function pcm(wav) {
  return Float32Array.from(new Int16Array(wav, 44), (sample) => sample / 32768);
}
