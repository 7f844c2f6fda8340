// Parts of one script: core, curves, noise, sorting, page; page.py joins them inside one function.
const run = JSON.parse(document.getElementById("run-data").textContent);
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const MEAN = 0, LOW = 1, HIGH = 2, COUNT = 3, DEGENERATE = 4, CHANCE = 5;

// ---- colours: custom properties resolved by the browser, so one set of names serves both schemes
const probe = document.body.appendChild(document.createElement("span"));
probe.hidden = true;
const colour = (name, alpha = 1) => {
  probe.style.color = `var(--${name})`;
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
  return `rgba(${r},${g},${b},${alpha})`;
};
const REGIME = {weak: "weak", bayes_aligned: "aligned", excessive: "excessive", undetermined: "undetermined", collapsed: "lost"};
const SYMBOL = {weak: "circle", bayes_aligned: "diamond", excessive: "square", undetermined: "circle-open", lost: "x", control: "circle"};
const objectiveColour = id => `o${run.objectives.findIndex(o => o.id === id) % 8}`;
const objectiveName = id => (run.objectives.find(o => o.id === id) || {name: id}).name;
const reference = name => run.trials.findIndex(t => t.objective === name); // the first "bayes" or "untrained" trial, or -1
const entryOf = (table, key, trial) => { const e = trial >= 0 && table[key]?.[trial]; return e && e[MEAN] !== null ? e : null; };

// ---- numbers in words
const say = v => v === null || v === undefined || !isFinite(v) ? "–" :
  (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? v.toExponential(1) : String(+v.toPrecision(3))).replace(/-/g, "−");
const span = e => e[LOW] === null ? "" : ` [${say(e[LOW])}, ${say(e[HIGH])}]`;
const average = values => values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;

// ---- curves: one point per strength, seeds averaged; strength 0 is the standard network
const table = kind => kind === "excess" ? run.excess : run.measures;
const seeds = [...new Set(run.trials.map(t => t.seed))];
function points(objective, key, kind = "raw") {
  const values = table(kind)[key] || [];
  const byStrength = new Map();
  run.trials.forEach((trial, i) => {
    if (trial.objective !== objective && trial.objective !== "standard") return;
    if (!byStrength.has(trial.strength)) byStrength.set(trial.strength, []);
    byStrength.get(trial.strength).push({trial, value: values[i] && values[i][MEAN] !== null ? values[i] : null});
  });
  return [...byStrength].sort((a, b) => a[0] - b[0]).map(([strength, entries]) => {
    const known = entries.filter(f => f.value), regimes = new Set(entries.map(f => f.trial.regime));
    const lost = entries.filter(f => f.trial.outcome !== "ok");
    const regime = lost.length ? "lost" : regimes.size > 1 ? "undetermined" : [...regimes][0] || "control";
    const cell = kind === "excess" ? null : (run.cells[key] || []).find(c => c[0] === entries[0].trial.objective && c[1] === strength && c[2] !== null);
    const bare = !cell && known.length > 1; // an average of the intervals of single networks says nothing of their recipe
    const end = at => cell ? cell[2 + at] ?? cell[2] : average(known.map(f => f.value[at] === null ? f.value[MEAN] : f.value[at]));
    return {strength, entries, regime, label: lost.length ? lost[0].trial.label : regimes.size > 1 ? "seeds differ" : entries[0].trial.label,
      mean: end(MEAN), low: bare ? null : end(LOW), high: bare ? null : end(HIGH), chance: average(known.map(f => f.value[CHANCE]).filter(v => v !== null && v !== undefined)),
      text: known.map(f => `${f.trial.id}: ${say(f.value[MEAN])}${span(f.value)}`).join("<br>")};
  });
}
function place(strengths) { // log10, strength 0 three quarters of a decade left of the smallest
  const positive = strengths.filter(s => s > 0);
  const start = Math.log10(positive.length ? Math.min(...positive) : 1) - 0.75;
  return s => s > 0 ? Math.log10(s) : start;
}
function ticks(strengths, at, width) { // a label of every strength that does not touch the one before
  const sorted = [...new Set(strengths)].sort((a, b) => a - b), kept = [];
  const scale = (width - 54) / (at(sorted[sorted.length - 1]) - at(sorted[0]) + 0.5), half = s => 3.4 * String(s).length;
  sorted.forEach(s => {
    const last = kept[kept.length - 1];
    if (!kept.length || (at(s) - at(last)) * scale >= half(s) + half(last) + 3) kept.push(s);
  });
  return {tickvals: kept.map(at), ticktext: kept.map(s => String(s))};
}
function line(shown, x, name, dash, hue, width, extra = {}) {
  const known = shown.filter(p => p.mean !== null && x(p) !== null);
  return {type: "scatter", mode: "lines+markers", name, x: known.map(x), y: known.map(p => p.mean), line: {dash, width, color: colour(hue)},
    marker: {symbol: known.map(p => SYMBOL[p.regime] || "circle"), size: 8, color: colour(hue), line: {width: 1, color: colour("card")}},
    customdata: known.map(p => [p.text, p.label, p.strength]), hovertemplate: `<b>${name}, strength %{customdata[2]}</b> (%{customdata[1]})<br>%{customdata[0]}<extra></extra>`, ...extra};
}
function band(shown, x, hue, extra = {}) {
  const known = shown.filter(p => p.low !== null && x(p) !== null);
  return {type: "scatter", mode: "lines", x: [...known.map(x), ...known.map(x).reverse()], y: [...known.map(p => p.high), ...known.map(p => p.low).reverse()],
    fill: "toself", fillcolor: colour(hue, 0.16), line: {width: 0}, hoverinfo: "skip", ...extra};
}
function layout(extra) {
  const axis = {gridcolor: colour("line"), zeroline: false, linecolor: colour("line"), ticks: "", automargin: true, fixedrange: true};
  const out = {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", dragmode: false,
    margin: {l: 44, r: 12, t: 10, b: 46}, font: {family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("soft")},
    hoverlabel: {bgcolor: colour("card"), bordercolor: colour("line"), font: {color: colour("ink"), size: 12}, align: "left"}, ...extra};
  Object.keys(out).filter(k => /^[xy]axis/.test(k)).forEach(k => { out[k] = {...axis, ...out[k]}; });
  return out;
}
const level = (y, dash, hue, width = 1.2) => ({type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: {dash, width, color: colour(hue)}, layer: "above"});
function toggles(list, items, off, changed) { // one button per {id, name, colour}; the hidden ones are collected in `off`
  items.forEach(({id, name, hue}) => {
    const button = list.appendChild(document.createElement("li")).appendChild(document.createElement("button"));
    button.type = "button";
    button.append(document.createElement("i"), name);
    button.style.setProperty("--swatch", hue);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!off.delete(id)) off.add(id);
      button.setAttribute("aria-pressed", String(!off.has(id)));
      changed();
    });
  });
}
const draw = (element, traces, extra) => Plotly.react(element, traces, layout(extra), {displayModeBar: false});
