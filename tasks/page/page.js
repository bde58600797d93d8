// The page: what is picked (kept in the address, so that a link shows the same), what is asked of the server, and when.

import { element } from "./dom.js";
import { chosenSpan, clock, span } from "./format.js";
import { coverageLine, panelBody } from "./panels.js";

const RANGES = [900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000];
const REFRESHES = [0, 10, 30, 60, 300];
const THEMES = ["system", "dark", "light"];
const at = (id) => document.getElementById(id);

let fleet = { dashboards: [], clusters: [] };
let picks = null; // {dashboard, range | start + end, refresh, values}
let end = 0; // of what is shown, in Unix seconds; the same for every panel
let timer = null;
let turn = 0; // answers of an earlier turn are too late
let ready = 0; // the turn whose end is known: panels of one turn all end at the same time

const visible = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) entry.target.dispatchEvent(new Event("seen"));
}, { rootMargin: "400px" });

async function asked(path, parameters = {}) {
  const query = new URLSearchParams(parameters);
  let answer;
  try {
    answer = await fetch(`api/${path}?${query}`);
  } catch {
    throw new Error("this page's own server does not answer; is `flotilla dashboards serve` still running?");
  }
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

// --- what is picked, in the address

function readPicks() {
  const [name, query] = decodeURI(location.hash.slice(1)).split("?");
  const dashboard = fleet.dashboards.find((one) => one.name === name) ?? fleet.dashboards[0];
  const given = new URLSearchParams(query ?? "");
  const whole = (key, instead) => (given.get(key) !== null && Number.isFinite(Number(given.get(key))) ? Number(given.get(key)) : instead);
  const values = Object.fromEntries(dashboard.variables.map((one) => [one.name, given.getAll(`var-${one.name}`)]));
  return { dashboard, range: whole("range", dashboard.range), start: whole("start", null), end: whole("end", null), refresh: whole("refresh", dashboard.refresh), values };
}

function address(of, changes = {}) {
  const next = { ...of, ...changes };
  const query = new URLSearchParams();
  if (next.start !== null && next.end !== null) { query.set("start", next.start); query.set("end", next.end); }
  else if (next.range !== next.dashboard.range) query.set("range", next.range);
  if (next.refresh !== next.dashboard.refresh) query.set("refresh", next.refresh);
  for (const [name, chosen] of Object.entries(next.values)) for (const value of chosen) query.append(`var-${name}`, value);
  const text = query.toString();
  return `#${next.dashboard.name}${text ? `?${text}` : ""}`;
}

function change(changes) {
  location.hash = address(picks, changes);
}

function toDashboard(dashboard) {
  const shared = Object.fromEntries(dashboard.variables.map((one) => [one.name, picks.values[one.name] ?? []]));
  return address(picks, { dashboard, values: shared, range: picks.range === picks.dashboard.range ? dashboard.range : picks.range });
}

function linkOf(link, labels) {
  if (link.url) return link.url;
  const dashboard = fleet.dashboards.find((one) => one.name === link.dashboard);
  if (!dashboard) return "#";
  const carried = Object.fromEntries(link.carry.map((label) => [label, [labels[label]]]));
  const known = Object.fromEntries(dashboard.variables.map((one) => [one.name, carried[one.name] ?? picks.values[one.name] ?? []]));
  return address(picks, { dashboard, values: known });
}

function period() {
  return picks.start !== null && picks.end !== null ? { start: picks.start, end: picks.end } : { start: end - picks.range, end };
}

function parameters(more = {}) {
  const query = Object.entries({ dashboard: picks.dashboard.name, ...period(), ...more });
  for (const [name, chosen] of Object.entries(picks.values)) for (const value of chosen) query.push([`var-${name}`, value]);
  return query;
}

// --- the bars at the top

function drawBars() {
  at("dashboards").replaceChildren(...fleet.dashboards.map((one) => element("a", {
    href: toDashboard(one), ...(one === picks.dashboard && { "aria-current": "page" }),
  }, one.title)));
  const ranges = [...new Set([...RANGES, picks.range])].sort((a, b) => a - b);
  const custom = picks.start !== null && picks.end !== null;
  choices(at("range"), [...ranges.map((one) => [one, `last ${chosenSpan(one)}`]), ["custom", "from … to"]], custom ? "custom" : picks.range);
  choices(at("refresh"), REFRESHES.map((one) => [one, one ? `every ${chosenSpan(one)}` : "off"]), picks.refresh);
  at("custom").hidden = !custom;
  if (custom) { at("from").value = local(picks.start); at("to").value = local(picks.end); }
  at("variables").replaceChildren(...picks.dashboard.variables.map(variablePicker));
}

function choices(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value, selected: String(value) === String(chosen) }, text)));
}

