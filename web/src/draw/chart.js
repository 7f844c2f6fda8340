// What all charts share: axes, the scale of strengths, tips, and the cursor at the chosen strength.
import * as Plot from "@observablehq/plot";
import {known, say} from "../data/words.js";

export const REGIME = {weak: "weak", bayes_aligned: "aligned", excessive: "excessive", undetermined: "undetermined", collapsed: "lost"};
export const SYMBOL = {weak: "circle", bayes_aligned: "diamond", excessive: "square", undetermined: "circle", collapsed: "times", lost: "times"};
export const hueOf = (run, objective) => {
  const place = run.objectives.findIndex(own => own.id === objective);
  return place < 0 ? "var(--ink)" : `var(--o${place % 8})`;
};

/** log10, with strength 0 three quarters of a decade left of the smallest. */
export function placeOf(strengths) {
  const positive = strengths.filter(strength => strength > 0);
  const start = Math.log10(positive.length ? Math.min(...positive) : 1) - 0.75;
  return strength => strength > 0 ? Math.log10(strength) : start;
}

/** The strengths whose labels do not touch, in a range that is `width` pixels wide. */
export function spaced(strengths, at, width) {
  const sorted = [...new Set(strengths)].sort((a, b) => a - b), kept = [];
  const scale = width / (at(sorted.at(-1)) - at(sorted[0]) + 0.5), half = strength => 3.4 * String(strength).length;
  sorted.forEach(strength => {
    const last = kept.at(-1);
    if (!kept.length || (at(strength) - at(last)) * scale >= half(strength) + half(last) + 6) kept.push(strength);
  });
  return kept;
}

/** The axis of strengths as options and marks of a plot. */
export function strengthAxis(strengths, width, label = "strength (log scale)") {
  const at = placeOf(strengths), ticks = spaced(strengths, at, width), named = new Map(ticks.map(own => [at(own), String(own)]));
  const ends = [at(Math.min(...strengths)) - 0.25, at(Math.max(...strengths)) + 0.25];
  return {at, x: {domain: ends, type: "linear"},
    mark: Plot.axisX([...named.keys()], {tickFormat: value => named.get(value), tickSize: 3, label, labelAnchor: "center", labelArrow: "none"})};
}

export const level = (y, style, text, extra = {}) => [
  Plot.ruleY([y], {stroke: "var(--soft)", strokeWidth: 1, ...{solid: {}, dash: {strokeDasharray: "5 4"}, dot: {strokeDasharray: "2 3"}, long: {strokeDasharray: "9 4"}}[style], ...extra}),
  ...(text ? [Plot.text([y], {y: d => d, frameAnchor: extra.anchor || "left", text: () => text, dx: extra.anchor === "right" ? -3 : 4, dy: -6, fill: "var(--soft)", fontSize: 10, stroke: "var(--card)", strokeWidth: 3, clip: false})] : []),
];

/** A plot with the page's own colours and fonts, in place of what the element held. */
export function plot(element, {x = {}, y = {}, ...options}) {
  const width = Math.max(120, Math.round(element.clientWidth));
  const drawn = Plot.plot({
    width, height: 220, marginLeft: 46, marginRight: 10, marginTop: 16, marginBottom: 38, inset: 0,
    style: {background: "none", color: "var(--soft)", fontFamily: "inherit", fontSize: "11px", overflow: "visible"},
    x: {axis: null, ...x}, y: {axis: null, ...y}, ...options, // axes are marks of their own
  });
  drawn.setAttribute("aria-hidden", "true"); // the element around it has the words
  drawn.removeAttribute("aria-label");
  element.append(drawn);
  return drawn;
}

export const tipStyle = {fill: "var(--card)", stroke: "var(--line)", fontSize: 11, lineWidth: 34, textPadding: 7, textOverflow: "clip"};
export const yAxis = (count = 4, options = {}) => [
  Plot.gridY({ticks: count, stroke: "var(--line)", strokeOpacity: 1}),
  Plot.axisY({ticks: count, tickSize: 0, label: null, tickFormat: say, ...options})];

/** A line at an x of the plot; moves where the plot has one, vanishes for null. */
export function cursor(drawn, x) {
  let line = drawn.querySelector(".cursor");
  if (!known(x) || !drawn.scale("x") || !drawn.scale("y")) return line?.remove(); // a plot of nothing has no scales
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "cursor");
    const scale = drawn.scale("y");
    const [bottom, top] = scale.range;
    line.setAttribute("y1", Math.min(top, bottom));
    line.setAttribute("y2", Math.max(top, bottom));
    drawn.append(line);
  }
  const place = drawn.scale("x").apply(x);
  line.setAttribute("x1", place);
  line.setAttribute("x2", place);
}
