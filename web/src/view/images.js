// All measured images as a table: sorted, filtered and searched by any measure or by disagreement of two estimators.
import {$, button, make, offer, option} from "../dom.js";
import {csv} from "../data/csv.js";
import {disagreement, grouped, matches, ordered, ranks} from "../data/order.js";
import {underEstimator} from "../data/run.js";
import {say} from "../data/words.js";
import {drawInto} from "./grid.js";

const AT_ONCE = 50, DISAGREE = "disagreement", LEVEL = "L ", AGREE = "agreement";

/** A number; a cosine between two directions that contradict each other is marked. */
const flaggedCell = (value, flagged) => flagged && value <= 0
  ? make("td", {className: "num warned", title: "The two Bayes directions contradict each other on this image: L under one says nothing of the other."}, `⚠ ${say(value)}`)
  : make("td", {className: "num"}, say(value));

export class Images {
  #token = 0;

  constructor(page, open) {
    Object.assign(this, page, {open});
    this.place = $("#image-list");
    this.images = this.run.explorer?.images;
    if (!this.place || !this.images?.count || !this.run.keys.size) return;
    this.most = AT_ONCE;
    this.order = {by: "", up: false};
    this.#pickers();
    this.visible.watch(this.place, () => this.#show(), {move: () => this.#show(), wide: false});
    this.state.on(["strength", "objective", "seed", "measure", "estimator"], () => { this.most = AT_ONCE; this.visible.move([this.place]); });
  }

  /** The key that stands for the picked measure, or the first one where it is not kept by image. */
  get key() {
    const has = key => this.run.keys.has(key), own = underEstimator(this.state.now.measure, this.state.now.estimator, has);
    return has(own) ? own : this.run.keys.keys().next().value;
  }

  get trials() {
    const {objective, strength, seed} = this.state.now;
    return this.run.trialsAt(objective, this.run.nearest(objective, strength), seed);
  }

  #pickers() {
    const names = this.run.explorer.estimators, pairs = names.flatMap((a, i) => names.slice(i + 1).map(b => [a, b]));
    const {directions} = this.run, group = (label, options) => options.length ? make("optgroup", {label}, ...options) : null;
    $("#order-by").replaceChildren(...[option("", "the picked measure"), option("index", "index in the data"),
      group("Alignment", [...directions.map(own => option(LEVEL + own.target, own.title)), ...(directions.some(own => own.agreement) ? [option(AGREE, "directions agree")] : [])]),
      group("Estimators", pairs.map(([a, b]) => option(`${DISAGREE} ${a.id}|${b.id}`, `disagreement of ${a.name} and ${b.name}`))),
      ...grouped(this.run.keys.values(), this.run.explorer.headline || []).map(([label, entries]) => group(label, entries.map(own => option(own.key, own.title))))].filter(Boolean));
    this.classed = this.images.labels.some(label => label >= 0);
    $("#filter-class").closest("label").hidden = !this.classed;
    $("#order-least").hidden = !directions.length;
    $("#order-least").addEventListener("click", () => {
      this.order = {by: $("#order-by").value = LEVEL + directions[0].target, up: true};
      turned();
      again();
    });
    const turned = () => { $("#order-up").textContent = this.order.up ? "↑ smallest first" : "↓ largest first"; };
    const used = [...new Set(this.images.labels)].filter(label => label >= 0).sort((a, b) => a - b);
    $("#filter-class").replaceChildren(option("", "all"), ...used.map(label => option(label, String(this.images.classes[label]))));
    $("#filter-pictured").closest("label").hidden = !this.pictures.own;
    const again = () => { this.most = AT_ONCE; this.#show(); };
    $("#order-by").addEventListener("change", e => { this.order.by = e.target.value; again(); });
    $("#order-up").addEventListener("click", () => {
      this.order.up = !this.order.up;
      turned();
      again();
    });
    ["#filter-class", "#filter-low", "#filter-high", "#filter-image", "#filter-pictured"].forEach(id => $(id).addEventListener("input", again));
    $("#images-csv").addEventListener("click", () => this.#save());
    $("#images-more").addEventListener("click", () => { this.most += 4 * AT_ONCE; this.#show(); });
  }

  async #ordering() {
    const {by} = this.order, places = this.trials;
    if (by === "index") return {title: "", values: Float64Array.from(this.images.ids)};
    if (by.startsWith(LEVEL)) return {title: "", values: await this.run.alignment(this.run.directions.find(own => LEVEL + own.target === by), places)};
    if (by === AGREE) return {title: "", values: await this.run.agreement(places)};
    if (!by.startsWith(DISAGREE)) return {title: by ? this.run.keys.get(by).title : "", values: await this.run.imageValues(by || this.key, places)};
    const has = key => this.run.keys.has(key), base = this.key.replace(/\.tangents=.*$/, ""), [a, b] = by.slice(DISAGREE.length + 1).split("|");
    const pair = [a, b].map(estimator => underEstimator(base, estimator, has));
    if (pair[0] === pair[1]) return {title: "disagreement: the picked measure is not kept under both estimators", values: new Float64Array(this.images.count).fill(NaN)};
    const [first, second] = await Promise.all(pair.map(key => this.run.imageValues(key, places)));
    const names = [a, b].map(id => this.run.explorer.estimators.find(own => own.id === id).name);
    const beside = [first, second].flatMap((values, i) => [{title: names[i], key: pair[i], values}, {title: `rank under ${names[i]}, 0 to 1`, key: null, values: ranks(values)}]);
    return {title: "disagreement (difference of ranks)", values: disagreement(first, second), beside};
  }

  #wanted() {
    const number = id => $(id).value.trim() === "" || !Number.isFinite(Number($(id).value)) ? undefined : Number($(id).value);
    const label = $("#filter-class").value;
    return {label: label === "" ? undefined : Number(label), low: number("#filter-low"), high: number("#filter-high"), text: $("#filter-image").value, pictured: $("#filter-pictured").checked};
  }

  /** Columns beside the images, and the places of those asked for, in order. */
  async #listed() {
    const entry = this.run.keys.get(this.key), places = this.trials, order = await this.#ordering();
    const keys = [entry, ...entry.controls.map(own => this.run.keys.get(own))].filter(Boolean);
    const columns = await Promise.all(keys.map(async (own, i) => ({title: i ? own.control.replaceAll("_", " ") : own.title, key: own.key, values: await this.run.imageValues(own.key, places)})));
    columns.push(...await Promise.all(this.run.directions.map(async own => ({title: own.title, key: LEVEL + own.target, values: await this.run.alignment(own, places)}))));
    const agreement = await this.run.agreement(places);
    if (agreement) columns.push({title: "Directions agree", key: AGREE, values: agreement, flagged: true});
    columns.push(...(order.beside || []));
    if (order.title) columns.push({title: order.title, key: this.order.by, values: order.values});
    const wanted = this.#wanted(), listed = ordered(order.values, this.order.up).filter(i => matches({
      id: this.images.ids[i], label: this.images.labels[i], className: this.run.className(i), pictured: this.pictures.placeOf(i) >= 0}, order.values[i], wanted));
    return {columns, listed, trials: places.map(place => this.run.trials[place].id)};
  }

  async #show() {
    const token = ++this.#token, {columns, listed, trials} = await this.#listed();
    if (token !== this.#token) return; // a newer wish is under way
    const plain = [["Image", "index"], ...(this.classed ? [["Class", null]] : [])], head = [...plain, ...columns.map(own => [own.title, own.key])];
    $("thead", this.place).replaceChildren(make("tr", {}, ...head.map(([text, key], i) => this.#heading(text, key, i >= plain.length))));
    const old = [...$("tbody", this.place).rows];
    old.forEach(row => this.visible.forget(row));
    $("tbody", this.place).replaceChildren(...listed.slice(0, this.most).map(i => this.#row(i, columns)));
    const pictured = this.images.ids.filter((_, i) => this.pictures.placeOf(i) >= 0).length;
    $("#images-count").textContent = `${listed.length} of ${this.images.count} images; ${pictured} have pictures ▣; numbers of ${trials.join(", ") || "no trial"}${trials.length > 1 ? ", averaged" : ""}`;
    $("#images-more").hidden = listed.length <= this.most;
  }

  /** A heading; a click orders by it, another one the other way. */
  #heading(text, key, number) {
    const here = key !== null && key === (this.order.by || this.key), th = make("th", {scope: "col", className: number ? "num" : "", title: key || "", "aria-sort": here ? (this.order.up ? "ascending" : "descending") : null});
    if (key === null) th.append(text);
    else th.append(make("button", {type: "button"}, text));
    th.firstElementChild?.addEventListener("click", () => {
      if (here) return $("#order-up").click();
      this.order.by = $("#order-by").value = key;
      this.most = AT_ONCE;
      this.#show();
    });
    if (key !== null) th.dataset.sortable = "";
    return th;
  }

  #row(i, columns) {
    const id = this.images.ids[i], place = this.pictures.placeOf(i), name = this.run.className(i);
    const own = button(`${id}`, () => this.open(i, place, own), {className: "quiet image-link", "aria-label": `Image ${id}, ${name}${place >= 0 ? ", with pictures" : ""}`, dataset: {image: id}});
    const row = make("tr", {}, make("th", {scope: "row"}, own), ...(this.classed ? [make("td", {}, name)] : []),
      ...columns.map(column => flaggedCell(column.values[i], column.flagged)));
    if (place >= 0) {
      const [photo, gradient] = [make("canvas", {className: "thumb"}), make("canvas", {className: "thumb"})];
      own.prepend(photo, gradient);
      own.append(" ▣");
      this.visible.watch(row, () => {
        const trial = this.pictures.trialFor(this.state.now.objective, this.run.nearest(this.state.now.objective, this.state.now.strength), this.state.now.seed);
        return Promise.all([drawInto(photo, this.pictures.photo(place), this.pictures.shape, {photo: true}),
          drawInto(gradient, trial ? this.pictures.gradient(trial.id, place) : Promise.resolve(null), this.pictures.shape)]);
      }, {wide: false});
    }
    return row;
  }

  async #save() {
    const {columns, listed} = await this.#listed();
    const rows = listed.map(i => [this.images.ids[i], this.run.className(i), ...columns.map(own => own.values[i])]);
    offer(new Blob([csv(["image", "class", ...columns.map(own => own.key || own.title)], rows)], {type: "text/csv"}), "images.csv");
  }
}
