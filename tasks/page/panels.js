// What the server tells of a panel, as elements: numbers, tables, Top N, lines, and why there is nothing.

import { lineChart } from "./chart.js";
import { coloured, element } from "./dom.js";
import { clock, number } from "./format.js";

const SIGNS = { good: ["✓", "good"], warning: ["▲", "warning"], bad: ["✖", "bad"] };

// `panel` is its layout, `told` the server's answer, `frame` is {start, end, link, zoom}.
export function panelBody(panel, told, frame) {
  const shapes = { numbers, grid, bars, chart, unanswered };
  return shapes[told.view.shape](told.view, panel, told, frame);
}

// Which clusters the panel's numbers cover: in words, always.
export function coverageLine(coverage) {
  const parts = [];
  if (coverage.lacks.length) {
    const words = coverage.lacks.map((lack) => (lack.since === null ? `${lack.cluster} (never seen)` : `${lack.cluster} since ${clock(lack.since, true)}`));
    parts.push(element("strong", { class: "lacking" }, `◌ lacks ${words.join(", ")}`));
  }
  if (coverage.covers.length) parts.push(element("span", {}, `covers ${coverage.covers.join(", ")}`));
  if (coverage.without.length) parts.push(element("span", { class: "quiet" }, `no such series in ${coverage.without.join(", ")}`));
  return element("p", { class: "coverage" }, ...parts.flatMap((part, index) => (index ? [" · ", part] : [part])));
}

function unanswered(view) {
  return [element("p", { class: "notice" }, `Could not be answered: ${view.reason}`)];
}

function levelSign(level) {
  if (!level) return null;
  const [sign, word] = SIGNS[level];
  return element("span", { class: `sign ${level}` }, element("span", { "aria-hidden": "true" }, `${sign} `), element("span", { class: "spoken" }, `${word}: `));
}

function numbers(view, panel) {
  return [element("div", { class: "numbers" }, ...view.numbers.map((one) => element("div", { class: `number ${one.level ?? ""}` },
    one.name ? element("div", { class: "quiet" }, one.name) : null,
    element("div", {}, levelSign(one.level), element("span", { class: "big" }, one.value === null ? "no data" : number(one.value, panel.unit)),
      one.of === null ? null : element("span", { class: "of" }, ` of ${number(one.of, panel.unit)}`)))))];
}

function grid(view, panel, told, frame) {
  if (!view.records.length) return [element("p", { class: "empty" }, "Nothing of this kind.")];
  const grouped = view.headings.some((heading) => heading.group);
  const heads = view.headings.map((heading) => element("th", { scope: "col", class: `${heading.text ? "" : "value"} ${told.coverage.lacks.some((lack) => lack.cluster === heading.cluster) ? "lacking" : ""}` }, heading.title));
  const groups = grouped ? element("tr", { class: "groups" }, element("td", { colspan: view.by.length }), ...groupHeads(view.headings)) : null;
  const table = element("table", {},
    element("caption", { class: "spoken" }, panel.title),
    element("thead", {}, groups, element("tr", {}, ...view.by.map((label) => element("th", { scope: "col" }, label)), ...heads)),
    element("tbody", {}, ...view.records.map((record) => gridRow(record, view, panel, frame))));
  const more = view.more ? element("p", { class: "quiet" }, `${view.more} more rows are not shown.`) : null;
  return [element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": panel.title }, table), more];
}

function groupHeads(headings) {
  const found = [];
  for (const heading of headings) {
    if (found.length && found.at(-1).group === heading.group) found.at(-1).span += 1;
    else found.push({ group: heading.group, span: 1 });
  }
  return found.map((one) => element(one.group ? "th" : "td", { colspan: one.span, ...(one.group && { scope: "colgroup" }) }, one.group));
}

function gridRow(record, view, panel, frame) {
  const names = view.by.map((label, index) => element("th", { scope: "row" },
    index === view.by.length - 1 ? linked(record.labels[label], record.labels, panel, frame) : record.labels[label]));
  const cells = record.cells.map((cell, index) => element("td", { class: `${view.headings[index].text ? "" : "value"} ${cell.level ?? ""} ${cell.unknown ? "unknown" : ""}` },
    ...cellText(cell, view.headings[index].unit)));
  return element("tr", {}, ...names, ...cells);
}

function cellText(cell, unit) {
  if (cell.unknown) return [element("abbr", { title: "nobody can see: the cluster is silent" }, "?")];
  return [levelSign(cell.level), cell.text || number(cell.value, unit)];
}

function bars(view, panel, told, frame) {
  const most = Math.max(...view.bars.map((bar) => Math.abs(bar.value)), 1e-12);
  const shares = view.bars.some((bar) => bar.share !== null);
  const rows = view.bars.map((bar) => element("tr", {},
    element("th", { scope: "row" }, linked(bar.name, bar.labels, panel, frame), untilNote(bar, told.coverage)),
    element("td", { class: "track" }, barOf(bar.value / most, bar.colour)),
    element("td", { class: `value ${bar.level ?? ""}` }, levelSign(bar.level), number(bar.value, panel.unit)),
    shares ? element("td", { class: "value quiet" }, bar.share === null ? "" : number(bar.share, "ratio")) : null));
  const rest = view.others === null ? [] : [restRow(view, panel, most, shares)];
  const total = view.total === null ? [] : [element("tr", { class: "total" }, element("th", { scope: "row" }, "all together"), element("td"),
    element("td", { class: "value" }, number(view.total, panel.unit)), shares ? element("td", { class: "value quiet" }, "100 %") : null)];
  if (!rows.length) return [element("p", { class: "empty" }, "Nothing of this kind in this range.")];
  const table = element("table", { class: "bars" }, element("caption", { class: "spoken" }, panel.title), element("tbody", {}, ...rows, ...rest, ...total));
  return [table, ...(view.chart ? chart(view.chart, panel, told, frame) : [])];
}

// A series of a silent cluster ranks by what is known of it.
function untilNote(bar, coverage) {
  const lack = coverage?.lacks.find((one) => one.cluster === bar.labels.cluster);
  return lack && lack.since !== null ? element("span", { class: "lacking" }, ` ◌ until ${clock(lack.since)}`) : null;
}

function restRow(view, panel, most, shares) {
  const name = view.averaged ? `${view.others_count} others, on average` : `${view.others_count} others together`;
  const share = view.total > 0 ? number(view.others / view.total, "ratio") : "";
  return element("tr", { class: "rest" }, element("th", { scope: "row" }, name),
    element("td", { class: "track" }, barOf(Math.min(1, view.others / most), null, view.others > most)),
    element("td", { class: "value" }, number(view.others, panel.unit)), shares ? element("td", { class: "value quiet" }, share) : null);
}

function barOf(part, colour, beyond = false) {
  const { class: classes, vars } = coloured(colour);
  return element("span", { class: `fill ${classes} ${beyond ? "beyond" : ""}`, vars: { ...vars, "--part": `${Math.max(0, part * 100)}%` } });
}

function chart(view, panel, told, frame) {
  return lineChart(view, { ...frame, step: told.step, unit: panel.unit, thresholds: panel.thresholds, lacks: told.coverage.lacks, title: panel.title });
}

function linked(name, labels, panel, frame) {
  const link = panel.links[0];
  return link ? element("a", { href: frame.link(link, labels), title: link.title }, name) : name;
}
