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

/** Ticks of a log axis that is `width` pixels long: as many of the round numbers as do not touch, and two at least where there are two. */
export function logTicks(low, high, width) {
  const span = Math.log10(high / low) || 1, decades = [], half = value => 3.4 * say(value).length;
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) decades.push(e);
  const apart = ticks => ticks.every((tick, i) => !i || Math.log10(tick / ticks[i - 1]) / span * width >= half(tick) + half(ticks[i - 1]) + 8);
  const sets = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 1.5, 2, 3, 5, 7], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]
    .map(set => decades.flatMap(e => set.map(own => Number((own * 10 ** e).toPrecision(2)))).filter(own => own >= low * 0.999 && own <= high * 1.001));
  return sets.find(set => set.length > 1 && apart(set)) || [low, high];
}

/** Heights of labels, in pixels and in the order given, moved apart to be `gap` away from each other at least. */
export function spread(heights, gap, low, high) {
  const order = [...heights.keys()].sort((a, b) => heights[a] - heights[b]), out = [...heights];
  order.forEach((own, i) => { out[own] = Math.max(heights[own], i ? out[order[i - 1]] + gap : low); });
  order.reverse().forEach((own, i) => { out[own] = Math.min(out[own], i ? out[order[i - 1]] - gap : high); });
  return out;
}

let pointed = null; // the plot whose tip is open
/** One tip is open on a page: that of another plot closes, held by a click or not. */
function alone(drawn) {
  drawn.addEventListener("pointermove", () => {
    if (pointed && pointed !== drawn) ["pointerleave", "pointerdown"].forEach(type => pointed.dispatchEvent(new PointerEvent(type, {pointerType: "mouse"})));
    pointed = drawn;
  });
}

const tipStyle = {fill: "var(--card)", stroke: "var(--line)", fontSize: 11, lineWidth: 34, textPadding: 7, textOverflow: "clip"};

/** What a tip says of points, given as a mark; a plot has one tip for all of them, as each would open its own. */
export function tip(points, {x = "x", y = "mean", title = "title"} = {}) {
  const of = own => typeof own === "function" ? own : point => point[own];
  return {tips: points.map(point => ({x: of(x)(point), y: of(y)(point), title: of(title)(point)}))};
}

/** Marks, with one mark for all tips last. */
export function oneTip(marks) {
  const tips = marks.flatMap(own => own?.tips || []);
  return [...marks.filter(own => !own?.tips), ...(tips.length ? [Plot.tip(tips, Plot.pointer({x: "x", y: "y", title: "title", ...tipStyle}))] : [])];
}

export const level = (y, style, text, extra = {}) => [
  Plot.ruleY([y], {stroke: "var(--soft)", strokeWidth: 1, ...{solid: {}, dash: {strokeDasharray: "5 4"}, dot: {strokeDasharray: "2 3"}, long: {strokeDasharray: "9 4"}}[style], ...extra}),
  ...(text ? [Plot.text([y], {y: d => d, frameAnchor: extra.anchor || "left", text: () => text, dx: extra.anchor === "right" ? -3 : 4, dy: -6, fill: "var(--soft)", fontSize: 10, stroke: "var(--card)", strokeWidth: 3, clip: false})] : []),
];

/** A plot with the page's own colours and fonts, in place of what the element held. */
export function plot(element, {x = {}, y = {}, marks, ...options}) {
  const width = Math.max(120, Math.round(element.clientWidth));
  const drawn = Plot.plot({
    width, height: 220, marginLeft: 46, marginRight: 10, marginTop: 16, marginBottom: 38, inset: 0,
    style: {background: "none", color: "var(--soft)", fontFamily: "inherit", fontSize: "11px", overflow: "visible"},
    x: {axis: null, ...x}, y: {axis: null, ...y}, ...options, marks: oneTip(marks), // axes are marks of their own
  });
  drawn.setAttribute("aria-hidden", "true"); // the element around it has the words
  drawn.removeAttribute("aria-label");
  alone(drawn);
  element.append(drawn);
  return drawn;
}

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
