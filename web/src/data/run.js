// A run as the page holds it: its trials, their measures, and the numbers of every image.
import {aligned} from "./order.js";
import {CHANCE, MEAN, average, known} from "./words.js";

const STANDARD = "standard";

/** Which key stands for a measure under an estimator of the tangent space ("" for the first one). */
export function underEstimator(key, estimator, has) {
  if (!estimator || key.includes(".tangents=")) return key;
  const other = `${key}.tangents=${estimator}`;
  return has(other) ? other : key;
}

/** The keys of a measure under every estimator that it was measured under, with the estimators' names. */
export function estimatorLines(key, estimators, has) {
  const base = key.replace(/\.tangents=.*$/, ""), all = estimators.map(({id, name}) => ({key: underEstimator(base, id, has), name}));
  const own = all.filter((line, i) => has(line.key) && all.findIndex(other => other.key === line.key) === i);
  return own.some(line => line.key === key) ? own : [{key, name: ""}];
}

export class Run {
  #series = new Map();

  constructor(content, blocks) {
    Object.assign(this, content); // trials, objectives, measures, excess, cells, stories, rule, explorer, …
    this.blocks = blocks;
    this.explorer = content.explorer || null;
    this.keys = new Map((this.explorer?.keys || []).map(entry => [entry.key, entry]));
    this.seeds = [...new Set(this.trials.map(trial => trial.seed))].sort((a, b) => a - b);
    this.places = new Map(this.trials.map((trial, place) => [trial.id, place]));
  }

  objectiveName(id) {
    return this.objectives.find(own => own.id === id)?.name || id.replaceAll("_", " ");
  }

  /** Strengths of an objective in ascending order; 0 is the standard network, which all share. */
  strengths(objective) {
    const own = this.trials.filter(trial => trial.objective === objective || trial.objective === STANDARD);
    return [...new Set(own.map(trial => trial.strength))].sort((a, b) => a - b);
  }

  /** Those of all objectives; 0 alone where nothing was swept. */
  allStrengths() {
    const all = new Set(this.objectives.flatMap(own => this.strengths(own.id)));
    return all.size ? [...all].sort((a, b) => a - b) : [0];
  }

  /** The strength of an objective that is nearest on a log scale, the smaller one of two; 0 only for 0. */
  nearest(objective, strength) {
    const own = this.strengths(objective);
    if (own.includes(strength)) return strength;
    const positive = own.filter(other => other > 0);
    if (!positive.length || strength <= 0) return own[0] ?? null;
    const far = other => Math.abs(Math.log(other / strength));
    return positive.reduce((best, other) => far(other) < far(best) - 1e-9 ? other : best);
  }

  /** Places of the trials of a recipe; of one seed, or of all for null. */
  trialsAt(objective, strength, seed = null) {
    const wanted = strength === 0 && this.strengths(objective).includes(0) ? STANDARD : objective;
    return [...this.trials.keys()].filter(place => {
      const trial = this.trials[place];
      const same = trial.objective === wanted || (trial.objective === objective && trial.strength === 0 && strength === 0);
      return same && trial.strength === strength && (seed === null || trial.seed === seed);
    });
  }

  /** The first trial of an objective, such as "bayes" or "untrained"; −1 for none. */
  reference(objective) {
    return this.trials.findIndex(trial => trial.objective === objective);
  }

  entry(kind, key, place) {
    const own = place >= 0 && this[kind][key]?.[place];
    return own && known(own[MEAN]) ? own : null;
  }

  /** One point for each strength of an objective; of one seed, or of all for null. */
  series(objective, key, kind = "measures", seed = null) {
    const name = [objective, key, kind, seed].join(" ");
    if (!this.#series.has(name))
      this.#series.set(name, this.strengths(objective).map(strength => this.#point(objective, strength, key, kind, seed)));
    return this.#series.get(name);
  }

  #point(objective, strength, key, kind, seed) {
    const places = this.trialsAt(objective, strength, seed), values = this[kind][key] || [];
    const entries = places.map(place => ({trial: this.trials[place], value: this.entry(kind, key, place) && values[place]}));
    const given = entries.filter(entry => entry.value);
    const owner = entries[0]?.trial.objective;
    const cell = kind === "measures" && seed === null
      ? (this.cells[key] || []).find(row => row[0] === owner && row[1] === strength && row[2] !== null) : null;
    const bare = !cell && given.length > 1; // an average of the intervals of single networks says nothing of their recipe
    const end = at => cell ? cell[2 + at] ?? cell[2] : average(given.map(entry => entry.value[at] ?? entry.value[MEAN]));
    return {strength, entries, mean: cell ? cell[2] : average(given.map(entry => entry.value[MEAN])),
      low: bare ? null : end(1), high: bare ? null : end(2), chance: average(given.map(entry => entry.value[CHANCE]))};
  }

  /** The control that is drawn beside a measure; null for none. */
  controlOf(key) {
    if (this.fraction.fraction === key && this.fraction.fraction_control) return this.fraction.fraction_control;
    return [`${key}.pca`, `${key}.shuffled`].find(own => this.measures[own]) || null;
  }

  /** The values of a key by trial and image, (trials × images) in one array. */
  numbers(key) {
    return this.blocks.numbers(this.keys.get(key).block);
  }

  /** The values of a key by image, averaged over trials that have it; NaN where none has. */
  async imageValues(key, places) {
    const all = await this.numbers(key), count = this.explorer.images.count, out = new Float64Array(count);
    for (let image = 0; image < count; image++) {
      let sum = 0, n = 0;
      for (const place of places) {
        const value = all[place * count + image];
        if (!Number.isNaN(value)) { sum += value; n++; }
      }
      out[image] = n ? sum / n : NaN;
    }
    return out;
  }

  /** L of every image under a Bayes direction of `explorer.directions`, averaged over trials that have it. */
  async alignment({own, control}, places) {
    const each = await Promise.all(places.map(async place => aligned(...await Promise.all([own, control].map(key => this.imageValues(key, [place]))))));
    return Float64Array.from({length: this.explorer.images.count}, (_, image) => average(each.map(values => values[image])) ?? NaN);
  }

  /** The cosine between the Bayes directions of an image; NaN where there is one direction only, or it is not held. */
  async agreement(places) {
    const key = this.directions.find(own => own.agreement)?.agreement;
    return key ? this.imageValues(key, places) : null;
  }

  get directions() {
    return this.explorer?.directions || [];
  }

  /** The value of one image, averaged over trials that have it; NaN where none has. */
  async imageValue(key, places, image) {
    const all = await this.numbers(key), {count} = this.explorer.images;
    return average(places.map(place => all[place * count + image])) ?? NaN;
  }

  className(image) {
    const {classes, labels} = this.explorer.images;
    return labels[image] >= 0 ? String(classes[labels[image]]) : "class not known";
  }
}
