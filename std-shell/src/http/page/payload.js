// Bytes of somebody, as text if they are text, else as numbers. They are never anything but text here.

import { h } from "./dom.js";
import { count, size } from "./format.js";

/** As much as is looked at. The rest stays at the node. */
export const PREVIEW = 16 * 1024;
const DUMP = 1024;

function text(bytes, cut) {
  // A character may be cut off at the end of the preview: that makes no bytes of a text.
  for (let less = 0; less <= (cut ? 3 : 0); less += 1) {
    try {
      const found = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, bytes.length - less));
      return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(found) ? undefined : found;
    } catch { /* Not UTF-8, or not yet. */ }
  }
  return undefined;
}

function dump(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, DUMP); at += 16) {
    const part = [...bytes.subarray(at, at + 16)];
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const shown = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${shown}`);
  }
  return lines.join("\n");
}

/** A preview; `text` is there if all of it is text. */
export function preview({ bytes, cut, length, type }) {
  const found = text(bytes, cut);
  const total = length === undefined ? "more than is shown" : `${size(length)}${length >= 1024 ? ` (${count(length)} bytes)` : ""}`;
  const words = [type || "of no type that was said", total];
  if (bytes.length === 0) words.push("empty");
  else if (found === undefined) words.push("not a text: as bytes", ...(bytes.length > DUMP || cut ? [`the first ${size(Math.min(bytes.length, DUMP))}`] : []));
  else if (cut) words.push(`the first ${size(bytes.length)}`);
  const element = h("div", { class: "payload" }, h("p", { class: "muted" }, words.join(" · ")), bytes.length > 0 && h("pre", { class: found === undefined && "dump", tabindex: "0", "aria-label": "Content" }, found ?? dump(bytes)));
  return { element, text: cut ? undefined : found };
}
