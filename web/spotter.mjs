// Words in sound that goes on: pipeline/device/spot.py for the browser, under the same names. Settings are the
// sections of commands.json as they are. tests/spot_cases.json holds both to one rule.

const SILENCE = "_silence_";
const WORD_SHARE = 0.9; // of a window's energy: what is before and after it isn't the word
const MAX_LEVEL = 16; // mixing in floating point may go beyond full scale, but not by more than 24 dB

/** Cuts a stream into overlapping windows, one a hop, and scores each that isn't silent. Nothing grows. */
export class Windows {
  #score;
  #rateHz;
  #clip;
  #hop;
  #gate;
  #silence;
  #heard; // the sound of all windows that are averaged, silent at first
  #piece; // of a hop that is being filled
  #filled = 0;
  #hops = 0;

  /** `score` gives scores `(labels)` for one window, Float32Array `(clip samples)`, at once or as a promise. */
  constructor(score, labels, audio, listen) {
    this.#score = score;
    this.#rateHz = audio.sample_rate_hz;
    this.#clip = exactDiv(audio.sample_rate_hz * audio.clip_ms, 1000);
    this.#hop = exactDiv(audio.sample_rate_hz * listen.hop_ms, 1000);
    this.#gate = 10 ** (listen.gate_dbfs / 20);
    this.#silence = silence(labels);
    this.#heard = new Float32Array(this.#clip + (smoothingHops(listen) - 1) * this.#hop);
    this.#piece = new Float32Array(this.#hop);
  }

