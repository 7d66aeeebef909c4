// The last seconds of sound as a picture, with the words that were heard in it.

const SPAN_S = 6;
const HOP_S = 0.02;
const QUIETEST_DB = -90;
const LOUDEST_DB = -30;
const COLUMNS = SPAN_S / HOP_S;
const WORDS_HEIGHT = 24; // CSS pixels above the picture
const COLOURS = ["--spectrum-quiet", "--spectrum-middle", "--spectrum-loud"];

export class Spectrogram {
  #canvas;
  #rateHz;
  #frame;
  #hop;
  #window;
  #waiting = new Float32Array(0); // samples of frames that aren't whole
  #columns; // a ring, COLUMNS × half a frame, 0 to 255
  #count = 0; // columns since the beginning
  #words = [];
  #picture;
  #palette = null;
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas, rateHz) {
    this.#canvas = canvas;
    this.#rateHz = rateHz;
    this.#frame = 2 ** Math.round(Math.log2(rateHz * 0.03));
    this.#hop = Math.round(rateHz * HOP_S);
    this.#window = Float32Array.from({ length: this.#frame }, (_, n) => Math.sin((Math.PI * (n + 0.5)) / this.#frame) ** 2);
    this.#picture = new OffscreenCanvas(COLUMNS, this.#frame / 2).getContext("2d");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#palette = null;
      this.draw();
    });
    addEventListener("resize", () => this.draw());
    this.clear();
  }

  clear() {
    this.#waiting = new Float32Array(0);
    this.#columns = new Uint8Array((COLUMNS * this.#frame) / 2);
    this.#count = 0;
    this.#words = [];
  }

  add(samples) {
    const all = new Float32Array(this.#waiting.length + samples.length);
    all.set(this.#waiting);
    all.set(samples, this.#waiting.length);
    let start = 0;
    for (; start + this.#frame <= all.length; start += this.#hop) {
      const column = this.#column(all.subarray(start, start + this.#frame));
      this.#columns.set(column, ((this.#count % COLUMNS) * this.#frame) / 2);
      this.#count += 1;
    }
    this.#waiting = all.slice(start);
  }

  word({ word, start_s, end_s }) {
    this.#words = [...this.#words, { word, start: start_s / HOP_S, end: end_s / HOP_S }].slice(-COLUMNS);
  }

  /** Columns of one frame's levels, low tones first. */
  #column(frame) {
    const power = powers(frame.map((sample, n) => sample * this.#window[n]));
    const full = (this.#frame / 4) ** 2; // of a sine at full scale, under this window
    return power.map((value) => {
      const decibels = 10 * Math.log10(value / full + 1e-12);
      return Math.max(0, Math.min(255, (255 * (decibels - QUIETEST_DB)) / (LOUDEST_DB - QUIETEST_DB)));
    });
  }

  draw() {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = clientWidth * scale; // which clears it
    this.#canvas.height = clientHeight * scale;
    const context = this.#canvas.getContext("2d");
    context.scale(scale, scale);
    this.#paint();
    context.drawImage(this.#picture.canvas, 0, WORDS_HEIGHT, clientWidth, clientHeight - WORDS_HEIGHT);
    this.#write(context, clientWidth / COLUMNS);
  }

  #paint() {
    this.#palette ??= palette(this.#canvas);
    const rows = this.#frame / 2;
    const image = this.#picture.createImageData(COLUMNS, rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let column = this.#count - COLUMNS; column < this.#count; column += 1) {
      const from = (((column % COLUMNS) + COLUMNS) % COLUMNS) * rows;
      const x = this.#x(column);
      for (let row = 0; row < rows; row += 1) {
        pixels[(rows - 1 - row) * COLUMNS + x] = this.#palette[this.#columns[from + row]];
      }
    }
    this.#picture.putImageData(image, 0, 0);
  }

  #write(context, columnWidth) {
    const style = getComputedStyle(this.#canvas);
    context.fillStyle = style.color;
    context.font = `600 15px ${style.fontFamily}`;
    for (const { word, start, end } of this.#words.filter(({ start }) => start > this.#count - COLUMNS)) {
      const x = this.#x(start) * columnWidth;
      context.fillText(word, x, WORDS_HEIGHT - 9);
      context.fillRect(x, WORDS_HEIGHT - 5, Math.max(2, (end - start) * columnWidth), 3);
    }
    if (this.#still.matches) context.fillRect(this.#x(this.#count) * columnWidth, WORDS_HEIGHT, 2, this.#canvas.height);
  }

  /** Where a column is: it moves to the left, or, for those who want less motion, stays until another takes its place. */
  #x(column) {
    return this.#still.matches ? ((column % COLUMNS) + COLUMNS) % COLUMNS : column - this.#count + COLUMNS;
  }
}

/** 256 colours from the quietest to the loudest, each as a pixel. */
function palette(canvas) {
  const style = getComputedStyle(canvas);
  const context = new OffscreenCanvas(256, 1).getContext("2d");
  const gradient = context.createLinearGradient(0, 0, 256, 0);
  COLOURS.forEach((name, n) => gradient.addColorStop(n / (COLOURS.length - 1), style.getPropertyValue(name)));
  context.fillStyle = gradient;
  context.fillRect(0, 0, 256, 1);
  return new Uint32Array(context.getImageData(0, 0, 256, 1).data.buffer);
}

/** |DFT|² of the lower half of the bins (radix 2, in place; Cooley & Tukey 1965). */
export function powers(frame) {
  const size = frame.length;
  const real = new Float32Array(size);
  const imaginary = new Float32Array(size);
  for (let n = 0, reversed = 0; n < size; n += 1) {
    real[reversed] = frame[n];
    let bit = size >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
  }
  for (let half = 1; half < size; half *= 2) {
    for (let k = 0; k < half; k += 1) {
      const [cosine, sine] = [Math.cos((-Math.PI * k) / half), Math.sin((-Math.PI * k) / half)];
      for (let n = k; n < size; n += 2 * half) {
        const m = n + half;
        const re = cosine * real[m] - sine * imaginary[m];
        const im = cosine * imaginary[m] + sine * real[m];
        [real[m], imaginary[m]] = [real[n] - re, imaginary[n] - im];
        [real[n], imaginary[n]] = [real[n] + re, imaginary[n] + im];
      }
    }
  }
  return real.subarray(0, size / 2).map((re, n) => re ** 2 + imaginary[n] ** 2);
}
