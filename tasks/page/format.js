// Numbers, times and spans as people read them. Units are those of flotilla/dashboards/units.py.

const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
const DECIMAL = ["", "k", "M", "G", "T"];

export function number(value, unit) {
  if (value === null || value === undefined) return "–";
  switch (unit) {
    case "bytes": return scaled(value, 1024, BINARY, "B");
    case "bytesPerSecond": return scaled(value, 1024, BINARY, "B/s");
    case "ratio": return `${digits(value * 100)} %`;
    case "seconds": return span(value);
    case "time": return clock(value, true);
    case "cores": return `${digits(value)} ${Math.abs(value) === 1 ? "core" : "cores"}`;
    case "perSecond": return `${scaled(value, 1000, DECIMAL, "")}/s`;
    default: return scaled(value, 1000, DECIMAL, "", 100000);
  }
}

// A span of seconds: 0.4 s, 45 s, 4 min, 3.5 h, 2 d.
export function span(seconds) {
  const size = Math.abs(seconds);
  if (size < 0.001 && size > 0) return `${digits(seconds * 1e6)} µs`;
  if (size < 1 && size > 0) return `${digits(seconds * 1e3)} ms`;
  if (size < 90) return `${digits(seconds)} s`;
  if (size < 5400) return `${digits(seconds / 60)} min`;
  if (size < 172800) return `${digits(seconds / 3600)} h`;
  return `${digits(seconds / 86400)} d`;
}

// A span that was chosen, in its largest whole unit: 90 min, 6 h, 7 d.
export function chosenSpan(seconds) {
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([one]) => seconds % one === 0);
  return `${seconds / size} ${unit}`;
}

// A time of day; with its date where that is not today's.
export function clock(seconds, withSeconds = false) {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...(withSeconds && { second: "2-digit" }), hour12: false });
  const today = date.toDateString() === new Date().toDateString();
  return today ? time : `${day(seconds)} ${time}`;
}

export function day(seconds) {
  return new Date(seconds * 1000).toLocaleDateString([], { month: "short", day: "numeric" });
}

function scaled(value, base, prefixes, suffix, from = base) {
  let power = 0;
  let rest = value;
  if (Math.abs(value) >= from) {
    while (Math.abs(rest) >= base && power < prefixes.length - 1) { rest /= base; power += 1; }
  }
  return `${digits(rest)} ${prefixes[power]}${suffix}`.trim();
}

// Three digits that matter, no trailing zeros, groups of three.
function digits(value) {
  const size = Math.abs(value);
  const places = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en", { maximumFractionDigits: places });
}
