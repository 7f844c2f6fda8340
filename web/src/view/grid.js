// The picture grid: images, their targets, and the gradient of every objective at the chosen strength.
import {$, $$, make} from "../dom.js";
import {colouredPixels, paint, photoPixels, signedPixels} from "../draw/pixels.js";
import {capital} from "../data/words.js";
import {chip} from "./chips.js";

/** A canvas whose pixels come later; whether there is something to see, or null where a newer wish won. */
export async function drawInto(canvas, values, shape, {photo = false, coloured = false} = {}) {
  const wish = Symbol("wish");
  canvas.wish = wish;
  const own = await values;
  if (canvas.wish !== wish) return null;
  const pixels = own === null ? null : photo ? photoPixels(own, shape[0]) : coloured && shape[0] === 3 ? colouredPixels(own) : signedPixels(own, shape[0]);
  paint(canvas, pixels, shape.slice(1));
  canvas.classList.toggle("signed", !photo && !coloured);
  return pixels !== null;
}

export class Grid {
  constructor(page, open) {
    Object.assign(this, page, {open});
    this.table = $("#grid");
    this.coloured = $("#coloured");
    if (!this.pictures.own || !this.table) return;
    this.columns = [{kind: "image", title: "image"}, ...this.pictures.own.targets.map((own, index) => ({kind: "target", index, title: own.title})),
      ...this.#references(["standard"]), ...this.run.objectives.map(own => ({kind: "gradient", objective: own.id, title: capital(own.name)})), ...this.#references()];
    this.#head();
    $("tbody", this.table).replaceChildren(...this.pictures.places.map(place => this.#row(place)));
    this.rows = $$("tbody tr", this.table);
    this.rows.forEach((row, place) => this.visible.watch(row, () => this.#draw(row, place), {move: () => this.#draw(row, place, true), wide: false}));
    this.state.on(["strength", "seed"], () => { this.#titles(); this.visible.move(this.rows); });
    this.state.on(["thresholds"], () => this.#titles());
    this.coloured?.addEventListener("change", () => this.visible.redraw(this.rows));
    $("#cell-size").addEventListener("input", e => document.documentElement.style.setProperty("--cell", `${e.target.value}px`));
    this.table.addEventListener("keydown", e => this.#step(e));
    $("button", this.table).tabIndex = 0;
  }

  /** Columns of networks that are no part of a sweep and kept gradients: those named, or all but the standard one. */
  #references(named = null) {
    const swept = new Set([...this.run.objectives.map(own => own.id), ...(named ? [] : ["standard"])]);
    const kept = this.run.trials.filter(trial => this.pictures.hasGradient(trial.id) && (named ? named.includes(trial.objective) : !swept.has(trial.objective)));
    const first = [...new Set(kept.map(trial => trial.objective))].map(id => kept.find(trial => trial.objective === id));
    return first.map(trial => ({kind: "reference", objective: trial.objective, title: capital(trial.name)}));
  }

  #head() {
    this.heads = this.columns.map((column, i) => make("th", {scope: "col", className: i ? "" : "pinned"}, column.title));
    $("thead", this.table).replaceChildren(make("tr", {}, ...this.heads));
    this.#titles();
  }

  /** Which recipe each column of gradients shows. */
  #titles() {
    this.columns.forEach((column, i) => {
      if (column.kind !== "gradient") return;
      const {strength} = this.#trial(column);
      this.heads[i].replaceChildren(strength === 0 ? "Standard" : `${column.title} ${strength ?? ""}`, make("br"), chip(this.labels.at(column.objective, strength)));
    });
  }

  #trial({kind, objective}) {
    if (kind === "reference") {
      const own = this.run.trials.filter(trial => trial.objective === objective && this.pictures.hasGradient(trial.id));
      return {strength: 0, trial: own.find(trial => trial.seed === this.state.now.seed) || own[0]};
    }
    const strength = this.run.nearest(objective, this.state.now.strength);
    return {strength, trial: this.pictures.trialFor(objective, strength, this.state.now.seed)};
  }

  #row(place) {
    const name = this.pictures.className(place);
    const cells = this.columns.map((column, i) => {
      const own = make("button", {type: "button", tabIndex: -1, dataset: {place}, "aria-label": `${capital(column.title)}: picture ${place + 1}, ${name}`}, make("canvas"));
      own.addEventListener("click", () => this.open(this.pictures.image[place], place, own));
      return i ? make("td", {}, own) : make("th", {scope: "row", className: "pinned"}, own, make("span", {className: "class-name"}, name));
    });
    return make("tr", {}, ...cells);
  }

  #draw(row, place, gradients = false) {
    return Promise.all(this.columns.map((column, i) => {
      if (gradients && !["gradient", "reference"].includes(column.kind)) return null;
      const canvas = $("canvas", row.cells[i]), coloured = this.coloured?.checked;
      if (column.kind === "image") return drawInto(canvas, this.pictures.photo(place), this.pictures.shape, {photo: true});
      if (column.kind === "target") return drawInto(canvas, this.pictures.target(column.index, place), this.pictures.shape, {coloured});
      const {trial} = this.#trial(column), values = trial ? this.pictures.gradient(trial.id, place) : Promise.resolve(null);
      canvas.dataset.trial = trial?.id || "";
      return drawInto(canvas, values, this.pictures.shape, {coloured}).then(seen => {
        if (seen !== null) canvas.parentElement.setAttribute("aria-label", `${seen ? "Gradient" : "No gradient"} of ${trial?.name || column.title}: picture ${place + 1}, ${this.pictures.className(place)}`);
      });
    }));
  }

  #step(e) {
    const cells = $$("tbody button", this.table), now = cells.indexOf(document.activeElement), across = this.columns.length;
    const to = cells[now + {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across}[e.key]];
    if (now < 0 || !to) return;
    e.preventDefault();
    cells[now].tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }
}
