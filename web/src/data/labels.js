// The labels of recipes: those of the study, or by the thresholds that a reader chose.
import {LABELS, relabelled} from "./rule.js";

export class Labels {
  constructor(run) {
    this.run = run;
    this.rule = run.rule || null;
    this.cases = new Map((this.rule?.recipes || []).flatMap(own => own.trials.map(place => [place, own])));
    this.networks = new Map((this.rule?.networks || []).flatMap(own => own.trials.map(place => [place, own])));
    this.changed = new Map();
  }

  get defaults() {
    return Object.fromEntries((this.rule?.thresholds || []).map(own => [own.id, own.default]));
  }

  /** Label anew; thresholds that are those of the study give its labels back. */
  under(thresholds) {
    const asStudied = Object.entries(this.defaults).every(([name, value]) => thresholds[name] === value);
    this.changed = asStudied || !this.rule ? new Map() : relabelled([...this.rule.recipes, ...this.rule.networks], thresholds);
  }

  /** {regime, label, changed} of a case of the rule, by its id; null where it keeps its own. */
  of(id) {
    const regime = this.changed.get(id);
    return regime ? {regime, label: LABELS[regime], changed: true} : null;
  }

  /** {regime, label, changed} of a recipe. */
  at(objective, strength) {
    const step = this.run.stories[objective]?.steps.find(own => own[0] === strength);
    const own = this.cases.get(this.run.trialsAt(objective, strength)[0]);
    return (own && this.of(own.id)) || {regime: step?.[1] || null, label: step?.[2] || "no label", changed: false};
  }

  /** The same of one trial: that of its recipe where it has one. */
  trial(place) {
    const {regime, label, outcome} = this.run.trials[place], own = this.networks.get(place) || this.cases.get(place);
    return (own && this.of(own.id)) || {regime: outcome === "ok" ? regime : "lost", label, changed: false};
  }
}
