// Ridges over images, correlations over networks, and the denoising of the score.
import * as Plot from "@observablehq/plot";
import {CHANCE, HIGH, LOW, MEAN, known, say} from "../data/words.js";
import {REGIME, SYMBOL, hueOf, level, plot, tip, yAxis} from "./chart.js";

/** The distribution of F² over images, one ridge for each strength. */
export function drawRidge(element, run, objective) {
  const own = ridgesOf(run, objective), bins = run.spread.bins, hue = hueOf(run, objective);
  const x = i => (i + 0.5) / bins, fraction = run.fraction.fraction;
  const chance = run.measures[fraction]?.find(e => e && known(e[CHANCE]))?.[CHANCE], best = run.entry("measures", fraction, run.reference("bayes"));
  const marks = [...own.keys()].reverse().flatMap(i => {
    const curve = own[i], stroke = curve.strength ? hue : "var(--soft)", [low, middle, high] = curve.quartiles;
    const outline = curve.density.map((value, bin) => ({x: x(bin), y: i + 1.25 * value})), dot = [{x: middle, x1: low, x2: high, y: i + 0.1}];
    return [
      Plot.areaY(outline, {x: "x", y1: i, y2: "y", fill: stroke, fillOpacity: 0.28}),
      Plot.lineY(outline, {x: "x", y: "y", stroke, strokeWidth: 1.4}),
      Plot.ruleY(dot, {y: "y", x1: "x1", x2: "x2", stroke, strokeWidth: 4}),
      Plot.dot(dot, {x: "x", y: "y", r: 4, fill: "var(--card)", stroke, strokeWidth: 2}),
      tip(dot, {x: "x", y: "y", title: () => `strength ${curve.strength}\nmedian ${say(middle)}, middle half ${say(low)} to ${say(high)}\n${curve.n} values`}),
    ];
  });
  element.replaceChildren();
  plot(element, {
    height: Math.max(150, 70 + 44 * own.length), x: {domain: [0, 1]}, y: {domain: [-0.15, own.length + 0.4]},
    marks: [
      Plot.axisX({label: "F² of one image", labelAnchor: "center", labelArrow: "none", tickFormat: say, ticks: 5, tickSize: 3}),
      Plot.axisY([...own.keys()], {tickFormat: i => String(own[i].strength), tickSize: 0, label: "strength", labelAnchor: "top", labelArrow: "none"}),
      ...marks,
      ...(known(chance) ? [Plot.ruleX([chance], {stroke: "var(--soft)", strokeDasharray: "5 4"})] : []),
      ...(best ? [Plot.ruleX([best[MEAN]], {stroke: "var(--ink)", strokeWidth: 0.8}), Plot.text(["Bayes rule"], {x: best[MEAN], frameAnchor: "top", dy: -8, textAnchor: best[MEAN] > 0.5 ? "end" : "start", fill: "var(--ink)"})] : []),
    ],
  });
}

const ridgesOf = (run, objective) => run.spread.curves.filter(c => c.objective === objective || c.objective === "standard").sort((a, b) => a.strength - b.strength);

export const ridgeTable = (run, objective) => ({
  header: ["objective", "strength", "n", "quartile", "median", "upper quartile", "density in 60 bins of [0, 1]"],
  rows: ridgesOf(run, objective).map(c => [c.objective, c.strength, c.n, ...c.quartiles, c.density.join(" ")]),
});

/** Networks that have both measures. */
export function scatterPoints(run, x, y, kind) {
  const xs = run.measures[x] || [], ys = run[kind][y] || [];
  const own = new Set(["standard", ...run.objectives.map(o => o.id)]);
  return run.trials.map((trial, i) => ({trial, place: i, x: xs[i], y: ys[i]}))
    .filter(e => own.has(e.trial.objective) && e.x && e.y && known(e.x[MEAN]) && known(e.y[MEAN]));
}

export function drawScatter(element, run, labels, x, y, kind) {
  const points = scatterPoints(run, x, y, kind).map(e => ({...e, hue: hueOf(run, e.trial.objective), label: labels.trial(e.place)}));
  element.replaceChildren();
  plot(element, {
    height: 240, x: {inset: 10}, y: {inset: 8},
    marks: [
      ...yAxis(5), Plot.axisX({label: "log κ (lower: on the manifold)", labelAnchor: "center", labelArrow: "none", ticks: 5, tickFormat: say, tickSize: 3}),
      ...(kind === "excess" ? level(0, "dash", "as the control") : []),
      Plot.ruleX(points.filter(e => known(e.y[LOW])), {x: e => e.x[MEAN], y1: e => e.y[LOW], y2: e => e.y[HIGH], stroke: "hue", strokeOpacity: 0.45}),
      Plot.ruleY(points.filter(e => known(e.x[LOW])), {y: e => e.y[MEAN], x1: e => e.x[LOW], x2: e => e.x[HIGH], stroke: "hue", strokeOpacity: 0.45}),
      Plot.dot(points, {x: e => e.x[MEAN], y: e => e.y[MEAN], stroke: "hue", fill: e => ["undetermined", "lost"].includes(e.label.regime) ? "none" : e.hue, symbol: e => SYMBOL[e.label.regime] || "circle", r: 4.5}),
      tip(points, {x: e => e.x[MEAN], y: e => e.y[MEAN], title: e => `${e.trial.id} (${e.label.label})\nlog κ ${say(e.x[MEAN])}, alignment ${say(e.y[MEAN])}`}),
    ],
  });
}

export const scatterTable = (run, x, y, kind) => ({
  header: ["trial", x, "low", "high", kind === "excess" ? `${y} minus control` : y, "low", "high"],
  rows: scatterPoints(run, x, y, kind).map(e => [e.trial.id, ...e.x.slice(0, 3), ...e.y.slice(0, 3)]),
});

/** Error of the score's denoiser against σ, beside that of doing nothing. */
export function drawDenoising(element, run) {
  const rows = run.denoising.map(([sigma, error, nothing]) => ({sigma, error, nothing})).filter(own => own.sigma > 0);
  const line = (y, stroke, dash) => [
    Plot.line(rows, {x: "sigma", y, stroke, strokeWidth: 2, ...(dash ? {strokeDasharray: "2 3"} : {})}),
    Plot.dot(rows, {x: "sigma", y, fill: stroke, r: 3.2})];
  element.replaceChildren();
  plot(element, {
    height: 280, marginLeft: 58, x: {type: "log"}, y: {type: "log"},
    marks: [...yAxis(4, {label: null}), Plot.axisX(rows.map(own => own.sigma), {label: "σ in [0, 1] pixel units", labelAnchor: "center", labelArrow: "none", text: say, tickSize: 3}),
      ...line("nothing", "var(--soft)", true), ...line("error", "var(--accent)"),
      Plot.text(rows.slice(-1), {x: "sigma", y: "nothing", text: () => "doing nothing", textAnchor: "end", dy: -9, fill: "var(--soft)"}),
      Plot.text(rows.slice(-1), {x: "sigma", y: "error", text: () => "the score's denoiser", textAnchor: "end", dy: 16, fill: "var(--accent)", stroke: "var(--card)", strokeWidth: 4}),
      tip(rows, {x: "sigma", y: "error", title: own => `σ = ${say(own.sigma)}\nerror ${say(own.error)}\ndoing nothing ${say(own.nothing)}`})],
  });
}

export const denoisingTable = run => ({header: ["sigma", "error", "doing nothing"], rows: run.denoising});
