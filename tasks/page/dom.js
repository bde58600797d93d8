// Elements made from values. Text is only ever set as text: what a cluster calls its pods is no markup of ours.

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

export function drawn(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [one, set] of Object.entries(value)) made.style.setProperty(one, set);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// The class and the hue of a line or a bar; the sheet gives them a lightness that the theme can bear.
export function coloured(colour) {
  return colour ? { class: `hued tone-${colour.tone} dash-${colour.dash}`, vars: { "--hue": colour.hue } } : { class: "hued rest" };
}
