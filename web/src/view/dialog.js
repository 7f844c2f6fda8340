// One image: its pictures, its gradient at every strength, and the parts in and off the tangent space.
import {$, button, make, option} from "../dom.js";
import {capital, known, say} from "../data/words.js";
import {drawInto} from "./grid.js";
import {chip} from "./chips.js";
import {ImageNumbers} from "./numbers.js";

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
    $("[data-csv]", this.dialog).addEventListener("click", () => this.numbers.save(this.image, this.shown.objective));
    this.numbers = new ImageNumbers(this.run, this.state);
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
    const parts = [this.#pictures(trial, objective, strength), this.#answers(trial), this.#strip(objective), this.#references(), ...(numbered ? this.numbers.sections(this.image, places) : [])];
    this.body.replaceChildren(...parts.filter(Boolean));
    this.body.scrollTop = at;
    if (!numbered) return;
    await this.numbers.fill(objective);
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
}
