// Charts of whole sweeps: the story's rows against the effective strength, and F² under every estimator.
import * as Plot from "@observablehq/plot";
import {known, say} from "../data/words.js";
import {hueOf, level, plot, strengthAxis, tipStyle, yAxis} from "./chart.js";

const DASHES = ["none", "6 3", "2 3", "9 3 2 3"];
const bars = (points, stroke) => Plot.ruleX(points.filter(p => known(p.low) && known(p.high)), {x: "x", y1: "low", y2: "high", stroke, strokeWidth: 1.3, strokeOpacity: 0.7});
const pointOf = ([x, mean, low, high, strength]) => ({x, mean, low, high, strength});

/** One row of the story against the median radius; a line joins an objective's strengths in their order. */
export function drawEffective(element, run, title) {
  const {points, note, zero} = run.effective.find(row => row.title === title);
  const lines = Object.entries(points).map(([objective, own]) => ({objective, stroke: hueOf(run, objective), points: own.map(pointOf)}));
  element.replaceChildren();
  plot(element, {
    height: 230, x: {type: "log", inset: 12}, y: {inset: 8},
    marks: [...yAxis(5), Plot.axisX({label: "median of margin/‖∇margin‖₂, in [0, 1] pixel units", labelAnchor: "center", labelArrow: "none", ticks: 5, tickFormat: say, tickSize: 3}),
      ...(zero ? level(0, "dash", "worst control") : []),
      ...lines.flatMap(({objective, stroke, points: own}) => [bars(own, stroke), Plot.line(own, {x: "x", y: "mean", stroke, strokeWidth: 1.7}), Plot.dot(own, {x: "x", y: "mean", fill: stroke, r: 3.4}),
        Plot.tip(own, Plot.pointer({x: "x", y: "mean", title: p => `${run.objectiveName(objective)}${p.strength ? ` ${p.strength}` : ""}, radius ${say(p.x)}\n${say(p.mean)}${known(p.low) ? ` [${say(p.low)}, ${say(p.high)}]` : ""}`, ...tipStyle}))]),
      ...(note ? [Plot.text([note], {frameAnchor: "top-left", dx: 2, dy: -13, fill: "var(--soft)", fontSize: 10})] : [])],
  });
}

export function effectiveTable(run, title) {
  const {points} = run.effective.find(row => row.title === title);
  return {header: ["objective", "strength", "radius", title, "low", "high"],
    rows: Object.entries(points).flatMap(([objective, own]) => own.map(([x, mean, low, high, strength]) => [objective, strength, x, mean, low, high]))};
}

const estimatorRows = (run, objective) => run.manifold.map(({name, title}) => ({name, row: run.stories[objective].rows.find(row => row.title === title)})).filter(own => own.row);

/** log F² over its worst control against the strength, a line for each estimator of the tangent space. */
export function drawEstimators(element, run, objective) {
  const axis = strengthAxis(run.stories[objective].steps.map(step => step[0]), element.clientWidth - 60);
  const lines = estimatorRows(run, objective).map(({name, row}, i) => ({name, stroke: `var(--o${i % 8})`, strokeDasharray: DASHES[Math.floor(i / 8) % DASHES.length],
    points: row.curves[0].points.map(([strength, mean, low, high]) => ({x: axis.at(strength), mean, low, high, strength}))}));
  element.replaceChildren();
  plot(element, {
    height: 240, x: axis.x, y: {inset: 8},
    marks: [...yAxis(5), axis.mark, ...level(0, "dash", "worst control"), ...lines.flatMap(({name, stroke, strokeDasharray, points}) => [bars(points, stroke),
      Plot.line(points, {x: "x", y: "mean", stroke, strokeDasharray, strokeWidth: 1.8}), Plot.dot(points, {x: "x", y: "mean", fill: stroke, r: 3}),
      Plot.tip(points, Plot.pointer({x: "x", y: "mean", title: p => `${name}, strength ${p.strength}\n${say(p.mean)}${known(p.low) ? ` [${say(p.low)}, ${say(p.high)}]` : ""}`, ...tipStyle}))])],
  });
}

export const estimatorsTable = (run, objective) => ({
  header: ["objective", "strength", "estimator", "log F² over its worst control", "low", "high"],
  rows: estimatorRows(run, objective).flatMap(({name, row}) => row.curves[0].points.map(([strength, mean, low, high]) => [objective, strength, name, mean, low, high])),
});
