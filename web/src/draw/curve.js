// A measure against the strength, the accuracy or κ: all objectives, their control, chance and references.
import * as Plot from "@observablehq/plot";
import {MEAN, average, capital, known, say, span} from "../data/words.js";
import {REGIME, SYMBOL, cursor, hueOf, level, placeOf, plot, strengthAxis, tip, yAxis} from "./chart.js";

const AXES = {accuracy: "accuracy", kappa: "log κ"};

function lookup(run, across, objective, seed) {
  const key = {accuracy: "accuracy", kappa: "log_kappa.margin"}[across];
  if (!key) return null;
  const own = new Map(run.series(objective, key, "measures", seed).map(point => [point.strength, point.mean]));
  return strength => own.get(strength) ?? null;
}

function objectiveMarks(run, labels, objective, {key, kind, seed, x, across, thick, control}) {
  const hue = hueOf(run, objective.id), points = run.series(objective.id, key, kind, seed).map(point => {
    const {regime, label} = labels.at(objective.id, point.strength), lost = point.entries.every(entry => entry.trial.outcome !== "ok");
    return {...point, x: x(point.strength), regime: lost ? "lost" : regime, label};
  }).filter(point => known(point.mean) && known(point.x));
  const title = p => `${objective.name}, strength ${p.strength} (${p.label})\n${p.entries.filter(e => e.value).map(e => `${e.trial.id}: ${say(e.value[MEAN])}${span(e.value)}`).join("\n")}`;
  const seeds = seed === null && run.seeds.length > 1 ? run.seeds.map(one => run.series(objective.id, key, kind, one).filter(p => known(p.mean)).map(p => ({x: x(p.strength), y: p.mean}))) : [];
  const other = control ? run.series(objective.id, control, "measures", seed).filter(p => known(p.mean)).map(p => ({x: x(p.strength), y: p.mean})).filter(p => known(p.x)) : [];
  return [
    ...seeds.map(line => Plot.line(line, {x: "x", y: "y", stroke: hue, strokeOpacity: 0.5, strokeWidth: 0.8})),
    ...(across === "strength" ? [Plot.areaY(points.filter(p => known(p.low)), {x: "x", y1: "low", y2: "high", fill: hue, fillOpacity: 0.16})] : []),
    Plot.line(other, {x: "x", y: "y", stroke: hue, strokeWidth: 1.2, strokeDasharray: "2 3", strokeOpacity: 0.85}),
    Plot.line(points, {x: "x", y: "mean", stroke: hue, strokeWidth: thick ? 2.6 : 1.7}),
    Plot.dot(points, {x: "x", y: "mean", symbol: d => SYMBOL[d.regime] || "circle", fill: d => ["undetermined", "lost"].includes(d.regime) ? "none" : hue, stroke: hue, r: 3.6}),
    tip(points, {title}),
  ];
}

function levelMarks(run, key, kind, seed) {
  const excess = kind === "excess", out = [];
  if (excess) out.push(...level(0, "dash", "as the control"));
  const chance = average(run.objectives.flatMap(own => run.series(own.id, key, "measures", seed).map(point => point.chance)));
  if (!excess && known(chance)) out.push(...level(chance, "dash", "chance", {anchor: "right"}));
  const untrained = run.entry(kind, key, run.reference("untrained")), best = run.entry(kind, key, run.reference("bayes"));
  if (untrained) out.push(...level(untrained[MEAN], "long", known(chance) && Math.abs(untrained[MEAN] - chance) < 0.02 * Math.abs(chance) ? "" : "untrained"));
  if (best && !(run.far.includes(key) && !excess)) out.push(...level(best[MEAN], "solid", "Bayes rule", {stroke: "var(--ink)", strokeWidth: 0.8}));
  else if (best) out.push(Plot.text([`↓ Bayes rule ${say(best[MEAN])}`], {frameAnchor: "bottom-left", dx: 3, dy: -3, fill: "var(--ink)"}));
  const image = excess ? null : (run.measures[`${key}.image`] || []).find(own => own && known(own[MEAN]));
  if (image) out.push(...level(image[MEAN], "dot", "image itself", {stroke: "var(--ink)", anchor: "right"}));
  return out;
}

/**
 * Draw a measure; returns what moves the cursor.
 * @param chosen {key, kind: "measures" or "excess", across, seed, hidden, picked, small}
 */
export function drawCurve(element, run, labels, {key, kind, across = "strength", seed = null, hidden = new Set(), picked = "", small = false}) {
  const shown = run.objectives.filter(own => !hidden.has(own.id)), strengths = run.allStrengths();
  const excess = kind === "excess" && Boolean(run.excess[key]), axis = strengthAxis(strengths, element.clientWidth - 60);
  const logarithmic = key.startsWith("kappa") && !excess, table = excess ? "excess" : "measures";
  element.replaceChildren();
  const marks = shown.flatMap(objective => {
    const find = lookup(run, across, objective.id, seed), x = find || axis.at;
    return objectiveMarks(run, labels, objective, {key, kind: table, seed, x, across, thick: small || objective.id === picked, control: excess || small ? null : run.controlOf(key)});
  });
  const drawn = plot(element, {
    ...(small ? {height: 104, marginLeft: 38, marginBottom: 10, marginTop: 6, marginRight: 4} : {height: 320}),
    x: across === "strength" ? axis.x : {type: "linear"}, y: {type: logarithmic ? "log" : "linear", inset: small ? 3 : 8},
    marks: [...yAxis(small ? 3 : 5, logarithmic && small ? {ticks: 2} : {}),
      ...(small ? [] : [across === "strength" ? axis.mark : Plot.axisX({label: AXES[across], labelAnchor: "center", labelArrow: "none", ticks: 6, tickFormat: say, tickSize: 3})]),
      ...(small ? [] : levelMarks(run, key, table, seed)), ...marks],
  });
  return across !== "strength" ? () => {} : strength => cursor(drawn, strength === null ? null : axis.at(strength));
}

/** The numbers behind it: every network of every objective. */
export function curveTable(run, labels, key, kind) {
  const table = kind === "excess" && run.excess[key] ? "excess" : "measures";
  const header = ["trial", "objective", "strength", "seed", "label", "measure", "mean", "low", "high", "n"];
  const rows = run.trials.flatMap((trial, place) => {
    const own = run[table][key]?.[place];
    return own ? [[trial.id, trial.objective, trial.strength, trial.seed, labels.trial(place).label, table === "excess" ? `${key} minus control` : key, ...own.slice(0, 4)]] : [];
  });
  return {header, rows};
}