function local(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

function variablePicker(variable) {
  const chosen = picks.values[variable.name];
  const list = element("div", { class: "list" }, "…");
  const words = chosen.length === 0 ? "all" : chosen.length <= 2 ? chosen.join(", ") : `${chosen.length} picked`;
  const picker = element("details", { class: "picker" }, element("summary", {}, `${variable.title}: `, element("b", {}, words)), list);
  picker.addEventListener("toggle", () => { if (picker.open) fillPicker(list, variable, new Set(chosen)); });
  picker.addEventListener("keydown", (event) => { if (event.key === "Escape") { picker.open = false; picker.querySelector("summary").focus(); } });
  return picker;
}

async function fillPicker(list, variable, chosen) {
  let values;
  try {
    ({ values } = await asked("values", parameters({ variable: variable.name })));
  } catch (error) {
    list.replaceChildren(element("p", { class: "notice" }, error.message));
    return;
  }
  const set = () => change({ values: { ...picks.values, [variable.name]: [...chosen] } });
  const boxes = [...new Set([...chosen, ...values])].map((value) => {
    const box = element("input", { type: "checkbox", checked: chosen.has(value) });
    box.addEventListener("change", () => { if (box.checked) chosen.add(value); else chosen.delete(value); });
    return element("label", {}, box, ` ${value}`);
  });
  const search = element("input", { type: "search", placeholder: "find", "aria-label": `Find in ${variable.title}` });
  search.addEventListener("input", () => { for (const box of boxes) box.hidden = !box.textContent.includes(search.value); });
  list.replaceChildren(boxes.length > 8 ? search : "", ...boxes, element("div", { class: "bar" },
    element("button", { type: "button", onclick: set }, "Show"),
    element("button", { type: "button", onclick: () => { chosen.clear(); set(); } }, "All")));
}

// --- the strip of clusters

async function drawStrip(mine) {
  let told;
  try {
    told = await asked("clusters", period());
  } catch (error) {
    told = { clusters: [], error: error.message };
  }
  if (mine !== turn) return;
  end = Math.floor(told.complete ?? end); // no ragged edge: up to where all that are not silent were collected
  const signs = { fresh: "●", silent: "◌", "never seen": "◌", unknown: "?" };
  at("clusters").replaceChildren(...told.clusters.map((one) => {
    const known = fleet.clusters.find((cluster) => cluster.name === one.cluster);
    const words = told.error ? "not known" : one.freshness === "silent" ? `silent since ${clock(one.since, true)} (${span(one.lag)})` : one.sentence;
    const away = picks.values.cluster?.length && !picks.values.cluster.includes(one.cluster) ? "not picked" : "";
    return element("li", { class: `cluster ${one.freshness.replace(" ", "-")} ${away && "away"}`, title: one.sentence },
      element("span", { "aria-hidden": "true" }, `${signs[one.freshness]} `), element("b", {}, one.cluster),
      known && known.role !== one.cluster ? ` ${known.role}` : "", element("span", { class: "quiet" }, ` ${away || words}`));
  }));
  notice(told.error ? `How recent the clusters are is not known: ${told.error}` : lackNotice(told.clusters));
}

function lackNotice(clusters) {
  const picked = clusters.filter((one) => !picks.values.cluster?.length || picks.values.cluster.includes(one.cluster));
  const lacking = picked.filter((one) => one.freshness === "silent" || one.freshness === "never seen");
  if (!lacking.length) return "";
  const words = lacking.map((one) => `${one.cluster} ${one.since === null ? "was never seen" : `is silent since ${clock(one.since, true)}`}`);
  const rest = lacking.length === picked.length ? "nothing is known as of now" : "numbers as of now are of the other clusters only";
  return `${words.join("; ")}: ${rest}, and lines are hatched from then on.`;
}

function notice(text) {
  if (at("notice").textContent !== text) at("notice").textContent = text;
  at("notice").hidden = !text;
}

// --- the panels

function layOut() {
  document.title = `${picks.dashboard.title} · Flotilla`;
  at("title").textContent = picks.dashboard.title;
  at("description").textContent = picks.dashboard.description;
  let index = 0;
  visible.disconnect();
  at("rows").replaceChildren(...picks.dashboard.rows.map((row) => element("section", { class: "row", "aria-label": row.title },
    element("h2", {}, row.title),
    element("div", { class: "grid" }, ...row.panels.map((panel) => panelCard(panel, index++))))));
}

function panelCard(panel, index) {
  const body = element("div", { class: "body" }, element("p", { class: "quiet" }, "…"));
  const foot = element("div", { class: "foot" });
  const card = element("article", { class: `panel ${panel.kind}`, vars: { "--width": panel.width }, "aria-busy": "true" },
    element("h3", {}, panel.title), panel.description ? element("p", { class: "quiet about" }, panel.description) : null, body, foot);
  let shown = -1;
  const load = async () => {
    if (shown === turn || ready !== turn) return;
    const mine = (shown = turn);
    card.setAttribute("aria-busy", "true");
    await fill(panel, index, body, foot, mine);
    if (mine === turn) card.setAttribute("aria-busy", "false");
  };
  card.addEventListener("seen", load);
  card.addEventListener("stale", () => { if (near(card)) load(); });
  visible.observe(card);
  return card;
}

function near(card) {
  const place = card.getBoundingClientRect();
  return place.bottom > -400 && place.top < innerHeight + 400;
}

async function fill(panel, index, body, foot, mine) {
  const frame = { ...period(), link: linkOf, zoom: (from, to) => change({ start: Math.floor(from), end: Math.ceil(to) }) };
  let told;
  try {
    told = await asked("panel", parameters({ panel: index }));
  } catch (error) {
    told = { view: { shape: "unanswered", reason: error.message }, coverage: null, warnings: [], queries: [] };
  }
  if (mine !== turn) return;
  const open = foot.querySelector("details")?.open ?? false;
  body.replaceChildren(...panelBody(panel, told, frame).filter(Boolean));
  foot.replaceChildren(...[
    told.coverage && told.view.shape !== "unanswered" ? coverageLine(told.coverage) : null,
    ...told.warnings.map((warning) => element("p", { class: "notice" }, warning)),
    told.queries.length ? element("details", { class: "queries", open }, element("summary", {}, "PromQL"), ...told.queries.map((one) => element("pre", {}, one))) : null,
  ].filter(Boolean));
}

// --- turns

async function refresh() {
  clearTimeout(timer);
  turn += 1;
  end = Math.floor(Date.now() / 1000);
  const mine = turn;
  await drawStrip(mine);
  if (mine !== turn) return;
  ready = mine;
  at("asof").textContent = `as of ${clock(period().end, true)}`;
  for (const card of document.querySelectorAll(".panel")) card.dispatchEvent(new Event("stale"));
  const live = picks.start === null && picks.refresh > 0;
  if (live) timer = setTimeout(() => (document.hidden ? later() : refresh()), picks.refresh * 1000);
}

function later() {
  document.addEventListener("visibilitychange", refresh, { once: true });
}

function show() {
  const before = picks;
  picks = readPicks();
  drawBars();
  if (before?.dashboard !== picks.dashboard) layOut();
  refresh();
}

function listen() {
  addEventListener("hashchange", show);
  addEventListener("scroll", () => { for (const card of document.querySelectorAll(".panel")) if (near(card)) card.dispatchEvent(new Event("seen")); }, { passive: true });
  at("range").addEventListener("change", (event) => {
    const custom = event.target.value === "custom";
    change(custom ? period() : { start: null, end: null, range: Number(event.target.value) });
  });
  at("refresh").addEventListener("change", (event) => change({ refresh: Number(event.target.value) }));
  for (const id of ["from", "to"]) at(id).addEventListener("change", () => {
    const [start, to] = [at("from"), at("to")].map((input) => Math.floor(new Date(input.value).getTime() / 1000));
    if (to > start) change({ start, end: to });
    else notice("The end of the range lies before its start.");
  });
  at("again").addEventListener("click", refresh);
  at("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]));
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  at("theme").textContent = `Theme: ${name}`;
  try { localStorage.setItem("theme", name); } catch { /* a browser that keeps nothing */ }
}

async function begin() {
  let kept = "system";
  try { kept = localStorage.getItem("theme") ?? kept; } catch { /* a browser that keeps nothing */ }
  theme(new URLSearchParams(location.search).get("theme") ?? kept);
  try {
    fleet = await asked("dashboards");
  } catch (error) {
    notice(error.message);
    return;
  }
  listen();
  show();
}

begin();
