// The story of an objective: a row for each question, the label of the recipe as background, networks as small points.
import * as Plot from "@observablehq/plot";
import {known, say} from "../data/words.js";
import {REGIME, cursor, hueOf, level, plot, strengthAxis, tip, yAxis} from "./chart.js";

const SHORT = {"Bayes-aligned": "aligned", excessive: "exc.", undetermined: "?", diverged: "div.", collapsed: "coll.", withheld: "–"};
const TURN = {peak: "var(--o0)", "t₁": "var(--aligned)", "t₂": "var(--excessive)"};

/** The range of a row over all objectives, so that they can be compared. */
export function storyRange(stories, title) {
  const rows = Object.values(stories).flatMap(story => story.rows.filter(row => row.title === title));
  const ends = rows.flatMap(row => [...row.curves.flatMap(c => c.points.flatMap(p => [p[2] ?? p[1], p[3] ?? p[1]])), ...row.levels.map(l => l[0])]);
  const zero = title === "Accuracy" ? [] : [0], top = Math.max(...zero, ...ends), bottom = Math.min(...zero, ...ends), room = top - bottom || 1;
  return [bottom - 0.06 * room, top + 0.2 * room];
}

function stretches(steps, at, labels, objective) { // neighbours of one label are one stretch
  const x = steps.map(step => at(step[0])), out = [];
  const edges = x.map((v, i) => i ? (x[i - 1] + v) / 2 : v - 0.25).concat(x.at(-1) + 0.25);
  steps.forEach(([strength, , own], i) => {
    const {regime, label} = labels.at(objective, strength), last = out.at(-1);
    if (last && last.label === label) last.x2 = edges[i + 1];
    else out.push({x1: edges[i], x2: edges[i + 1], regime, label});
  });
  return out.map(own => ({...own, hue: REGIME[own.regime] || (["diverged", "collapsed"].includes(own.label) ? "lost" : "soft")}));
}

function background(bands, pixels, heading) {
  const fitting = ({label, x1, x2}) => {
    const plain = label.replace(/ \(.*/, ""), room = (x2 - x1) * pixels;
    return [label, plain, SHORT[plain] || plain, ""].find(text => 6.2 * text.length < room || !text);
  };
  return [
    Plot.rect(bands, {x1: "x1", x2: "x2", fill: d => `var(--${d.hue})`, fillOpacity: 0.11}),
    ...(heading ? [Plot.text(bands, {x: d => (d.x1 + d.x2) / 2, frameAnchor: "top", dy: -14, text: fitting, fill: d => `var(--${d.hue})`, fontSize: 11})] : []),
  ];
}

function curveMarks(row, curve, second, {at, hue, label}) {
  const ink = second ? "var(--soft)" : hue, points = curve.points.map(([strength, mean, low, high, each]) => ({strength, x: at(strength), mean, low, high, each}));
  const title = p => `${row.title}${curve.name ? `, ${curve.name}` : ""}, strength ${p.strength} (${label(p.strength)})\n${say(p.mean)}${known(p.low) ? ` [${say(p.low)}, ${say(p.high)}]` : ""}${p.each.length > 1 ? `\nnetworks: ${p.each.map(say).join(", ")}` : ""}`;
  const bars = points.filter(p => known(p.low) && known(p.high)), networks = points.flatMap(p => p.each.length > 1 ? p.each.map(value => ({x: p.x + 0.07, value})) : []);
  return [
    Plot.line(points, {x: "x", y: "mean", stroke: ink, strokeWidth: second ? 1.5 : 2, ...(second ? {strokeDasharray: "2 3"} : {})}),
    Plot.ruleX(bars, {x: "x", y1: "low", y2: "high", stroke: ink, strokeWidth: 1.4}),
    Plot.dot(networks, {x: "x", y: "value", r: 1.8, fill: ink, fillOpacity: 0.5}),
    Plot.dot(points, {x: "x", y: "mean", r: 3.4, fill: ink, stroke: "var(--card)", strokeWidth: 0.8}),
    tip(points, {x: "x", y: "mean", title}),
    ...(curve.name && points.length ? [Plot.text([points.at(-1)], {x: "x", y: "mean", text: () => curve.name, dy: second ? 12 : -12, textAnchor: "end", fill: ink, stroke: "var(--card)", strokeWidth: 3})] : []),
  ];
}

function turnMarks(marks, at, ends, range) { // an end that is null lies beyond the grid, 0 before it
  const where = end => end === null ? ends[1] : end ? Math.max(ends[0], Math.min(ends[1], at(end))) : ends[0];
  return marks.flatMap(([name, middle, low, high], i) => {
    const y = range[1] - (0.05 + 0.11 * i) * (range[1] - range[0]), stroke = TURN[name], one = [{x: where(middle), x1: where(low), x2: where(high), y}];
    return [
      Plot.ruleY(one, {y: "y", x1: "x1", x2: "x2", stroke, strokeWidth: 3}),
      Plot.dot(one, {x: "x", y: "y", symbol: "diamond", fill: stroke, r: 3.6}),
      Plot.text(one, {x: "x2", y: "y", text: () => name, dx: 5, textAnchor: "start", fill: stroke, fontSize: 10}),
    ];
  });
}

/** Draw the rows of an objective inside an element; returns what moves their cursors. */
export function drawStory(element, run, labels, objective) {
  const {steps, rows} = run.stories[objective], width = element.clientWidth;
  const axis = strengthAxis(steps.map(step => step[0]), width - 70), hue = hueOf(run, objective);
  const bands = stretches(steps, axis.at, labels, objective), pixels = (width - 56) / (axis.x.domain[1] - axis.x.domain[0]);
  const label = strength => labels.at(objective, strength).label;
  element.replaceChildren();
  const drawn = rows.map((row, n) => {
    const last = n === rows.length - 1, range = storyRange(run.stories, row.title);
    return plot(element, {
      height: 124 + (n ? 0 : 14) + (last ? 34 : 0), marginTop: n ? 20 : 34, marginBottom: last ? 40 : 6, marginRight: 14,
      x: axis.x, y: {domain: range},
      marks: [
        ...background(bands, pixels, !n), ...yAxis(3), ...(last ? [axis.mark] : []),
        ...row.levels.flatMap(([value, text]) => level(value, text === "Bayes rule" ? "solid" : value ? "dot" : "dash", text, text === "Bayes rule" ? {stroke: "var(--ink)", strokeWidth: 0.8} : {})),
        ...row.curves.flatMap((curve, second) => curveMarks(row, curve, second, {at: axis.at, hue, label})),
        ...turnMarks(row.marks, axis.at, axis.x.domain, range),
        Plot.text([row.title], {frameAnchor: "top-left", dy: n ? -15 : -29, fill: "var(--ink)", fontWeight: 600, fontSize: 12}),
      ],
    });
  });
  return strength => drawn.forEach(own => cursor(own, strength === null ? null : axis.at(strength)));
}

export function storyTable(run, labels, objective) {
  const header = ["objective", "strength", "label", "row", "curve", "mean", "low", "high", "networks"];
  const rows = run.stories[objective].rows.flatMap(row => row.curves.flatMap(curve => curve.points.map(([strength, mean, low, high, each]) =>
    [objective, strength, labels.at(objective, strength).label, row.title, curve.name, mean, low, high, each.join(" ")])));
  return {header, rows};
}
