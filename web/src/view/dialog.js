// One image: its pictures, its gradient at every strength, the parts in and off the tangent space, and all its numbers.
import * as Plot from "@observablehq/plot";
import {$, button, make, offer, option} from "../dom.js";
import {csv} from "../data/csv.js";
import {capital, known, say} from "../data/words.js";
import {hueOf, level, plot, spread, strengthAxis, yAxis} from "../draw/chart.js";
import {estimatorLines, underEstimator} from "../data/run.js";
import {drawInto} from "./grid.js";
import {edged} from "./scrolls.js";
import {chip} from "./chips.js";

const figure = (title, canvas, note = "") => make("figure", {}, canvas, make("figcaption", {}, title, ...(note ? [make("br"), make("span", {className: "small"}, note)] : [])));

export class ImageDialog {
  #token = 0;

  constructor(page) {
    Object.assign(this, page);
    this.dialog = $("#image-dialog");
    if (!this.dialog) return;
    this.body = $(".dialog-body", this.dialog);
    $("[data-close]", this.dialog).addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", e => { if (e.target === this.dialog) this.dialog.close(); });
    this.dialog.addEventListener("close", () => this.from?.isConnected && this.from.focus());
    [["[data-previous]", -1], ["[data-next]", 1]].forEach(([name, step]) => $(name, this.dialog).addEventListener("click", () => this.#step(step)));
    $("[data-csv]", this.dialog).addEventListener("click", () => this.#save());
    this.space = $("#dialog-estimator");
    this.spaces = this.pictures.own?.tangents || [];
    this.space.replaceChildren(...this.spaces.map((own, i) => option(i, `${own.estimator}, rank ${own.rank}`)));
    this.space.closest("label").hidden = this.spaces.length < 2;
    this.space.addEventListener("change", () => this.show());
    $("#dialog-objective").replaceChildren(...this.run.objectives.map(own => option(own.id, capital(own.name))));
    $("#dialog-objective").addEventListener("change", e => this.state.set({objective: e.target.value}));
    this.state.on(["objective", "strength", "seed", "measure", "estimator", "thresholds"], () => { if (this.dialog.open) this.show(); });
  }

  /** @param image place among all images, −1 for none; @param place among the pictured ones, −1 for none. */
  open(image, place, from) {
    Object.assign(this, {image, place, from: from || this.from});
    if (!this.dialog.open) this.dialog.showModal();
    return this.show();
  }

  #step(by) {
    const all = this.place >= 0 ? this.pictures.places : [...this.run.explorer.images.ids.keys()], now = this.place >= 0 ? this.place : this.image;
    const next = (now + by + all.length) % all.length;
    this.open(this.place >= 0 ? this.pictures.image[next] : next, this.place >= 0 ? next : -1);
  }

  get shown() {
    const {objective, strength, seed} = this.state.now, own = this.run.nearest(objective, strength);
    const kept = this.place >= 0 ? this.pictures.trialFor(objective, own, seed) : null;
    return {objective, strength: own, places: this.run.trialsAt(objective, own, seed), trial: kept};
  }

  async show() {
    const token = ++this.#token, {objective, strength, trial, places} = this.shown, {images} = this.run.explorer;
    $("#dialog-objective").value = objective;
    const name = this.place >= 0 ? this.pictures.className(this.place) : this.run.className(this.image);
    $("h2", this.dialog).textContent = this.image >= 0 ? `Image ${images.ids[this.image]}, ${name}` : `Picture ${this.place + 1}, ${name}`;
    this.#agreed(places, token);
    const numbered = this.image >= 0 && this.run.keys.size > 0, at = this.body.scrollTop;
    const parts = [this.#pictures(trial, objective, strength), this.#answers(trial), this.#strip(objective), this.#references(), ...(numbered ? this.#numbers(places) : [])];
    this.body.replaceChildren(...parts.filter(Boolean));
    this.body.scrollTop = at;
    if (!numbered) return;
    await this.#chart(objective);
    await this.fill(token);
  }

  /** How far the Bayes directions of the image agree, in the title. */
  async #agreed(places, token) {
    const values = this.image >= 0 ? await this.run.agreement(places) : null;
    if (!values || token !== this.#token || !known(values[this.image])) return;
    const cosine = values[this.image];
    $("h2", this.dialog).append(make("span", {className: "small"}, `: cosine of its two Bayes directions ${say(cosine)}${cosine <= 0 ? " ⚠ they contradict each other" : ""}`));
  }

  #canvas(values, options) {
    const own = make("canvas");
    drawInto(own, values, this.pictures.shape, options);
    return own;
  }

  #pictures(trial, objective, strength) {
    const {pictures, place} = this;
    if (place < 0) return make("p", {className: "what"}, pictures.own
      ? `No pictures of this image: gradients are kept of ${pictures.places.length} images, chosen before the results.` : "This run kept no pictures.");
    const all = [figure("image", this.#canvas(pictures.photo(place), {photo: true})), ...pictures.own.targets.map((own, i) => figure(own.title, this.#canvas(pictures.target(i, place))))];
    if (trial) {
      all.push(figure(`gradient, ${trial.name}`, this.#canvas(pictures.gradient(trial.id, place)), trial.id));
      if (this.spaces.length) {
        const parts = pictures.parts(trial.id, place, Number(this.space.value || 0)), {estimator, rank} = this.spaces[Number(this.space.value || 0)];
        all.push(figure("its tangent part", this.#canvas(parts.then(own => own.tangent)), `${estimator}, rank ${rank}`), figure("its normal part", this.#canvas(parts.then(own => own.normal)), "the rest"));
      }
    }
    const words = trial ? "" : ` No gradient is kept of ${this.run.objectiveName(objective)} ${strength}.`;
    return make("section", {}, make("div", {className: "film large"}, ...all),
      make("p", {className: "small"}, `Each picture has its own symmetric scale: compare shapes, not strengths.${words} ${this.spaces.length ? "" : pictures.own.why_no_tangents}`));
  }

  #answers(trial) {
    const p = trial && this.pictures.own?.probabilities?.[trial.id]?.[this.place], answer = trial && this.pictures.own?.answers?.[trial.id]?.[this.place];
    if (!known(p)) return null;
    const {classes} = this.run.explorer.images;
    return make("p", {className: "what", id: "dialog-answer"}, `p(y|x) of the label, ${this.pictures.className(this.place)}: `, make("strong", {}, say(p)), ...(known(answer) ? [`; the network's answer: ${classes[answer]}.`] : ["."]));
  }

  /** The gradient at every strength of the objective; a click moves the slider. */
  #strip(objective) {
    if (this.place < 0) return null;
    const cells = this.run.strengths(objective).map(strength => {
      const trial = this.pictures.trialFor(objective, strength, this.state.now.seed), here = strength === this.shown.strength;
      const canvas = this.#canvas(trial ? this.pictures.gradient(trial.id, this.place) : Promise.resolve(null));
      const own = button("", () => this.state.set({strength}), {className: `frame${here ? " here" : ""}`, "aria-label": `Gradient at strength ${strength}`, "aria-pressed": String(here)});
      own.append(canvas);
      return make("figure", {}, own, make("figcaption", {}, strength ? String(strength) : "standard", make("br"), chip(this.labels.at(objective, strength))));
    });
    return make("section", {}, make("h3", {}, `Gradient at every strength of ${this.run.objectiveName(objective)}`), make("div", {className: "film", id: "dialog-strip"}, ...cells));
  }

  /** Gradients of the Bayes rule, the untrained network and others that are no part of a sweep. */
  #references() {
    if (this.place < 0) return null;
    const swept = new Set([...this.run.objectives.map(own => own.id), "standard"]), {seed} = this.state.now;
    const kept = this.run.trials.filter(trial => !swept.has(trial.objective) && this.pictures.hasGradient(trial.id));
    const one = [...new Set(kept.map(trial => trial.objective))].map(id => kept.filter(own => own.objective === id)).map(own => own.find(trial => trial.seed === seed) || own[0]);
    if (!one.length) return null;
    return make("section", {}, make("h3", {}, "Gradients of the references"), make("div", {className: "film"}, ...one.map(trial => figure(trial.name, this.#canvas(this.pictures.gradient(trial.id, this.place)), trial.id))));
  }

  /** The picked measure against the strength, and a table of all numbers beside their controls, filled row by row. */
  #numbers(places) {
    const names = [...new Set(this.measured.flatMap(own => own.controls.map(key => this.run.keys.get(key).control)))], entry = this.#picked();
    const head = ["Measure", "This image", "Chance", ...names.map(own => own.replaceAll("_", " "))], left = this.run.explorer.left_out.length;
    const body = make("tbody"), table = make("table", {className: "plain", id: "dialog-numbers"}, make("thead", {}, make("tr", {}, ...head.map((text, i) => make("th", {scope: "col", className: i ? "num" : ""}, text)))), body);
    const trials = places.map(place => this.run.trials[place].id).join(", ");
    this.chart = make("div", {className: "plot", role: "img", "aria-label": "The picked measure of this image against the strength; the numbers are in the table."});
    this.fill = token => this.#fill(token, body, names, places);
    return [
      make("section", {}, make("h3", {}, `${entry.title} of this image`), make("p", {className: "small"}, "Thick: this image; dotted: its controls; grey: the mean over all images; thin, where there are several: under the other estimators of the tangent space. Lines are named at their right end."), this.chart),
      make("section", {}, make("h3", {}, "Numbers of this image"), make("p", {className: "small"}, `${trials}${places.length > 1 ? ", averaged over seeds" : ""}. ${left ? `${left} measures are in rows.parquet only, for the size of this page.` : ""}`),
        edged(make("div", {className: "scroll", tabIndex: 0, role: "region", "aria-label": "Numbers of this image"}, table))),
    ];
  }

  get measured() {
    return [...this.run.keys.values()].filter(own => !own.control);
  }

  /** One row after the other, as blocks are decoded, so that the page answers meanwhile. */
  async #fill(token, body, names, places) {
    for (const entry of this.measured) {
      const {value, controls} = await this.#row(entry, places);
      if (token !== this.#token || !body.isConnected) return;
      body.append(make("tr", {}, make("th", {scope: "row", title: entry.key}, entry.title), make("td", {className: "num"}, say(value)), make("td", {className: "num"}, say(entry.chance)),
        ...names.map(name => make("td", {className: "num"}, say(controls.find(own => own.control === name)?.value)))));
    }
    const rows = [...body.closest("table").rows], empty = [...rows[0].cells].map((_, i) => i).filter(i => i > 1 && rows.slice(1).every(row => row.cells[i].textContent === say(null)));
    empty.reverse().forEach(i => rows.forEach(row => row.deleteCell(i))); // of no measure of this image
  }

  async #row(entry, places) {
    const value = key => this.run.imageValue(key, places, this.image);
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

  async #save() {
    const rows = [], {objective} = this.shown;
    for (const strength of this.run.strengths(objective)) {
      const places = this.run.trialsAt(objective, strength, this.state.now.seed);
      for (const entry of this.measured) {
        const {value, controls} = await this.#row(entry, places);
        rows.push([objective, strength, entry.key, value], ...controls.map(own => [objective, strength, own.key, own.value]));
      }
    }
    offer(new Blob([csv(["objective", "strength", "measure", "value"], rows)], {type: "text/csv"}), `image-${this.run.explorer.images.ids[this.image]}.csv`);
  }
}
