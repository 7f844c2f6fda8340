// Charts of whole sweeps: the story's rows against the effective strength, and F² under every estimator.
import * as Plot from "@observablehq/plot";
import {known, say} from "../data/words.js";
import {hueOf, level, logTicks, plot, strengthAxis, tip, yAxis} from "./chart.js";

const DASHES = ["none", "6 3", "2 3", "9 3 2 3"];
const bars = (points, stroke) => Plot.ruleX(points.filter(p => known(p.low) && known(p.high)), {x: "x", y1: "low", y2: "high", stroke, strokeWidth: 1.3, strokeOpacity: 0.7});
const pointOf = ([x, mean, low, high, strength]) => ({x, mean, low, high, strength});

/** One row of the story against the median radius; a line joins an objective's strengths in their order. */
export function drawEffective(element, run, title) {
  const {points, note, zero} = run.effective.find(row => row.title === title);
  const lines = Object.entries(points).map(([objective, own]) => ({objective, stroke: hueOf(run, objective), points: own.map(pointOf)}));
  const all = lines.flatMap(({objective, points: own}) => own.map(p => ({...p, title: `${run.objectiveName(objective)}${p.strength ? ` ${p.strength}` : ""}, radius ${say(p.x)}\n${say(p.mean)}${known(p.low) ? ` [${say(p.low)}, ${say(p.high)}]` : ""}`})));
  const radii = all.map(p => p.x), ticks = logTicks(Math.min(...radii), Math.max(...radii), element.clientWidth - 80), said = note.split("; ");
  element.replaceChildren();
  plot(element, {
    height: 230 + 13 * (said.length - 1), marginTop: 16 + 13 * (said.length - 1), x: {type: "log", inset: 12}, y: {inset: 8},
    marks: [...yAxis(5), Plot.axisX(ticks, {label: "median radius (log scale)", labelAnchor: "center", labelArrow: "none", text: say, tickSize: 3}),
      ...(zero ? level(0, "dash", "best control") : []),
      ...lines.flatMap(({stroke, points: own}) => [bars(own, stroke), Plot.line(own, {x: "x", y: "mean", stroke, strokeWidth: 1.7}), Plot.dot(own, {x: "x", y: "mean", fill: stroke, r: 3.4})]),
      ...(note ? said.map((line, i) => Plot.text([line], {frameAnchor: "top-left", dx: -36, dy: -13 * (said.length - i), fill: "var(--soft)", fontSize: 10})) : []),
      tip(all)],
  });
}

export function effectiveTable(run, title) {
  const {points} = run.effective.find(row => row.title === title);
  return {header: ["objective", "strength", "radius", title, "low", "high"],
    rows: Object.entries(points).flatMap(([objective, own]) => own.map(([x, mean, low, high, strength]) => [objective, strength, x, mean, low, high]))};
}

const estimatorRows = (run, objective) => run.manifold.map(({name, title}) => ({name, row: run.stories[objective].rows.find(row => row.title === title)})).filter(own => own.row);

/** log F² over its best control against the strength, a line for each estimator of the tangent space. */
export function drawEstimators(element, run, objective) {
  const axis = strengthAxis(run.stories[objective].steps.map(step => step[0]), element.clientWidth - 60);
  const lines = estimatorRows(run, objective).map(({name, row}, i) => ({name, stroke: `var(--o${i % 8})`, strokeDasharray: DASHES[Math.floor(i / 8) % DASHES.length],
    points: row.curves[0].points.map(([strength, mean, low, high]) => ({x: axis.at(strength), mean, low, high, strength}))}));
  element.replaceChildren();
  plot(element, {
    height: 240, x: axis.x, y: {inset: 8},
    marks: [...yAxis(5), axis.mark, ...level(0, "dash", "best control"), ...lines.flatMap(({stroke, strokeDasharray, points}) => [bars(points, stroke),
      Plot.line(points, {x: "x", y: "mean", stroke, strokeDasharray, strokeWidth: 1.8}), Plot.dot(points, {x: "x", y: "mean", fill: stroke, r: 3})]),
      tip(lines.flatMap(({name, points}) => points.map(p => ({...p, title: `${name}, strength ${p.strength}\n${say(p.mean)}${known(p.low) ? ` [${say(p.low)}, ${say(p.high)}]` : ""}`}))))],
  });
}

export const estimatorsTable = (run, objective) => ({
  header: ["objective", "strength", "estimator", "log F² over its best control", "low", "high"],
  rows: estimatorRows(run, objective).flatMap(({name, row}) => row.curves[0].points.map(([strength, mean, low, high]) => [objective, strength, name, mean, low, high])),
});
