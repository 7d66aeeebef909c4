// The page: buttons, messages, and the way of the sound from its source through the spotter to what is shown.

import { Recognizer } from "./recognizer.mjs";
import { SoundError, microphone, recording } from "./sound.mjs";
import { Spotter } from "./spotter.mjs";
import { View } from "./view.mjs";

const LATER = ["./", "icon.svg", "recorder.mjs"]; // what isn't among the resources of a page that was only opened
const UNSAFE = "A browser gives the microphone only to pages of this computer or over https: open this one at 127.0.0.1.";

const byId = (id) => document.getElementById(id);
let recognizer;
let view;
let running = Promise.resolve(); // until what is being heard has ended
let stopping = new AbortController();

/** Hear a source instead of what is being heard. */
function start(open, name) {
  stopping.abort();
  const { signal } = (stopping = new AbortController());
  running = running.then(() => signal.aborted || run(open, name, signal));
}

async function run(open, name, signal) {
  say(`Opening ${name}…`);
  byId("listen").textContent = "Stop";
  try {
    const count = await hear(await open(), signal, () => say(`Hearing ${name}…`));
    say(`${name}: ${count === 1 ? "one word" : `${count} words`} heard.`);
  } catch (error) {
    say("");
    complain(error);
  }
  view.end();
  byId("listen").textContent = "Listen";
  byId("waiting").hidden = byId("progress").hidden = true;
}

/** From a stream of sound to words; gives how many there were. */
async function hear(sound, signal, onStart) {
  const { labels, thresholds, audio, listen } = recognizer;
  const spotter = new Spotter((window) => recognizer.score(window), labels, thresholds, audio, listen);
  const reader = sound.getReader();
  signal.onabort = () => reader.cancel();
  if (signal.aborted) reader.cancel();
  let count = 0;
  const show = (detections) => {
    detections.forEach((detection) => view.word(detection));
    count += detections.length;
    view.scores(spotter.averages);
  };
  view.clear();
  onStart();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      view.sound(next.value);
      show(await spotter.feed(next.value));
    }
  } finally {
    signal.onabort = null;
    await reader.cancel().catch(() => {}); // a stream that broke off would only say so again
    show(await spotter.finish());
  }
  return count;
}

function say(text) {
  byId("status").textContent = text;
  byId("problem").hidden = true;
}

function complain(error) {
  if (!(error instanceof SoundError)) console.error(error);
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
}

function showWaiting(waitingS) {
  const seconds = Math.floor(waitingS);
  byId("waiting").hidden = seconds === 0;
  byId("waiting").textContent = `Scoring is ${seconds} s behind; nothing is lost yet.`;
}

function showProgress(share) {
  byId("progress").hidden = false;
  byId("progress").value = share;
}

/** Have the service worker keep all that the page was made of. */
async function keepCopy() {
  if (!navigator.serviceWorker) return; // some private windows have none
  navigator.serviceWorker.onmessage = () => (byId("offline").hidden = false);
  await navigator.serviceWorker.register("sw.js");
  const { active } = await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  active.postMessage([...new Set([...LATER.map((address) => new URL(address, document.baseURI).href), ...loaded])]);
}

async function open() {
  if (!isSecureContext) throw new SoundError(UNSAFE);
  recognizer = await Recognizer.load("bundle");
  view = new View(recognizer);
  const rateHz = recognizer.audio.sample_rate_hz;
  byId("listen").onclick = () => {
    if (byId("listen").textContent === "Stop") stopping.abort();
    else start(() => microphone(rateHz, showWaiting), "the microphone");
  };
  byId("file").onclick = ({ target }) => (target.value = ""); // so that the same file can be chosen again
  byId("file").onchange = ({ target }) => {
    const [file] = target.files;
    if (file) start(() => recording(file, rateHz, showProgress), file.name);
  };
  byId("listen").disabled = byId("file").disabled = false;
  say("Ready.");
}

async function main() {
  try {
    await open();
  } catch (error) {
    say("The recogniser can't be used.");
    complain(error);
    return;
  }
  await keepCopy();
}

await main();
