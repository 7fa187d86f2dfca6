// Numbers as people read them.

const NUMBERS = new Intl.NumberFormat("en");

export const count = (n) => NUMBERS.format(n);

/** Bytes. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let n = bytes, unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

/** A time span of milliseconds. */
export function span(ms) {
  if (ms === undefined || ms === null) return "";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? +ms.toFixed(1) : Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.floor(s)} s`;
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, unit]) => s >= unit);
  const [word, unit] = parts[first];
  const [next, smaller] = parts[first + 1];
  const rest = Math.floor((s % unit) / smaller);
  return `${Math.floor(s / unit)} ${word}${rest > 0 ? ` ${rest} ${next}` : ""}`;
}

/** So many in a second. */
export function rate(n) {
  if (n === undefined) return "";
  if (n === 0) return "0";
  return n < 10 ? n.toFixed(1) : NUMBERS.format(Math.round(n));
}

/** One or many. */
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many ?? `${one}s`}`;
