// Which images are listed, and in what order.

/** Places in ascending order of the values; NaN last either way up, equal ones by place. */
export function ordered(values, up = true, places = [...values.keys()]) {
  const sign = up ? 1 : -1;
  return [...places].sort((a, b) => {
    const x = values[a], y = values[b], gone = Number.isNaN(x) - Number.isNaN(y);
    if (gone || (Number.isNaN(x) && Number.isNaN(y))) return gone || a - b;
    return sign * (x - y) || a - b;
  });
}

/** Ranks of the finite values between 0 and 1, ties sharing their mean; NaN where there is none. */
export function ranks(values) {
  const places = ordered(values).filter(place => !Number.isNaN(values[place]));
  const out = new Float64Array(values.length).fill(NaN);
  for (let start = 0; start < places.length;) {
    let end = start;
    while (end + 1 < places.length && values[places[end + 1]] === values[places[start]]) end++;
    for (let i = start; i <= end; i++) out[places[i]] = places.length > 1 ? (start + end) / 2 / (places.length - 1) : 0.5;
    start = end + 1;
  }
  return out;
}

/** L of each image: the cosine with its own Bayes direction minus that with another image's; NaN where one is missing. */
export const aligned = (own, control) => own.map((value, i) => value - control[i]);

/** Keys to order images by in named groups: those of the headline, the others by their σ or ε, then controls. */
export function grouped(keys, headline) {
  const groups = new Map([["Headline measures", []], ["Other measures", []]]), controls = [];
  for (const own of keys) {
    if (own.control) { controls.push(own); continue; }
    const name = headline.includes(own.key) ? "Headline measures" : own.at || "Other measures";
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(own);
  }
  return [...groups, ["Controls", controls]].filter(([, own]) => own.length);
}

/** How far apart two estimators rank each image, between 0 and 1. */
export function disagreement(first, second) {
  const a = ranks(first), b = ranks(second);
  return a.map((rank, i) => Math.abs(rank - b[i]));
}

/** Whether an image is among those asked for: {label, pictured, low, high, text}; what is not given asks nothing. */
export function matches(image, value, wanted) {
  if (wanted.label !== undefined && image.label !== wanted.label) return false;
  if (wanted.pictured && !image.pictured) return false;
  if (wanted.low !== undefined && !(value >= wanted.low)) return false;
  if (wanted.high !== undefined && !(value <= wanted.high)) return false;
  const text = (wanted.text || "").trim().toLowerCase();
  if (!text) return true;
  return /^#?\d+$/.test(text) ? image.id === Number(text.replace("#", "")) : image.className.toLowerCase().includes(text);
}

/** Values in the order of a click on a heading: numbers by size, texts as readers sort them, what is missing last. */
export function compare(a, b, up) {
  const missing = value => value === null || value === undefined || value === "" || Number.isNaN(value);
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const both = typeof a === "number" && typeof b === "number";
  const order = both ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});
  return up ? order : -order;
}
