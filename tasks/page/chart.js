// Lines over time, plain or stacked: axes, hatching where clusters are missing, a cross that follows pointer and arrow keys.

import { coloured, drawn, element } from "./dom.js";
import { clock, day, number } from "./format.js";

const HEIGHT = 210;
const EDGE = { left: 64, right: 22, top: 10, bottom: 24 };
const TIME_STEPS = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
let patterns = 0;

// `chart` is what the server tells; `frame` is {start, end, step, unit, thresholds, lacks, title, zoom}.
export function lineChart(chart, frame) {
  const box = element("div", { class: "chart" });
  const hidden = new Set();
  const redraw = () => {
    const width = box.clientWidth;
    if (width > 0) draw(box, chart, frame, hidden, width);
  };
  new ResizeObserver(redraw).observe(box);
  const legend = chartLegend(chart, hidden, redraw);
  return [box, legend, chart.more ? element("p", { class: "quiet" }, `${chart.more} more lines are not drawn.`) : null];
}

function draw(box, chart, frame, hidden, width) {
  const lines = chart.lines.filter((line) => !hidden.has(line.name));
  const bands = chart.stack ? stacked(lines) : lines.map((line) => ({ line, points: line.points.map(([at, v]) => [at, 0, v]) }));
  const [low, high, step] = scale(bands, frame);
  const x = (at) => EDGE.left + ((at - frame.start) / (frame.end - frame.start)) * (width - EDGE.left - EDGE.right);
  const y = (value) => HEIGHT - EDGE.bottom - ((value - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const svg = drawn("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, tabindex: 0, role: "img",
    "aria-label": `${frame.title}: ${lines.length} lines from ${clock(frame.start)} to ${clock(frame.end)}; arrow keys read values`,
  });
  svg.append(...levels(low, high, step, y, width, frame.unit), ...times(frame, x, width), ...missing(frame, x, width));
  svg.append(...limits(frame, low, high, y, width));
  for (const band of bands) svg.append(...path(band, x, y, chart.stack, frame.step));
  const tip = element("div", { class: "tip", "aria-live": "polite", hidden: true });
  box.replaceChildren(svg, tip);
  if (!bands.length) svg.append(drawn("text", { x: width / 2, y: HEIGHT / 2, class: "nothing" }, "no data in this range"));
  follow(svg, tip, lines, frame, x, width);
}

// Each line's points as [time, from, to], one line on top of the other; a line without a point at a time adds nothing there.
function stacked(lines) {
  const floor = new Map();
  return lines.map((line) => ({
    line,
    points: line.points.map(([at, value]) => {
      const from = floor.get(at) ?? 0;
      floor.set(at, from + value);
      return [at, from, from + value];
    }),
  }));
}

function scale(bands, frame) {
  const values = bands.flatMap((band) => band.points.map((point) => point[2]));
  let low = Math.min(0, ...values);
  let high = Math.max(...values, low);
  for (const one of frame.thresholds) {
    const bound = one.above ?? one.below;
    if (bound > high && bound < high * 1.5) high = bound;
  }
  if (!(high > low)) high = low + 1;
  const base = baseOf(frame.unit, high);
  const step = base * nice((high - low) / base / 4);
  low = Math.floor(low / step) * step;
  return [low, Math.ceil(high / step - 1e-9) * step, step];
}

// What steps of an axis are round in: a power of 1024 for bytes, a minute or an hour for long spans.
function baseOf(unit, high) {
  if (unit.startsWith("bytes")) return 1024 ** Math.max(0, Math.floor(Math.log(high) / Math.log(1024)));
  if (unit === "seconds") return high >= 172800 ? 86400 : high >= 7200 ? 3600 : high >= 120 ? 60 : 1;
  return 1;
}

function nice(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 2.5, 5, 10].find((one) => one * power >= rough * 0.999);
}

function levels(low, high, step, y, width, unit) {
  const found = [];
  for (let value = low; value <= high + step / 2; value += step) {
    const shown = Math.abs(value) < step / 1e6 ? 0 : value;
    found.push(drawn("line", { x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value), class: shown === 0 ? "axis" : "tick" }));
    found.push(drawn("text", { x: EDGE.left - 6, y: y(value) + 4, class: "left" }, number(shown, unit)));
  }
  return found;
}

function times(frame, x, width) {
  const wanted = ((frame.end - frame.start) * 80) / (width - EDGE.left - EDGE.right);
  const step = TIME_STEPS.find((one) => one >= wanted) ?? TIME_STEPS.at(-1);
  const shift = new Date(frame.start * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((frame.start - shift) / step) * step + shift; at <= frame.end; at += step) {
    found.push(drawn("line", { x1: x(at), x2: x(at), y1: EDGE.top, y2: HEIGHT - EDGE.bottom, class: "tick" }));
    const text = step >= 86400 ? day(at) : new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    found.push(drawn("text", { x: x(at), y: HEIGHT - 8, class: "below" }, text));
  }
  return found;
}

// Hatching from the last sample of each cluster on: the lines there are of the others only.
function missing(frame, x, width) {
  const lacks = frame.lacks
    .map((lack) => ({ cluster: lack.cluster, since: Math.max(frame.start, lack.since ?? frame.start) }))
    .filter((lack) => lack.since < frame.end)
    .sort((a, b) => a.since - b.since);
  return lacks.flatMap((lack, index) => hatched(lack, index, x(lack.since), width - EDGE.right));
}

