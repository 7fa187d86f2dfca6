// What went through in a second, from counters that are looked at again and again.

import { SAMPLES } from "./dom.js";

/** What a rate is measured over, in milliseconds: long enough to be steady, short enough to be of now. */
const OVER = 9_000;

export class Rates {
  #rings = new Map();

  /** Notes counters of a key, read at this time (milliseconds of a clock that never goes back). */
  note(key, counters, at) {
    let ring = this.#rings.get(key);
    const last = ring?.at(-1);
    // Smaller than it was: the node has started anew, and so does this.
    if (!ring || Object.entries(counters).some(([name, value]) => value < last.counters[name])) {
      ring = [];
      this.#rings.set(key, ring);
    }
    ring.push({ at, counters });
    if (ring.length > SAMPLES + 1) ring.shift();
  }

  /** Forgets every key of this kind that is not among these. */
  keep(kind, keys) {
    for (const key of this.#rings.keys()) if (key.startsWith(kind) && !keys.has(key)) this.#rings.delete(key);
  }

  clear() { this.#rings.clear(); }

  /** How often in a second, lately; nothing before the second look. */
  of(key, name) {
    const ring = this.#rings.get(key);
    if (!ring || ring.length < 2) return undefined;
    const last = ring.at(-1);
    const first = ring.findLast((sample) => sample.at <= last.at - OVER) ?? ring[0];
    return Math.max((last.counters[name] - first.counters[name]) / ((last.at - first.at) / 1000), 0);
  }

  /** The same between each two looks. */
  line(key, name) {
    const ring = this.#rings.get(key) ?? [];
    return ring.slice(1).map((sample, at) => (sample.counters[name] - ring[at].counters[name]) / Math.max((sample.at - ring[at].at) / 1000, 0.001));
  }
}
