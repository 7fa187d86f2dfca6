// Elements. Whatever a node says becomes text here: nothing is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "class") {
      element.setAttribute("class", value);
    } else if (name in element && typeof value === "boolean") {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) element.append(child);
  }
  return element;
}

/** An element with properties and children; children that are no elements become text. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An element of a drawing. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

export const byId = (id) => document.getElementById(id);

/** Sets a text if it is another one: what did not change keeps its selection. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let telling;

/** Says what was done, for a moment. */
export function tell(text) {
  say(byId("said"), text);
  clearTimeout(telling);
  telling = setTimeout(() => say(byId("said"), ""), 8_000);
}

/** A coloured word. The word says it too: colour alone tells nobody anything. */
export function badge(word, tone) {
  return h("span", { class: `badge ${tone ?? ""}` }, word);
}

/** Something to type into a terminal. */
export function line(text) {
  return h("code", { class: "line" }, text);
}

/** Why there is nothing here, and what would change that. */
export function nothing(title, ...children) {
  return h("div", { class: "nothing" }, h("p", { class: "strong" }, title), children);
}

/** Terms and what they are. */
export function facts(pairs) {
  const list = h("dl", { class: "facts" });
  for (const [term, value] of pairs) {
    if (value !== undefined && value !== null && value !== "" && value !== false) list.append(h("div", null, h("dt", null, term), h("dd", null, value)));
  }
  return list;
}

/** How full something is: a bar and its words. */
export function bar(used, max, label) {
  const share = max > 0 ? Math.min(used / max, 1) : 0;
  const tone = share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "";
  return svg(
    "svg",
    { class: `bar ${tone}`, viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": label ?? `${Math.round(share * 100)} % full` },
    svg("rect", { class: "rail", width: 100, height: 6 }),
    svg("rect", { class: "fill", width: share === 0 ? 0 : Math.max(share * 100, 1), height: 6 }),
  );
}

/** Lines of what went through lately, each a list of numbers; all on one scale. Decoration: the numbers stand beside it. */
export function spark(...lines) {
  const width = 90, height = 20;
  const most = Math.max(...lines.flat(), 0);
  const drawing = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" });
  drawing.append(svg("path", { class: "floor", d: `M0 ${height - 0.5}H${width}` }));
  lines.forEach((values, which) => {
    if (values.length < 2 || most === 0) return;
    const step = width / (SAMPLES - 1);
    const start = width - (values.length - 1) * step;
    const points = values.map((value, at) => `${(start + at * step).toFixed(1)} ${(height - 1 - (value / most) * (height - 3)).toFixed(1)}`);
    if (which === lines.length - 1) {
      drawing.append(svg("path", { class: "area", d: `M${points[0].split(" ")[0]} ${height}L${points.join("L")}L${width} ${height}Z` }));
    }
    drawing.append(svg("path", { class: `trend n${which}`, d: `M${points.join("L")}` }));
  });
  return drawing;
}

/** Points of a spark. */
export const SAMPLES = 60;
