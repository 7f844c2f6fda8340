// The picture grid: images, their targets, and the gradient of every objective at the chosen strength.
import {$, $$, make} from "../dom.js";
import {colouredPixels, paint, photoPixels, signedPixels} from "../draw/pixels.js";
import {capital} from "../data/words.js";
import {chip} from "./chips.js";

/** A canvas whose pixels come later; a newer wish wins. */
export async function drawInto(canvas, values, shape, {photo = false, coloured = false} = {}) {
  const wish = Symbol("wish");
  canvas.wish = wish;
  const own = await values;
  if (canvas.wish !== wish) return;
  const pixels = own === null ? null : photo ? photoPixels(own, shape[0]) : coloured && shape[0] === 3 ? colouredPixels(own) : signedPixels(own, shape[0]);
  paint(canvas, pixels, shape.slice(1));
  canvas.classList.toggle("signed", !photo && !coloured);
}

export class Grid {
  constructor(page, open) {
    Object.assign(this, page, {open});
    this.table = $("#grid");
    this.coloured = $("#coloured");
    if (!this.pictures.own || !this.table) return;
    this.columns = [{kind: "image", title: "image"}, ...this.pictures.own.targets.map((own, index) => ({kind: "target", index, title: own.title})),
      ...this.run.objectives.map(own => ({kind: "gradient", objective: own.id, title: capital(own.name)}))];
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

  #trial({objective}) {
    const strength = this.run.nearest(objective, this.state.now.strength);
    return {strength, trial: this.pictures.trialFor(objective, strength, this.state.now.seed)};
  }

  #row(place) {
    const name = this.pictures.className(place);
    const cells = this.columns.map((column, i) => {
      const own = make("button", {type: "button", tabIndex: -1, dataset: {place}, "aria-label": `${capital(column.title)}: test picture ${place + 1}, ${name}`}, make("canvas"));
      own.addEventListener("click", () => this.open(this.pictures.image[place], place, own));
      return i ? make("td", {}, own) : make("th", {scope: "row", className: "pinned"}, own, make("span", {className: "class-name"}, name));
    });
    return make("tr", {}, ...cells);
  }

  #draw(row, place, gradients = false) {
    this.columns.forEach((column, i) => {
      if (gradients && column.kind !== "gradient") return;
      const canvas = $("canvas", row.cells[i]), coloured = this.coloured?.checked;
      if (column.kind === "image") drawInto(canvas, this.pictures.photo(place), this.pictures.shape, {photo: true});
      else if (column.kind === "target") drawInto(canvas, this.pictures.target(column.index, place), this.pictures.shape, {coloured});
      else {
        const {trial} = this.#trial(column);
        canvas.dataset.trial = trial?.id || "";
        drawInto(canvas, trial ? this.pictures.gradient(trial.id, place) : Promise.resolve(null), this.pictures.shape, {coloured});
      }
    });
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
