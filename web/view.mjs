// All that is shown of what was heard. Words come from a stranger's bundle: they are text, never markup.

import { Spectrogram } from "./spectrogram.mjs";
import { loudest } from "./spotter.mjs";

const MOST_ROWS = 200; // of words; older ones go
const QUIETEST_DB = -80;
const FALL_DB_PER_S = 20; // how fast the level falls after a peak

const byId = (id) => document.getElementById(id);

export class View {
  #rateHz;
  #bars;
  #averages = [];
  #level = 0;
  #spectrogram;
  #isDue = false;

  constructor({ labels, thresholds, audio, listen }) {
    this.#rateHz = audio.sample_rate_hz;
    this.#spectrogram = new Spectrogram(byId("spectrogram"), audio.sample_rate_hz);
    byId("words").textContent = Object.keys(thresholds).join(", ");
    byId("smoothing").textContent = `${listen.smoothing_ms / 1000} s`;
    byId("gate").style.left = `${share(listen.gate_dbfs)}%`;
    this.#bars = labels.map((label) => bar(label, Object.hasOwn(thresholds, label) ? thresholds[label] : null));
    byId("scores").replaceChildren(...this.#bars.map(({ row }) => row));
    this.clear();
  }

  clear() {
    this.#averages = this.#bars.map(() => 0);
    this.#level = 0;
    this.#spectrogram.clear();
    byId("heard").replaceChildren();
    byId("latest").textContent = "–";
    this.#draw();
  }

  sound(samples) {
    this.#spectrogram.add(samples);
    const fallDb = (FALL_DB_PER_S * samples.length) / this.#rateHz;
    const latest = samples.subarray(-this.#rateHz / 10);
    this.#level = Math.max(loudest(latest), this.#level * 10 ** (-fallDb / 20));
    this.#draw();
  }

  /** The sound has ended. */
  end() {
    this.#level = 0;
    this.#draw();
  }

  scores(averages) {
    this.#averages = averages;
    this.#draw();
  }

  word(detection) {
    this.#spectrogram.word(detection);
    const { word, start_s, end_s, score } = detection;
    const row = element("li");
    const when = `${clock(start_s)} – ${clock(end_s)}`;
    row.append(element("span", "word", word), " ", element("span", "when number", when), " ");
    row.append(element("span", "number", score.toFixed(2)));
    byId("heard").prepend(row);
    while (byId("heard").children.length > MOST_ROWS) byId("heard").lastChild.remove();
    byId("latest").replaceChildren(element("span", "fresh", word));
  }

  /** At most once a frame, and not at all while nobody sees the page. */
  #draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#spectrogram.draw();
      this.#bars.forEach(({ set }, label) => set(this.#averages[label]));
      const decibels = 20 * Math.log10(this.#level);
      byId("level").style.width = `${share(decibels)}%`;
      byId("decibels").textContent = decibels < QUIETEST_DB ? "silent" : `${decibels.toFixed(0)} dBFS`;
    });
  }
}

/** A row for one label's score, with a mark where its threshold is. */
function bar(label, threshold) {
  const [fill, value] = [element("span", "fill"), element("span", "number")];
  const track = element("span", "track");
  track.append(fill);
  if (threshold !== null) {
    const mark = element("span", "mark");
    mark.style.left = `${100 * threshold}%`;
    track.append(mark);
  }
  const row = element("li", "bar");
  row.append(element("span", "label", label), track, value);
  const set = (score) => {
    fill.style.width = `${100 * score}%`;
    value.textContent = score.toFixed(2);
  };
  return { row, set };
}

function share(decibels) {
  return 100 * Math.max(0, Math.min(1, 1 - decibels / QUIETEST_DB));
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

/** Minutes, seconds and milliseconds; hours where there are some. */
function clock(timeS) {
  const ms = Math.round(1000 * timeS);
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const [hours, minutes] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60];
  const shown = hours ? `${hours}:${two(minutes)}` : minutes;
  return `${shown}:${two((ms / 1000) % 60)}.${String(ms % 1000).padStart(3, "0")}`;
}
