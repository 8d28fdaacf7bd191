// When each stage of loading was done, and milliseconds of script in each frame that was drawn while playing.

const KEPT = 600;

export class Timing {
  constructor() {
    this.marks = {};
    this.clear();
  }

  // A stage of loading is done: milliseconds since the page was asked for.
  mark(stage) {
    this.marks[stage] = performance.now();
  }

  add(ms) {
    this.samples[this.count++ % KEPT] = ms;
  }

  clear() {
    this.samples = [];
    this.count = 0;
  }

  // { frames, median, p95, worst } of the last frames, milliseconds.
  get summary() {
    const sorted = [...this.samples].sort((a, b) => a - b);
    const at = (share) => sorted[Math.floor(share * (sorted.length - 1))] ?? null;
    return { frames: this.count, median: at(0.5), p95: at(0.95), worst: at(1) };
  }
}
