// Numbers as a reader sees them, and the places of an estimate's parts.
export const MEAN = 0, LOW = 1, HIGH = 2, COUNT = 3, DEGENERATE = 4, CHANCE = 5;

export const known = value => value !== null && value !== undefined && Number.isFinite(value);

/** Three digits with a true minus sign; a dash for what is missing. */
export function say(value) {
  if (!known(value)) return "–";
  const tiny = value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5);
  return (tiny ? value.toExponential(1) : String(Number(value.toPrecision(3)))).replace(/-/g, "−");
}

/** " [low, high]" of an estimate, or nothing. */
export const span = entry => known(entry[LOW]) ? ` [${say(entry[LOW])}, ${say(entry[HIGH])}]` : "";

export function average(values) {
  const own = values.filter(known);
  return own.length ? own.reduce((a, b) => a + b, 0) / own.length : null;
}

export const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
