// The pictures of a run: images, targets, gradients of every trial, and their parts in and off the tangent space.

/** Σⱼ (bⱼ·g) bⱼ over the rows bⱼ of a basis (rank, d) of int8 with a scale each: the part of g in their span. */
export function tangentPart(gradient, values, scales, rank) {
  const d = gradient.length, out = new Float64Array(d);
  for (let j = 0; j < rank; j++) {
    const row = values.subarray(j * d, (j + 1) * d), scale = scales[j] / 127;
    let along = 0;
    for (let i = 0; i < d; i++) along += row[i] * gradient[i];
    along *= scale * scale;
    for (let i = 0; i < d; i++) out[i] += along * row[i];
  }
  return out;
}

export class Pictures {
  constructor(run) {
    this.run = run;
    const own = run.explorer?.pictures;
    this.own = own && run.blocks.has(own.image) ? own : null;
    this.shape = this.own?.shape || run.explorer?.images.shape || [1, 1, 1];
    this.places = this.own ? [...this.own.labels.keys()] : []; // of the pictured images, among the pictures
    this.image = this.places.map(place => run.explorer.images.pictured[place] ?? -1); // their places among all images; −1 where not known
  }

  get size() {
    return this.shape[1] * this.shape[2];
  }

  /** The place among the pictures of an image, or −1. */
  placeOf(image) {
    return image < 0 ? -1 : this.image.indexOf(image);
  }

  className(place) {
    const label = this.own.labels[place];
    return label >= 0 ? String(this.run.explorer.images.classes[label]) : "class not known";
  }

  async #slice(block, place, signed) {
    const {values, shape} = await this.run.blocks.pictures(block, signed), length = shape.slice(1).reduce((a, b) => a * b, 1);
    return values.subarray(place * length, (place + 1) * length);
  }

  photo(place) {
    return this.#slice(this.own.image, place, false);
  }

  target(index, place) {
    return this.#slice(this.own.targets[index].block, place, true);
  }

  hasGradient(trial) {
    return Boolean(this.own?.gradients[trial]);
  }

  gradient(trial, place) {
    return this.#slice(this.own.gradients[trial], place, true);
  }

  /** {tangent, normal, share}: the parts of a gradient, and the share of its energy in the tangent space. */
  async parts(trial, place, index) {
    const {block, rank} = this.own.tangents[index], gradient = Float64Array.from(await this.gradient(trial, place));
    const {values, scales} = await this.run.blocks.pictures(block), length = rank * gradient.length;
    const tangent = tangentPart(gradient, values.subarray(place * length, (place + 1) * length), scales.slice(place * rank, (place + 1) * rank), rank);
    return {tangent, normal: gradient.map((value, i) => value - tangent[i])};
  }

  /** The trial whose gradients stand for a recipe: of the seed, or the first one that kept some. */
  trialFor(objective, strength, seed) {
    const places = this.run.trialsAt(objective, strength, seed);
    return places.map(place => this.run.trials[place]).find(trial => this.hasGradient(trial.id)) || null;
  }
}