function hatched(lack, index, from, to) {
  const id = `hatch-${(patterns += 1)}`;
  const turn = `rotate(${index % 2 ? -45 : 45})`;
  const pattern = drawn("pattern", { id, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: turn },
    drawn("rect", { width: 2.5, height: 7, class: "hatch" }));
  const words = `without ${lack.cluster}`;
  const fits = to - from > words.length * 6.5;
  return [
    drawn("defs", {}, pattern),
    drawn("rect", { x: from, y: EDGE.top, width: Math.max(3, to - from), height: HEIGHT - EDGE.top - EDGE.bottom, fill: `url(#${id})` },
      drawn("title", {}, words)),
    drawn("text", { x: fits ? from + 4 : from - 4, y: EDGE.top + 11 + 13 * index, class: fits ? "lack" : "lack before" }, words),
  ];
}

function limits(frame, low, high, y, width) {
  return frame.thresholds
    .map((one) => [one.level, one.above ?? one.below])
    .filter(([, bound]) => bound > low && bound <= high)
    .map(([level, bound]) => drawn("line", { x1: EDGE.left, x2: width - EDGE.right, y1: y(bound), y2: y(bound), class: `limit ${level}` }));
}

// A line breaks where a point is missing: nothing is drawn that nobody measured.
function path(band, x, y, stack, step) {
  const runs = [];
  let last = -Infinity;
  for (const point of band.points) {
    if (point[0] - last > step * 1.5) runs.push([]);
    runs.at(-1).push(point);
    last = point[0];
  }
  const line = runs.map((run) => `M${run.map(([at, , to]) => `${x(at).toFixed(1)},${y(to).toFixed(1)}`).join("L")}${run.length === 1 ? "h1.5" : ""}`);
  const { class: classes, vars } = coloured(band.line.colour);
  const found = [drawn("path", { d: line.join(""), class: `line ${classes}`, vars: vars ?? {} }, drawn("title", {}, band.line.name))];
  if (stack) {
    const area = runs.map((run) => `M${run.map(([at, , to]) => `${x(at).toFixed(1)},${y(to).toFixed(1)}`).join("L")}`
      + `L${[...run].reverse().map(([at, from]) => `${x(at).toFixed(1)},${y(from).toFixed(1)}`).join("L")}Z`);
    found.unshift(drawn("path", { d: area.join(""), class: `area ${classes}`, vars: vars ?? {} }));
  }
  return found;
}

function follow(svg, tip, lines, frame, x, width) {
  const cross = drawn("line", { y1: EDGE.top, y2: HEIGHT - EDGE.bottom, class: "cross", visibility: "hidden" });
  const swept = drawn("rect", { y: EDGE.top, height: HEIGHT - EDGE.top - EDGE.bottom, class: "swept", visibility: "hidden" });
  svg.append(swept, cross);
  let at = frame.end;
  let began = null;
  const time = (event) => {
    const place = (event.clientX - svg.getBoundingClientRect().left - EDGE.left) / (width - EDGE.left - EDGE.right);
    return frame.start + Math.min(1, Math.max(0, place)) * (frame.end - frame.start);
  };
  const show = (wanted) => {
    at = frame.end - Math.round((frame.end - wanted) / frame.step) * frame.step;
    at = Math.min(frame.end, Math.max(frame.start, at));
    cross.setAttribute("x1", x(at));
    cross.setAttribute("x2", x(at));
    cross.setAttribute("visibility", "visible");
    told(tip, lines, at, frame);
    tip.hidden = false;
    tip.classList.toggle("on-left", x(at) > width / 2);
    tip.style.setProperty("--x", `${x(at)}px`);
  };
  const hide = () => { tip.hidden = true; cross.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointermove", (event) => {
    show(time(event));
    if (began === null) return;
    const [from, to] = [began, time(event)].sort((a, b) => a - b);
    swept.setAttribute("x", x(from));
    swept.setAttribute("width", x(to) - x(from));
    swept.setAttribute("visibility", "visible");
  });
  svg.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") began = time(event); });
  svg.addEventListener("pointerup", (event) => {
    const [from, to] = [began ?? 0, began === null ? 0 : time(event)].sort((a, b) => a - b);
    began = null;
    swept.setAttribute("visibility", "hidden");
    if (to - from >= 4 * frame.step) frame.zoom(from, to);
  });
  svg.addEventListener("pointerleave", () => { began = null; swept.setAttribute("visibility", "hidden"); hide(); });
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    if (event.key === "Escape") hide();
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(at + moves[event.key] * frame.step);
  });
}

function told(tip, lines, at, frame) {
  const near = lines
    .map((line) => [line, line.points.find((point) => Math.abs(point[0] - at) < frame.step / 2)])
    .filter(([, point]) => point)
    .sort((a, b) => b[1][1] - a[1][1]);
  const rows = near.slice(0, 12).map(([line, point]) => element("div", {},
    element("span", { ...coloured(line.colour), "aria-hidden": "true" }, "■"), ` ${line.name} `, element("b", {}, number(point[1], frame.unit))));
  const more = near.length > 12 ? [element("div", { class: "quiet" }, `and ${near.length - 12} more`)] : [];
  tip.replaceChildren(element("div", { class: "quiet" }, clock(at, true)), ...rows, ...more);
}

function chartLegend(chart, hidden, redraw) {
  const buttons = chart.lines.map((line) => {
    const button = element("button", { type: "button", "aria-pressed": "true" },
      element("span", { ...coloured(line.colour), "aria-hidden": "true" }, "■"), ` ${line.name}`);
    button.addEventListener("click", () => {
      if (!hidden.delete(line.name)) hidden.add(line.name);
      button.setAttribute("aria-pressed", String(!hidden.has(line.name)));
      redraw();
    });
    return button;
  });
  return element("div", { class: "legend", role: "group", "aria-label": "Lines; press to hide or show" }, ...buttons);
}
