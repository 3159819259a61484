// The drawings: shares of classes, effects of inputs, a value within its range, latency.

import { h, svg } from "./dom.js";
import { number, percent, signed } from "./numbers.js";

const MOST_CLASSES = 10;
const MOST_EFFECTS = 8;
const AXIS = { class: "axis", x1: "50%", x2: "50%", y1: 0, y2: "100%" };

const BAR = 14; // pixels, and the height of `.bar`

/** A drawing as wide as its place: widths are percentages, heights pixels around the middle. */
function bar(...parts) {
  return h("span", { class: "bar", "aria-hidden": "true" }, svg("svg", {}, ...parts));
}

function box(start, width, style, height = BAR) {
  const middle = { y: "50%", height, transform: `translate(0 ${-height / 2})` };
  return svg("rect", { x: `${start}%`, width: `${width}%`, class: style, ...middle });
}

/** Bars of the classes' probabilities. */
export function shares(probabilities, winner) {
  let entries = Object.entries(probabilities);
  const many = entries.length > MOST_CLASSES;
  if (many) entries.sort((one, other) => other[1] - one[1]);
  const rest = entries.slice(MOST_CLASSES);
  entries = entries.slice(0, MOST_CLASSES);
  if (many) {
    entries.push([`${rest.length} others`, rest.reduce((sum, [, share]) => sum + share, 0)]);
  }
  return h(
    "ul",
    { class: "bars shares", "aria-label": "Probability of each class" },
    ...entries.map(([label, share]) =>
      h(
        "li",
        { class: label === winner ? "best" : null },
        h("span", { class: "name" }, label),
        bar(box(0, 100, "track", 10), box(0, 100 * share, "fill", 10)),
        h("span", { class: "figure" }, percent(share)),
      ),
    ),
  );
}

/**
 * Bars to both sides of an axis, for entries of name, value (as text) and effect; `meaning` says
 * what it is to be on the one side and on the other.
 */
export function effects(entries, meaning) {
  const all = [...entries];
  all.sort((one, other) => Math.abs(other.effect) - Math.abs(one.effect));
  const shown = all.slice(0, all.length > MOST_EFFECTS + 1 ? MOST_EFFECTS : all.length);
  const rest = all.slice(shown.length);
  if (rest.length) {
    const effect = rest.reduce((sum, one) => sum + one.effect, 0);
    shown.push({ name: `${rest.length} other inputs`, value: null, effect });
  }
  const largest = Math.max(...shown.map(({ effect }) => Math.abs(effect))) || 1;
  const rows = shown.map(({ name, value, effect }) => {
    const width = (50 * Math.abs(effect)) / largest;
    const [start, style] = effect < 0 ? [50 - width, "against"] : [50, "towards"];
    return h(
      "li",
      {},
      h("span", { class: "name" }, name, value === null ? null : h("small", {}, value)),
      bar(box(start, width, `fill ${style}`), svg("line", AXIS)),
      h("span", { class: "figure" }, signed(effect, largest)),
    );
  });
  const [towards, against] = meaning;
  return [
    h("p", { class: "key" }, h("span", {}, h("i"), towards), h("span", {}, h("i", { class: "against" }), against)),
    h("ul", { class: "bars effects", "aria-label": "Effect of each input" }, ...rows),
  ];
}

/** Where a number lies between the least and the greatest that training saw. */
export function scale(value, interval, low, high) {
  const at = (number) => Math.min(Math.max((100 * (number - low)) / (high - low), 0), 100);
  const mark = { class: "fill towards", x: `${at(value)}%`, width: 4, height: 16, rx: 2 };
  const band = interval && {
    class: "band", x: `${at(interval[0])}%`, width: `${at(interval[1]) - at(interval[0])}%`, y: 4, height: 8,
  };
  return h(
    "div",
    { class: "scale" },
    svg(
      "svg",
      { "aria-hidden": "true" },
      svg("rect", { class: "track", x: 0, y: 6, width: "100%", height: 4, rx: 2 }),
      band && svg("rect", band),
      svg("rect", { ...mark, transform: "translate(-2 0)" }),
    ),
    h("div", {}, h("span", {}, number(low)), h("span", {}, "range in training"), h("span", {}, number(high))),
  );
}

/** A line of times, the newest at the right with a dot. */
export function spark(drawing, times) {
  const [width, height] = [116, 28]; // the dot needs some room
  const most = Math.max(...times);
  const points = times.map((time, place) => [
    times.length === 1 ? width : (width * place) / (times.length - 1),
    height - 3 - ((height - 6) * time) / most,
  ]);
  const text = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const [x, y] = points[points.length - 1];
  drawing.replaceChildren(svg("polyline", { points: text }), svg("circle", { cx: x, cy: y, r: 2.5 }));
}
