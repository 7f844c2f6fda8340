// The label of a recipe by other thresholds: the tests of `regime_of` in tangency.statistics.regimes, in their order.
const MEAN = 0, LOW = 1, HIGH = 2;
const above = interval => interval !== null && interval[LOW] > 0;

/** Whether it is shown to be worse than a weaker recipe, under every direction. */
const past = directions => directions.length > 0 && directions.every(d => d.past && d.past.interval[HIGH] < 0);

function aligned({directions, exact}, images) {
  if (!directions.length || (directions.length < 2 && !exact)) return false;
  return directions.every(d => d.share >= images && above(d.over_standard) && above(d.beyond_filter));
}

const noBetter = directions => directions.some(d =>
  (d.beyond_filter && d.beyond_filter[MEAN] <= 0) || (d.over_standard && d.over_standard[MEAN] <= 0));

/** The regime of a case of the page's data under {accuracy_margin, images}. */
export function relabel(own, {accuracy_margin: margin, images}) {
  if (own.above_constant === null) return "undetermined";
  if (!(own.above_constant[LOW] > 0)) return "collapsed";
  if (own.standard) return "weak";
  if (own.baseless || own.accuracy === null) return "undetermined";
  if (own.accuracy[HIGH] < -margin || past(own.directions)) return "excessive";
  if (!(own.accuracy[LOW] > -margin)) return "undetermined";
  if (aligned(own, images)) return "bayes_aligned";
  return noBetter(own.directions) ? "weak" : "undetermined";
}

export const LABELS = {
  weak: "weak", bayes_aligned: "Bayes-aligned", excessive: "excessive", undetermined: "undetermined", collapsed: "collapsed",
};

/** Case id to label in words under the thresholds; only of those whose label differs from the study's. */
export function relabelled(cases, thresholds) {
  const changed = new Map();
  for (const own of cases) {
    if (own.withheld || !own.regime) continue;
    const regime = relabel(own, thresholds);
    if (regime !== own.regime) changed.set(own.id, regime);
  }
  return changed;
}
