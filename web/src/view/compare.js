// Two runs: one that the page holds or that a reader picks as a file, beside the page's own.
import * as Plot from "@observablehq/plot";
import {$, make, offer} from "../dom.js";
import {Blocks} from "../data/blocks.js";
import {obstacle, sharedRecipes} from "../data/compare.js";
import {Run} from "../data/run.js";
import {known, say} from "../data/words.js";
import {hueOf, plot, strengthAxis, tip, yAxis} from "../draw/chart.js";
import {saveMenu} from "../draw/save.js";
import {chip} from "./chips.js";

const SCHEMA = 1;

/** The run of a file of `tangency report`. */
export function runOfFile(text) {
  let content;
  try { content = JSON.parse(text); } catch { throw new Error("this is no JSON; expected report/run.json of a run"); }
  if (content?.schema !== SCHEMA || !content.data?.trials) throw new Error(`got schema ${content?.schema ?? "none"}, expected ${SCHEMA}: a file report/run.json, written by tangency report`);
  const blocks = content.blocks || {};
  return new Run(content.data, new Blocks(name => Object.hasOwn(blocks, name) ? blocks[name] : null));
}

export class Comparison {
  constructor(page) {
    Object.assign(this, page);
    this.place = $("#comparison");
    if (!this.place) return;
    $("#other-run").addEventListener("change", e => this.#read(e.target.files[0]));
    $("#export-run").addEventListener("click", () => this.#export());
    this.chart = $("#comparison-chart");
    this.scatter = $("#comparison-images");
    this.visible.watch(this.chart, () => this.#draw());
    this.visible.watch(this.scatter, () => this.#images());
    $("#comparison-card").append(saveMenu(this.chart, "Comparison", () => this.#table()));
    $("#comparison-images-card").append(saveMenu(this.scatter, "Comparison by image", () => this.#imageTable()));
    this.state.on(["measure"], () => this.#show());
    this.state.on(["objective", "strength", "seed"], () => this.other && this.visible.redraw([this.scatter]));
    const held = document.getElementById("run-data-2");
    if (held) this.#take(new Run(JSON.parse(held.textContent), this.run.blocks));
  }

  async #read(file) {
    if (!file) return;
    const said = $("#other-said");
    try {
      this.#take(runOfFile(await file.text()));
      said.textContent = `Read ${file.name}.`;
    } catch (error) {
      said.textContent = `Not read, ${file.name}: ${error.message}`;
    }
  }

  #take(other) {
    this.other = other;
    this.place.hidden = false;
    this.#show();
  }

  #show() {
    if (!this.other) return;
    const {run, other} = this, key = this.state.now.measure, rows = sharedRecipes(run, other, key), why = obstacle(run, other);
    const differ = rows.filter(own => own.labels[0] && own.labels[1] && own.labels[0] !== own.labels[1]).length, both = rows.filter(own => own.labels[0] && own.labels[1]).length;
    $("#comparison-said").textContent = `This run: ${run.name}. The other: ${other.name}. ${both} recipes are in both; ${differ} of them have another label. ${why}`;
    const label = text => make("td", {}, text ? chip({label: text}) : "–"), number = value => make("td", {className: "num"}, value);
    const cell = (own, which) => number(known(own.means[which]) ? `${say(own.means[which])}${own.bands[which] ? ` [${say(own.bands[which][0])}, ${say(own.bands[which][1])}]` : ""}` : "–");
    $("#comparison-table tbody").replaceChildren(...rows.map(own => make("tr", {}, make("th", {scope: "row"}, own.objective === "standard" ? "standard" : `${run.objectiveName(own.objective)} ${own.strength}`),
      label(own.labels[0]), label(own.labels[1]), cell(own, 0), cell(own, 1), number(known(own.means[0]) && known(own.means[1]) ? say(own.means[0] - own.means[1]) : "–"))));
    $("#comparison-measure").textContent = $("#pick-measure").selectedOptions[0]?.dataset.title || key;
    $("#comparison-images-card").hidden = Boolean(why) || !run.keys.has(key) || !other.keys.has(key) || !other.blocks.has(other.keys.get(key)?.block);
    this.visible.redraw([this.chart, this.scatter]);
  }

  #draw() {
    if (!this.other) return;
    const {run, other, chart} = this, key = this.state.now.measure, axis = strengthAxis([...run.allStrengths(), ...other.allStrengths()], chart.clientWidth - 60);
    const lines = [run, other].flatMap((own, which) => own.objectives.map(({id}) => ({id, which, stroke: hueOf(run, id),
      points: own.series(id, key).filter(p => known(p.mean)).map(p => ({...p, x: axis.at(p.strength), title: `${which ? other.name : run.name}: ${own.objectiveName(id)} ${p.strength}\n${say(p.mean)}`}))})));
    chart.replaceChildren();
    if (!lines.some(line => line.points.length)) return chart.append("Neither run has this measure.");
    plot(chart, {height: 300, x: axis.x, marks: [...yAxis(5), axis.mark, ...lines.flatMap(({points, which, stroke}) => [
      Plot.ruleX(points.filter(p => known(p.low)), {x: "x", y1: "low", y2: "high", stroke, strokeOpacity: 0.5}),
      Plot.line(points, {x: "x", y: "mean", stroke, strokeWidth: 2, ...(which ? {strokeDasharray: "5 4"} : {})}),
      Plot.dot(points, {x: "x", y: "mean", stroke, fill: which ? "var(--card)" : stroke, r: 3.6}), tip(points, {x: "x", y: "mean", title: "title"})])]});
  }

  async #pairs() {
    const {run, other} = this, {objective, strength, seed, measure} = this.state.now;
    const values = own => own.imageValues(measure, own.trialsAt(objective, own.nearest(objective, strength), seed));
    const [a, b] = await Promise.all([values(run), values(other)]);
    return [...a.keys()].map(i => ({i, a: a[i], b: b[i]})).filter(p => !Number.isNaN(p.a) && !Number.isNaN(p.b));
  }

  async #images() {
    if (!this.other || $("#comparison-images-card").hidden) return;
    const points = await this.#pairs(), {run, other, scatter} = this, ends = points.flatMap(p => [p.a, p.b]);
    scatter.replaceChildren();
    if (!points.length) return scatter.append("No image has this measure in both runs at this strength.");
    const line = [Math.min(...ends), Math.max(...ends)].map(v => ({x: v, y: v})), stroke = hueOf(run, this.state.now.objective);
    plot(scatter, {height: 300, x: {inset: 6}, y: {inset: 6}, marks: [...yAxis(5), Plot.axisX({label: `${run.name} (up: ${other.name})`, labelAnchor: "center", labelArrow: "none", ticks: 5, tickFormat: say, tickSize: 3}),
      Plot.line(line, {x: "x", y: "y", stroke: "var(--soft)", strokeDasharray: "5 4"}), Plot.dot(points, {x: "a", y: "b", r: 2.4, fill: stroke, fillOpacity: 0.5}),
      tip(points, {x: "a", y: "b", title: p => `image ${run.explorer.images.ids[p.i]}, ${run.className(p.i)}\n${say(p.a)} and ${say(p.b)}`})]});
  }

  #table() {
    const rows = this.other ? sharedRecipes(this.run, this.other, this.state.now.measure) : [];
    return {header: ["recipe", "label", "label of the other", this.state.now.measure, "of the other", "difference"],
      rows: rows.map(own => [own.name, ...own.labels, ...own.means, known(own.means[0]) && known(own.means[1]) ? own.means[0] - own.means[1] : null])};
  }

  async #imageTable() {
    const ids = this.run.explorer.images.ids;
    return {header: ["image", this.state.now.measure, "of the other"], rows: (await this.#pairs()).map(p => [ids[p.i], p.a, p.b])};
  }

  /** This run as a file that another page can read: as report/run.json, the numbers by image of the headline's keys. */
  #export() {
    const data = JSON.parse(document.getElementById("run-data").textContent), {explorer} = data;
    explorer.keys = explorer.keys.filter(own => explorer.headline.includes(own.key));
    Object.assign(explorer, {left_out: [], pictures: null});
    const blocks = Object.fromEntries(explorer.keys.map(({block}) => [block, document.getElementById(block).textContent.trim()]));
    offer(new Blob([JSON.stringify({schema: SCHEMA, data, blocks})], {type: "application/json"}), "run.json");
  }
}

