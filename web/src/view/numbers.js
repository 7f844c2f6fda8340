// The numbers of one image: the picked measure against the strength, and a table of all measures beside their controls.
import * as Plot from "@observablehq/plot";
import {make, offer} from "../dom.js";
import {csv} from "../data/csv.js";
import {known, say} from "../data/words.js";
import {hueOf, level, plot, spread, strengthAxis, yAxis} from "../draw/chart.js";
import {estimatorLines, underEstimator} from "../data/run.js";
import {edged} from "./scrolls.js";

export class ImageNumbers {
  constructor(run, state) {
    Object.assign(this, {run, state});
  }

  /** The picked measure against the strength, and a table of all numbers beside their controls, filled row by row. */
  sections(image, places) {
    Object.assign(this, {image, places});
    this.controls = [...new Set(this.measured.flatMap(own => own.controls.map(key => this.run.keys.get(key).control)))];
    const entry = this.#picked();
    const head = ["Measure", "This image", "Chance", ...this.controls.map(own => own.replaceAll("_", " "))], left = this.run.explorer.left_out.length;
    this.body = make("tbody");
    const table = make("table", {className: "plain", id: "dialog-numbers"}, make("thead", {}, make("tr", {}, ...head.map((text, i) => make("th", {scope: "col", className: i ? "num" : ""}, text)))), this.body);
    const trials = places.map(place => this.run.trials[place].id).join(", ");
    this.chart = make("div", {className: "plot", role: "img", "aria-label": "The picked measure of this image against the strength; the numbers are in the table."});
    return [
      make("section", {}, make("h3", {}, `${entry.title} of this image`), make("p", {className: "small"}, "Thick: this image; dotted: its controls; grey: the mean over all images; thin, where there are several: under the other estimators of the tangent space. Lines are named at their right end."), this.chart),
      make("section", {}, make("h3", {}, "Numbers of this image"), make("p", {className: "small"}, `${trials}${places.length > 1 ? ", averaged over seeds" : ""}. ${left ? `${left} measures are in rows.parquet only, for the size of this page.` : ""}`),
        edged(make("div", {className: "scroll", tabIndex: 0, role: "region", "aria-label": "Numbers of this image"}, table))),
    ];
  }

  get measured() {
    return [...this.run.keys.values()].filter(own => !own.control);
  }

  async fill(objective) {
    const {body} = this;
    await this.#chart(objective);
    await this.#rows(body);
  }

  /** One row after the other, as blocks are decoded, so that the page answers meanwhile. */
  async #rows(body) {
    const {controls: names, places} = this;
    for (const entry of this.measured) {
      const {value, controls} = await this.#row(entry, this.image, places);
      if (body !== this.body || !body.isConnected) return;
      body.append(make("tr", {}, make("th", {scope: "row", title: entry.key}, entry.title), make("td", {className: "num"}, say(value)), make("td", {className: "num"}, say(entry.chance)),
        ...names.map(name => make("td", {className: "num"}, say(controls.find(own => own.control === name)?.value)))));
    }
    const rows = [...body.closest("table").rows], empty = [...rows[0].cells].map((_, i) => i).filter(i => i > 1 && rows.slice(1).every(row => row.cells[i].textContent === say(null)));
    empty.reverse().forEach(i => rows.forEach(row => row.deleteCell(i))); // of no measure of this image
  }

  async #row(entry, image, places) {
    const value = key => this.run.imageValue(key, places, image);
    const controls = entry.controls.map(async key => ({control: this.run.keys.get(key).control, key, value: await value(key)}));
    return {value: await value(entry.key), controls: await Promise.all(controls)};
  }

  #picked() {
    const {measure, estimator} = this.state.now, own = underEstimator(measure, estimator, key => this.run.keys.has(key));
    return this.run.keys.get(own) || this.run.keys.get(measure) || this.run.keys.get(this.run.fraction.fraction) || this.run.keys.values().next().value;
  }

  async #chart(objective) {
    const {chart, run, image} = this, entry = this.#picked(), strengths = run.strengths(objective), axis = strengthAxis(strengths, chart.clientWidth - 200);
    const at = async key => Promise.all(strengths.map(async strength => {
      const values = await run.imageValues(key, run.trialsAt(objective, strength, this.state.now.seed)), finite = values.filter(own => !Number.isNaN(own));
      return {x: axis.at(strength), y: values[image], mean: finite.length ? finite.reduce((a, b) => a + b, 0) / finite.length : NaN};
    }));
    const estimators = estimatorLines(entry.key, run.explorer.estimators, key => run.keys.has(key)), several = estimators.length > 1, stroke = hueOf(run, objective);
    const own = await at(entry.key), lines = [
      {name: several ? `this image, ${estimators.find(line => line.key === entry.key).name}` : "this image", points: own, y: "y", stroke, strokeWidth: 2.2},
      {name: "mean of all images", points: own, y: "mean", stroke: "var(--soft)", strokeWidth: 1.4},
      ...await Promise.all(estimators.filter(line => line.key !== entry.key).map(async ({key, name}, i) => ({name, points: await at(key), y: "y", stroke: `var(--o${(i + 4) % 8})`, strokeWidth: 1.4}))),
      ...await Promise.all(entry.controls.map(async key => ({name: run.keys.get(key).control.replaceAll("_", " "), points: await at(key), y: "y", stroke, strokeWidth: 1, strokeDasharray: "2 3"}))),
    ].map(line => ({...line, last: line.points.findLast(p => !Number.isNaN(p[line.y]))})).filter(line => line.last);
    const height = 60 + Math.max(170, 14 * lines.length), values = [...lines.flatMap(({points, y}) => points.map(p => p[y])), entry.chance].filter(known);
    const low = Math.min(...values), room = Math.max(...values) - low || 1, domain = [low - 0.05 * room, low + 1.05 * room], [top, bottom] = [16, height - 38];
    const places = spread(lines.map(({last, y}) => bottom - (last[y] - domain[0]) / (domain[1] - domain[0]) * (bottom - top)), 13, top, bottom);
    if (chart !== this.chart || !chart.isConnected) return;
    chart.replaceChildren();
    plot(chart, {height, marginRight: 150, x: axis.x, y: {domain}, marks: [...yAxis(4), axis.mark, ...(known(entry.chance) ? level(entry.chance, "dash", "chance") : []),
      ...lines.toReversed().map(({points, last, ...line}) => Plot.line(points, {x: "x", ...line, name: undefined})),
      ...lines.map(({name, stroke: hue, strokeDasharray}, i) => Plot.text([`${strokeDasharray ? "┄ " : "— "}${name}`], {frameAnchor: "top-right", textAnchor: "start", lineAnchor: "middle", dx: 8, dy: places[i] - top, fill: hue, fontSize: 11})),
      Plot.dot(own.filter(p => !Number.isNaN(p.y)), {x: "x", y: "y", fill: stroke, r: 3.4})]});
  }

  async save(image, objective) {
    const rows = [];
    for (const strength of this.run.strengths(objective)) {
      const places = this.run.trialsAt(objective, strength, this.state.now.seed);
      for (const entry of this.measured) {
        const {value, controls} = await this.#row(entry, image, places);
        rows.push([objective, strength, entry.key, value], ...controls.map(own => [objective, strength, own.key, own.value]));
      }
    }
    offer(new Blob([csv(["objective", "strength", "measure", "value"], rows)], {type: "text/csv"}), `image-${this.run.explorer.images.ids[image]}.csv`);
  }
}
