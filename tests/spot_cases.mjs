// What the page's Spotter hears in each case of the table: `node spot_cases.mjs TABLE SIZE...` prints, for each size of
// pieces and each case, {"name", "detections", "asked"} as JSON.

import { readFileSync } from "node:fs";
import { Spotter } from "../web/spotter.mjs";

const [path, ...sizes] = process.argv.slice(2);
const table = JSON.parse(readFileSync(path, "utf8"));

async function hear({ name, listen = table.listen, levels, scores }, size) {
  const rows = scores.filter((row) => row !== null);
  let asked = 0;
  const score = async () => rows[asked++];
  const spotter = new Spotter(score, table.labels, table.thresholds, table.audio, listen);
  const hop = (table.audio.sample_rate_hz * listen.hop_ms) / 1000;
  const samples = Float32Array.from({ length: hop * levels.length }, (_, n) => levels[Math.floor(n / hop)]);
  // Fed without waiting: the order must hold all the same.
  const detections = [];
  for (let start = 0; start < samples.length; start += size) {
    detections.push(spotter.feed(samples.subarray(start, start + size)));
  }
  detections.push(spotter.finish());
  return { name, detections: (await Promise.all(detections)).flat(), asked };
}

const heard = {};
for (const size of sizes) heard[size] = await Promise.all(table.cases.map((one) => hear(one, Number(size))));
console.log(JSON.stringify(heard));
