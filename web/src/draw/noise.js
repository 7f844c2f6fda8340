// Signal and distractor: relative noise robustness against σ, and below it robust minus standard.
import * as Plot from "@observablehq/plot";
import {known, say} from "../data/words.js";
import {hueOf, level, plot, tip, yAxis} from "./chart.js";

/** Colour by objective, paler for each smaller strength. */
export function noiseStyle(run, {trial, shade}) {
  const {objective} = run.trials[trial];
  if (objective === "bayes") return {stroke: "var(--ink)", strokeOpacity: 1, strokeWidth: 0.9};
  if (objective !== "standard" && !run.objectives.some(own => own.id === objective)) return {stroke: "var(--weak)", strokeOpacity: 1, strokeWidth: 1.4, strokeDasharray: "9 4"};
  return {stroke: hueOf(run, objective), strokeOpacity: 0.45 + 0.55 * shade, strokeWidth: 2};
}

/** One entry for each name: seeds are shown and hidden together. */
export const noiseNames = run => [...new Map(run.noise.curves.map(curve => [run.trials[curve.trial].name, noiseStyle(run, curve).stroke]))]
  .map(([id, hue]) => ({id, name: id, hue}));

function curveMarks(run, curve, part, paleness, low) {
  const x = run.noise.sigmas, {stroke, ...line} = noiseStyle(run, curve), clip = value => known(value) ? Math.max(value, low) : value;
  const points = x.map((sigma, i) => ({sigma, mean: part.mean[i], low: clip(part.low[i]), high: part.high[i], name: run.trials[curve.trial].name}));
  const band = {x: "sigma", y1: "low", y2: "high"}, both = p => known(p.low) && known(p.high);
  return [
    points.length > 1 ? Plot.areaY(points.map(p => both(p) ? p : {...p, low: NaN, high: NaN}), {...band, fill: stroke, fillOpacity: paleness})
      : Plot.ruleX(points.filter(both), {...band, stroke}),
    Plot.line(points.map(p => known(p.mean) ? p : {...p, mean: NaN}), {x: "sigma", y: "mean", stroke, ...line}),
    Plot.dot(points.filter(p => known(p.mean)), {x: "sigma", y: "mean", r: 3, fill: stroke, fillOpacity: line.strokeOpacity}),
    tip(points.filter(p => known(p.mean)), {x: "sigma", y: "mean", title: p => `${p.name}, σ = ${say(p.sigma)}\n${say(p.mean)}${both(p) ? ` [${say(p.low)}, ${say(p.high)}]` : ""}`}),
  ];
}

export function drawNoise(element, run, hidden) {
  const shown = run.noise.curves.filter(curve => !hidden.has(run.trials[curve.trial].name)), means = [1, ...shown.flatMap(c => c.ratio.mean).filter(v => v)];
  const low = Math.max(Math.min(...means, ...shown.flatMap(c => c.ratio.low).filter(v => v)), Math.min(...means) / 4) / 1.15;
  const high = Math.min(Math.max(...means, ...shown.flatMap(c => c.ratio.high).filter(v => v)), Math.max(...means) * 4) * 1.15;
  const draw = (kind, y, marks, last, title) => {
    const own = shown.filter(curve => curve[kind]), paleness = Math.max(0.04, Math.min(0.13, 0.6 / Math.max(1, own.length)));
    plot(element, {
      height: last ? 300 : 270, marginBottom: last ? 40 : 14, x: {type: "log", domain: [Math.min(...run.noise.sigmas) / 1.2, Math.max(...run.noise.sigmas) * 1.2]}, y, clip: true,
      marks: [...yAxis(5), ...(last ? [Plot.axisX({label: "σ in [0, 1] pixel units (log scale)", labelAnchor: "center", labelArrow: "none", ticks: 6, tickFormat: say, tickSize: 3})] : []),
        ...marks, ...own.flatMap(curve => curveMarks(run, curve, curve[kind], paleness, kind === "ratio" ? low : -Infinity)),
        Plot.text([title], {frameAnchor: "top-left", dx: 4, dy: -13, fill: "var(--ink)", fontWeight: 600, clip: false})],
    });
  };
  const compared = shown.some(curve => curve.difference);
  element.replaceChildren();
  draw("ratio", {type: "log", domain: [low, high], clamp: true}, level(1, "dash", "chance", {anchor: "right"}), !compared, "Signal over distractor (log scale)");
  if (compared) draw("difference", {}, level(0, "dash", "standard", {anchor: "right"}), true, "Minus the standard network's");
}

export function noiseTable(run) {
  const header = ["trial", "sigma", "ratio", "low", "high", "minus standard", "low", "high"];
  const rows = run.noise.curves.flatMap(curve => run.noise.sigmas.map((sigma, i) => [run.trials[curve.trial].id, sigma,
    curve.ratio.mean[i], curve.ratio.low[i], curve.ratio.high[i], ...(curve.difference ? [curve.difference.mean[i], curve.difference.low[i], curve.difference.high[i]] : [null, null, null])]));
  return {header, rows};
}
