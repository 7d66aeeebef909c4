// A bundle in LiteRT.js: what pipeline/device/recognizer.py is in Python.

import { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";

const FORMAT = 2;
const DESCRIPTION = "commands.json";
const FILE = "commands.tflite";

/** A bundle can't be used; the message says why, and what to do. */
export class BundleError extends Error {}

export class Recognizer {
  #model;

  constructor(model, { labels, thresholds, audio, listen }) {
    this.#model = model;
    Object.assign(this, { labels, thresholds, audio, listen });
  }

  /** Open the bundle at an address: its format and the file's hash are checked. */
  static async load(address) {
    const description = JSON.parse(new TextDecoder().decode(await content(`${address}/${DESCRIPTION}`)));
    if (description.format !== FORMAT) {
      throw new BundleError(
        `The bundle is of format ${description.format}, and this page reads format ${FORMAT}; make the bundle again.`,
      );
    }
    const file = await content(`${address}/${FILE}`);
    if ((await sha256(file)) !== description.sha256[FILE]) {
      throw new BundleError(`${FILE} is not the file that ${DESCRIPTION} describes. Reload; else make the bundle again.`);
    }
    await loadLiteRt(new URL("node_modules/@litertjs/core/wasm/", document.baseURI).href);
    return new Recognizer(await loadAndCompile(file, { accelerator: "wasm" }), description);
  }

  /** Scores `(labels)` of one window, Float32Array `(clip samples)`. */
  async score(window) {
    const input = new Tensor(window, [1, window.length]);
    const [output] = await this.#model.run([input]);
    const scores = output.toTypedArray().slice();
    input.delete();
    output.delete();
    return scores;
  }
}

async function content(address) {
  const response = await fetch(address);
  if (!response.ok) throw new BundleError(`${address}: the server says ${response.status} ${response.statusText}.`);
  return new Uint8Array(await response.arrayBuffer());
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