  /** How much it has listened to, in seconds. */
  get timeS() {
    return (this.#hops * this.#hop + this.#filled) / this.#rateHz;
  }

  /** Yield the scores of each window that these samples complete, while `place` is of that window. */
  async *feed(samples) {
    check(samples);
    while (samples.length) {
      const taken = samples.subarray(0, this.#hop - this.#filled);
      this.#piece.set(taken, this.#filled);
      this.#filled += taken.length;
      samples = samples.subarray(taken.length);
      if (this.#filled === this.#hop) {
        this.#filled = 0;
        this.#hops += 1;
        this.#heard.copyWithin(0, this.#hop);
        this.#heard.set(this.#piece, this.#heard.length - this.#hop);
        const window = this.#heard.subarray(-this.#clip);
        yield loudest(window) > this.#gate ? await this.#score(window) : this.#silence;
      }
    }
  }

  /** Let what is still in the windows pass, as if silence followed. */
  async *finish() {
    yield* this.feed(new Float32Array(this.#heard.length + this.#hop - this.#filled));
  }

  /** Start and end, in seconds, of what is loud in the middle one of the windows that are averaged. */
  place() {
    const first = Math.floor((this.#heard.length - this.#clip) / 2);
    const offset = this.#hops * this.#hop - this.#heard.length + first;
    const within = loudPart(this.#heard.subarray(first, first + this.#clip));
    return within.map((sample) => Math.max(0, offset + sample) / this.#rateHz);
  }
}

/**
 * Averages scores over a few windows (Chen, Parada & Heigold 2014), and finds the words in them.
 *
 * Where the best average is that of a word, above its threshold and at its peak, the word is detected; then nothing is
 * for a while, nor the same word before its average was below the threshold again.
 */
export class Trigger {
  #labels;
  #limits;
  #restHops;
  #recent;
  #hops = 0;
  #peak = null;
  #restsUntil = 0; // hop
  #spent; // words whose average has not been below the threshold since

  /** `thresholds`: the average that a word must exceed; a label that has none is never detected. */
  constructor(labels, thresholds, listen) {
    this.#labels = labels;
    this.#limits = labels.map((label) => (Object.hasOwn(thresholds, label) ? thresholds[label] : Infinity));
    this.#restHops = exactDiv(listen.rest_ms, listen.hop_ms);
    this.#recent = Array(smoothingHops(listen)).fill(silence(labels));
    this.#spent = labels.map(() => false);
  }

  /** The scores, averaged: what the thresholds are for. */
  get averages() {
    return this.#labels.map((_, label) => mean(this.#recent.map((scores) => scores[label])));
  }

  /** One hop further: what was a peak until now, if anything. `place` gives the start and end of a word. */
  step(scores, place) {
    this.#hops += 1;
    this.#recent = [...this.#recent.slice(1), scores];
    const averages = this.averages;
    this.#spent = this.#spent.map((spent, label) => spent && averages[label] > this.#limits[label]);
    const best = averages.indexOf(Math.max(...averages));
    const score = averages[best];
    const isHeard = score > this.#limits[best] && !this.#spent[best] && this.#hops > this.#restsUntil;
    if (isHeard && (this.#peak === null || score > this.#peak.detection.score)) {
      const [start_s, end_s] = place();
      this.#peak = { label: best, hop: this.#hops, detection: { word: this.#labels[best], start_s, end_s, score } };
      return [];
    }
    return this.#passed();
  }

  /** The averages are past their peak, if there was one. */
  #passed() {
    if (this.#peak === null) return [];
    const { label, hop, detection } = this.#peak;
    this.#peak = null;
    this.#restsUntil = hop + this.#restHops;
    this.#spent[label] = true;
    return [detection];
  }
}

/** Hears words in a stream: `feed` it pieces of any size, then `finish`; what it hears doesn't depend on the pieces. */
export class Spotter {
  #windows;
  #trigger;
  #last = Promise.resolve();

  constructor(score, labels, thresholds, audio, listen) {
    this.#windows = new Windows(score, labels, audio, listen);
    this.#trigger = new Trigger(labels, thresholds, listen);
  }

  get timeS() {
    return this.#windows.timeS;
  }

  get averages() {
    return this.#trigger.averages;
  }

  /**
   * Listen on: Float32Array of samples in [-1, 1]. Pieces are taken in the order of the calls, awaited or not, so a
   * piece must not be written to again.
   *
   * Gives what has become certain, `[{ word, start_s, end_s, score }]`: that a peak was one is known a hop later.
   */
  feed(samples) {
    return this.#detect(this.#windows.feed(samples));
  }

  /** The sound has ended: let what is still in the windows pass, as if silence followed. */
  finish() {
    return this.#detect(this.#windows.finish());
  }

  #detect(windows) {
    this.#last = this.#last.then(async () => {
      const detections = [];
      for await (const scores of windows) {
        detections.push(...this.#trigger.step(scores, () => this.#windows.place()));
      }
      return detections;
    });
    return this.#last;
  }
}

/** First and last sample of the middle 90 % of the energy: where in it a word is. */
function loudPart(samples) {
  const energy = new Float64Array(samples.length);
  samples.reduce((sum, sample, n) => (energy[n] = sum + sample * sample), 0);
  const outside = (1 - WORD_SHARE) / 2;
  return [outside, 1 - outside].map((share) => energy.findIndex((sum) => sum >= energy.at(-1) * share));
}

/** Refuse numbers that can't be sound in [-1, 1]. */
function check(samples) {
  const level = loudest(samples);
  if (Number.isNaN(level) || level === Infinity) throw new RangeError("sound holds NaN or infinity");
  if (level > MAX_LEVEL) throw new RangeError(`sound holds values up to ${level.toPrecision(3)}, and full scale is 1`);
}

/** The largest magnitude; NaN if one is there. */
export function loudest(samples) {
  return samples.reduce((level, sample) => Math.max(level, Math.abs(sample)), 0);
}

function silence(labels) {
  return Float32Array.from(labels, (label) => (label === SILENCE ? 1 : 0));
}

function smoothingHops(listen) {
  return exactDiv(listen.smoothing_ms, listen.hop_ms);
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function exactDiv(dividend, divisor) {
  if (dividend % divisor) throw new RangeError(`${dividend} / ${divisor} is not a whole number`);
  return dividend / divisor;
}
