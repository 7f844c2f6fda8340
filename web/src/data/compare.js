// Two runs side by side: which recipes they share, what label each has, and how a measure differs.
import {known} from "./words.js";

/** Recipes of both runs, each with the label and the mean of a measure in either; null where a run lacks it. */
export function sharedRecipes(first, second, key) {
  const out = new Map();
  [first, second].forEach((run, which) => run.objectives.forEach(({id}) => run.strengths(id).forEach(strength => {
    const name = strength ? `${id} ${strength}` : "standard";
    if (!out.has(name)) out.set(name, {name, objective: strength ? id : "standard", strength, labels: [null, null], means: [null, null], bands: [null, null]});
    const own = out.get(name), point = run.series(id, key).find(each => each.strength === strength);
    own.labels[which] = run.stories[id]?.steps.find(step => step[0] === strength)?.[2] || null;
    own.means[which] = point?.mean ?? null;
    own.bands[which] = known(point?.low) ? [point.low, point.high] : null;
  })));
  return [...out.values()];
}

/** Why two runs are not to be compared number by number; "" where nothing speaks against it. */
export function obstacle(first, second) {
  if (first.data?.digest !== second.data?.digest) return "The runs are on different data: numbers differ for that reason too.";
  const ids = run => (run.explorer?.images.ids || []).join(" ");
  return ids(first) === ids(second) ? "" : "The runs measured different images.";
}
