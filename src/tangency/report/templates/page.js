"use strict";
(() => {
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
const REGIME = {weak: "weak", bayes_aligned: "aligned", excessive: "excessive", undetermined: "undetermined"};
const SYMBOL = {weak: "circle", bayes_aligned: "diamond", excessive: "square", undetermined: "circle-open", lost: "x", control: "circle"};
const objectiveColour = id => `o${run.objectives.findIndex(o => o.id === id) % 8}`;
const objectiveName = id => (run.objectives.find(o => o.id === id) || {name: id}).name;

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
  return [...byStrength].sort((a, b) => a[0] - b[0]).map(([strength, found]) => {
    const known = found.filter(f => f.value), regimes = new Set(found.map(f => f.trial.regime));
    const lost = found.filter(f => f.trial.outcome !== "ok");
    const regime = lost.length ? "lost" : regimes.size > 1 ? "undetermined" : [...regimes][0] || "control";
    const end = at => average(known.map(f => f.value[at] === null ? f.value[MEAN] : f.value[at]));
    return {strength, found, regime, label: lost.length ? lost[0].trial.label : regimes.size > 1 ? "seeds differ" : found[0].trial.label,
      mean: end(MEAN), low: end(LOW), high: end(HIGH), chance: average(known.map(f => f.value[CHANCE]).filter(v => v !== null && v !== undefined)),
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
const draw = (element, traces, extra) => Plotly.react(element, traces, layout(extra), {displayModeBar: false});

// ---- the story: four stacked questions per objective, the regime as background
const ROWS = [["", ["accuracy"]], [": on / off", ["on", "off"]], [" / best control", ["fraction", "fraction_control"]], [" / shuffled", ["alignment", "alignment_control"]]];
const SHORT = {"Bayes-aligned": "aligned", excessive: "exc.", undetermined: "?", diverged: "div.", collapsed: "coll.", "seeds differ": "?"};
const DIRECT = {on: "on", off: "off", fraction: "own", fraction_control: "control", alignment: "own", alignment_control: "shuffled"};
function storyRange(roles) {
  const ends = run.objectives.flatMap(o => roles.flatMap(r => points(o.id, run.story[r]).flatMap(p => p.mean === null ? [] : [p.low, p.high])));
  const top = Math.max(0, ...ends) || 1, bottom = Math.min(0, ...ends);
  return roles[0] === "accuracy" ? [0, 1.02] : [bottom - 0.04 * (top - bottom), top * 1.08];
}
function drawStory(element) {
  const objective = element.dataset.objective;
  const rows = ROWS.map(([title, roles]) => [title, roles.filter(r => run.story[r])]).filter(([, roles]) => roles.length);
  const all = points(objective, run.story.accuracy || "accuracy"), strengths = all.map(p => p.strength), at = place(strengths), x = p => at(p.strength);
  const edges = all.map((p, i) => i ? (x(all[i - 1]) + x(p)) / 2 : x(p) - 0.25).concat(x(all[all.length - 1]) + 0.25);
  const traces = [], shapes = [], annotations = [], extra = {margin: {l: 40, r: 14, t: 30, b: 44}};
  let start = 0;
  all.forEach((p, i) => {
    const hue = REGIME[p.regime] || (p.regime === "lost" ? "lost" : "soft");
    shapes.push({type: "rect", xref: "x", yref: "paper", x0: edges[i], x1: edges[i + 1], y0: 0, y1: 1, fillcolor: colour(hue, 0.1), line: {width: 0}, layer: "below"});
    if (i + 1 < all.length && all[i + 1].label === p.label) return;
    const middle = (edges[start] + edges[i + 1]) / 2, share = (edges[i + 1] - edges[start]) / (edges[all.length] - edges[0]);
    const pixels = share * (element.clientWidth - 54), text = [p.label, SHORT[p.label] || p.label, ""].find(t => 6 * t.length < pixels);
    annotations.push({xref: "x", yref: "paper", x: middle, y: 1, yanchor: "bottom", text, showarrow: false, font: {size: 11, color: colour(hue)}});
    start = i + 1;
  });
  rows.forEach(([ending, roles], row) => {
    const label = run.story_labels[roles[0]] || roles[0], title = label + ending;
    const name = row ? row + 1 : "", height = 1 / rows.length, top = 1 - row * height;
    const axes = {xaxis: "x", yaxis: `y${name}`};
    extra[`yaxis${name}`] = {domain: [top - height + 0.012, top - 0.045], range: storyRange(roles), nticks: 4};
    annotations.push({xref: "paper", yref: "paper", x: 0, y: top - 0.004, xanchor: "left", yanchor: "top", text: `<b>${title}</b>`, showarrow: false, font: {size: 12, color: colour("ink")}});
    roles.forEach((role, second) => {
      const shown = points(objective, run.story[role]), hue = second ? "soft" : objectiveColour(objective), known = shown.filter(p => p.mean !== null);
      traces.push(band(shown, x, hue, axes), line(shown, x, label + (DIRECT[role] ? `, ${DIRECT[role]}` : ""), second ? "dot" : "solid", hue, second ? 1.8 : 2.4, axes));
      if (known.length && DIRECT[role]) {
        const best = known.reduce((a, b) => Math.abs(a.mean - other(a, roles, objective, role)) > Math.abs(b.mean - other(b, roles, objective, role)) ? a : b);
        const above = best.mean >= other(best, roles, objective, role);
        annotations.push({xref: "x", yref: `y${name}`, x: x(best), y: best.mean, yshift: above ? 11 : -11, text: DIRECT[role], showarrow: false, font: {size: 11, color: colour(hue)}});
      }
    });
  });
  extra.xaxis = {...ticks(strengths, at, element.clientWidth), range: [edges[0], edges[all.length]], anchor: "free", position: 0, showgrid: false, title: {text: "strength (log scale)", font: {size: 12}}};
  draw(element, traces, {...extra, shapes, annotations});
}
function other(point, roles, objective, role) { // the other curve of the same row, at the same strength
  const key = run.story[roles.find(r => r !== role)];
  const found = key && points(objective, key).find(p => p.strength === point.strength);
  return found && found.mean !== null ? found.mean : point.mean;
}

// ---- curves, small multiples
const hidden = new Set();
const kappa = objective => new Map(points(objective, "log_kappa.logp_y").map(p => [p.strength, p.mean]));
const accuracy = objective => new Map(points(objective, "accuracy").map(p => [p.strength, p.mean]));
function drawCurve(element) {
  const key = element.dataset.key, mode = $("#axis").value, kind = $("#kind").value, excess = kind === "excess" && run.excess[key];
  const at = place(run.trials.map(t => t.strength)), traces = [], shapes = [], annotations = [];
  const logarithmic = key.startsWith("kappa") && !excess;
  const mark = (y, dash, hue, text) => {
    shapes.push(level(y, dash, hue));
    const [x, xanchor] = {untrained: [0, "left"], "image itself": [0.5, "center"]}[text] || [1, "right"];
    annotations.push({xref: "paper", x, xanchor, y: logarithmic ? Math.log10(y) : y, yshift: 7, text, showarrow: false, font: {size: 10, color: colour("soft")}});
  };
  const shown = run.objectives.filter(o => !hidden.has(o.id));
  let chance = null;
  shown.forEach(o => {
    const hue = objectiveColour(o.id), known = points(o.id, key, excess ? "excess" : "raw");
    const lookup = mode === "accuracy" ? accuracy(o.id) : mode === "kappa" ? kappa(o.id) : null;
    const x = p => lookup ? lookup.get(p.strength) ?? null : at(p.strength);
    if (seeds.length > 1) seeds.forEach(seed => traces.push(seedLine(known, x, seed, hue)));
    if (mode === "strength") traces.push(band(known, x, hue));
    const control = controlKey(key);
    if (control && !excess) traces.push(line(points(o.id, control), x, `${o.name}, control`, "dot", hue, 1.2, {mode: "lines", opacity: 0.8}));
    traces.push(line(known, x, o.name, "solid", hue, 2.2));
    known.forEach(p => { if (p.chance !== null) chance = p.chance; });
  });
  if (excess) mark(0, "dash", "soft", "no better than the control");
  else if (chance !== null) mark(chance, "dash", "soft", "chance");
  const untrained = run.trials.findIndex(t => t.objective === "untrained");
  const value = untrained >= 0 && (excess ? run.excess : run.measures)[key]?.[untrained];
  if (value && value[MEAN] !== null) mark(value[MEAN], "longdash", "weak", chance !== null && Math.abs(value[MEAN] - chance) < 0.02 * Math.abs(chance) ? "" : "untrained");
  const image = !excess && (run.measures[`${key}.image`] || []).find(e => e && e[MEAN] !== null);
  if (image) mark(image[MEAN], "1px,3px", "ink", "image itself");
  const strengths = run.trials.filter(t => shown.some(o => o.id === t.objective) || t.objective === "standard").map(t => t.strength);
  const title = {strength: "strength (log scale)", accuracy: "accuracy", kappa: "log κ"}[mode];
  const xaxis = {title: {text: title, font: {size: 12}}, ...(mode === "strength" && strengths.length ? ticks(strengths, at, element.clientWidth) : {})};
  draw(element, traces, {xaxis, yaxis: {nticks: 5, type: logarithmic ? "log" : "linear", ...(logarithmic ? {dtick: 1} : {}), title: {text: kind === "excess" && !excess ? "(has no control)" : ""}}, shapes, annotations});
}
const level = (y, dash, hue) => ({type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: {dash, width: 1.2, color: colour(hue)}, layer: "above"});
function controlKey(key) {
  const best = run.story.fraction === key && run.story.fraction_control;
  return best || [`${key}.pca`, `${key}.shuffled`].find(k => run.measures[k]) || null;
}
function seedLine(shown, x, seed, hue) {
  const own = shown.map(p => ({p, f: p.found.find(f => f.trial.seed === seed && f.value)})).filter(e => e.f);
  return {type: "scatter", mode: "lines", x: own.map(e => x(e.p)), y: own.map(e => e.f.value[MEAN]), line: {width: 0.8, color: colour(hue, 0.5)}, hoverinfo: "skip"};
}

// ---- ridges: the distribution over images
function drawRidge(element) {
  const own = run.spread.curves.filter(c => c.objective === element.dataset.objective || c.objective === "standard").sort((a, b) => a.strength - b.strength);
  const hue = objectiveColour(element.dataset.objective), bins = run.spread.bins, traces = [];
  const x = Array.from({length: bins}, (_, i) => (i + 0.5) / bins);
  [...own.keys()].reverse().forEach(i => {
    const c = own[i], [low, middle, high] = c.quartiles, tint = c.strength ? hue : "soft";
    traces.push({type: "scatter", mode: "lines", x: [0, ...x, 1], y: [i, ...c.density.map(d => i + 1.25 * d), i], fill: "toself", fillcolor: colour(tint, 0.28), line: {width: 1.4, color: colour(tint), shape: "spline"}, hoverinfo: "skip"},
      {type: "scatter", mode: "lines", x: [low, high], y: [i + 0.1, i + 0.1], line: {width: 4, color: colour(tint)}, hoverinfo: "skip"},
      {type: "scatter", mode: "markers", x: [middle], y: [i + 0.1], marker: {size: 8, color: colour("card"), line: {width: 2, color: colour(tint)}}, hovertemplate: `<b>strength ${c.strength}</b><br>median ${say(middle)}, middle half ${say(low)} to ${say(high)}<br>${c.n} values<extra></extra>`});
  });
  const chance = run.measures[run.story.fraction]?.find(e => e && e[CHANCE] !== null)?.[CHANCE];
  const shapes = chance === undefined ? [] : [{type: "line", yref: "paper", x0: chance, x1: chance, y0: 0, y1: 1, line: {dash: "dash", width: 1.2, color: colour("soft")}}];
  draw(element, traces, {shapes, xaxis: {range: [0, 1], title: {text: "F² of one image", font: {size: 12}}}, yaxis: {tickvals: own.map((_, i) => i), ticktext: own.map(c => String(c.strength)), showgrid: false, range: [-0.15, own.length + 0.4], title: {text: "strength", font: {size: 12}}}});
}

// ---- correlations over trials
function drawScatter(element) {
  const id = element.dataset.correlation, kind = $("#correlation-kind").value, pick = $(`select[data-correlation="${CSS.escape(id)}"]`);
  const item = $(`.rho[data-correlation="${CSS.escape(id)}"][data-index="${pick ? pick.value : 0}"]`);
  const xs = run.measures[element.dataset.x] || [], ys = (kind === "raw" ? run.measures : run.excess)[item.dataset.y] || [], traces = [];
  ["standard", ...run.objectives.map(o => o.id)].forEach(o => {
    const known = run.trials.map((t, i) => ({t, x: xs[i], y: ys[i]})).filter(e => e.t.objective === o && e.x && e.y && e.x[MEAN] !== null && e.y[MEAN] !== null);
    const hue = o === "standard" ? "ink" : objectiveColour(o);
    traces.push({type: "scatter", mode: "markers", x: known.map(e => e.x[MEAN]), y: known.map(e => e.y[MEAN]),
      error_x: bars(known.map(e => e.x), hue), error_y: bars(known.map(e => e.y), hue),
      marker: {size: 10, symbol: known.map(e => SYMBOL[e.t.outcome === "ok" ? e.t.regime || "control" : "lost"]), color: colour(hue), line: {width: 1, color: colour("card")}},
      customdata: known.map(e => [e.t.id, e.t.label]), hovertemplate: "<b>%{customdata[0]}</b> (%{customdata[1]})<br>log κ %{x:.3g}, alignment %{y:.3g}<extra></extra>"});
  });
  draw(element, traces, {xaxis: {title: {text: "log κ (lower: gradients on the manifold)", font: {size: 12}}}, yaxis: {nticks: 5}, shapes: kind === "raw" ? [] : [level(0, "dash", "soft")]});
}
const bars = (values, hue) => ({type: "data", symmetric: false, array: values.map(e => e[HIGH] === null ? 0 : e[HIGH] - e[MEAN]), arrayminus: values.map(e => e[LOW] === null ? 0 : e[MEAN] - e[LOW]), width: 0, thickness: 1, color: colour(hue, 0.45)});

// ---- the score's denoising
function drawDenoising(element) {
  const [sigma, error, nothing] = [0, 1, 2].map(i => run.denoising.map(d => d[i]));
  const trace = (y, name, dash, hue) => ({type: "scatter", mode: "lines+markers", x: sigma, y, name, line: {dash, color: colour(hue), width: 2.2}, marker: {size: 7}, hovertemplate: `<b>${name}</b><br>σ = %{x:.3g}: %{y:.3g}<extra></extra>`});
  draw(element, [trace(nothing, "doing nothing", "dot", "soft"), trace(error, "the score's denoiser", "solid", "accent")], {showlegend: true, legend: {x: 0.02, y: 1, bgcolor: "rgba(0,0,0,0)"}, margin: {l: 56, r: 12, t: 8, b: 40},
    xaxis: {type: "log", tickvals: sigma, ticktext: sigma.map(say), title: {text: "σ in [0, 1] pixel units", font: {size: 12}}}, yaxis: {type: "log", dtick: 1, title: {text: "squared error per pixel", font: {size: 12}}}});
}

// ---- the story at once, the rest one by one, so that the page answers meanwhile
const DRAW = {story: drawStory, curve: drawCurve, ridge: drawRidge, scatter: drawScatter, denoising: drawDenoising};
const drawn = new Set(), widths = new WeakMap();
function show(element) {
  drawn.add(element);
  widths.set(element, element.clientWidth);
  DRAW[[...element.classList].find(name => DRAW[name])](element);
}
const fit = new ResizeObserver(entries => entries.forEach(({target, contentRect}) => { // labels depend on the width, so draw anew
  if (drawn.has(target) && Math.abs(widths.get(target) - contentRect.width) > 1) Plotly.Plots.resize(target).then(() => show(target));
  widths.set(target, contentRect.width);
}));
$$(".plot").forEach(element => fit.observe(element));
const redraw = (selector = ".plot") => $$(selector).filter(e => drawn.has(e)).forEach(show);
$$(".plot.story").forEach(show);
const waiting = $$(".plot:not(.story)");
const next = () => {
  const element = waiting.shift();
  if (element && !drawn.has(element)) show(element);
  if (waiting.length) setTimeout(next);
};
setTimeout(next);
$$("#axis, #kind").forEach(e => e.addEventListener("change", () => redraw(".plot.curve")));
$$("select[data-panel]").forEach(e => e.addEventListener("change", () => {
  const plot = $(`.plot[data-panel="${CSS.escape(e.dataset.panel)}"]`);
  plot.dataset.key = e.value;
  show(plot);
}));
$$("select[data-correlation]").forEach(e => e.addEventListener("change", () => {
  const id = CSS.escape(e.dataset.correlation);
  $$(`.rho[data-correlation="${id}"]`).forEach(r => { r.hidden = r.dataset.index !== e.value; });
  show($(`.plot[data-correlation="${id}"]`));
}));
$("#correlation-kind").addEventListener("change", () => redraw(".plot.scatter"));
run.objectives.forEach(o => {
  const item = $("#objective-legend").appendChild(document.createElement("li")), button = item.appendChild(document.createElement("button"));
  button.type = "button";
  button.append(document.createElement("i"), o.name);
  button.style.setProperty("--swatch", `var(--${objectiveColour(o.id)})`);
  button.setAttribute("aria-pressed", "true");
  button.addEventListener("click", () => {
    if (!hidden.delete(o.id)) hidden.add(o.id);
    button.setAttribute("aria-pressed", String(!hidden.has(o.id)));
    redraw(".plot.curve");
  });
});

// ---- colour scheme
const SCHEMES = {auto: "light", light: "dark", dark: "auto"};
$("#scheme").addEventListener("click", () => {
  const next = SCHEMES[document.documentElement.dataset.scheme || "auto"];
  document.documentElement.dataset.scheme = next;
  $("#scheme").textContent = `◐ ${next}`;
  $("#scheme").setAttribute("aria-label", `Colour scheme: ${next}`);
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
if (innerWidth < 1100) $(".toc details").open = false;
const spy = new IntersectionObserver(entries => entries.filter(e => e.isIntersecting).forEach(e =>
  $$(".toc a").forEach(a => a.classList.toggle("here", a.hash === `#${e.target.id}`))), {rootMargin: "-15% 0px -75% 0px"});
$$("main > [id]").forEach(section => spy.observe(section));

// ---- pictures: size, colour channels, enlarged view, arrow keys
const cells = $$(".grid button"), zoom = $("#zoom");
let current = 0;
const perRow = $$(".grid tbody tr:first-child > *").length;
if (cells.length) cells[0].tabIndex = 0;
$("#cell-size").addEventListener("input", e => document.documentElement.style.setProperty("--cell", `${e.target.value}px`));
$("#coloured")?.addEventListener("change", e => cells.filter(c => c.dataset.coloured).forEach(c => {
  const img = $("img", c);
  c.dataset.plain ||= img.src;
  img.src = e.target.checked ? c.dataset.coloured : c.dataset.plain;
  img.classList.toggle("natural", e.target.checked);
}));
function enlarge(index) {
  current = (index + cells.length) % cells.length;
  const from = $("img", cells[current]), img = $("img", zoom);
  img.src = from.src;
  img.alt = from.alt;
  img.classList.toggle("signed", !cells[current].closest(".pinned") && !from.classList.contains("natural"));
  $("figcaption", zoom).textContent = cells[current].title;
  if (!zoom.open) zoom.showModal();
}
cells.forEach((cell, i) => cell.addEventListener("click", () => enlarge(i)));
$("[data-close]", zoom).addEventListener("click", () => zoom.close());
zoom.addEventListener("click", e => { if (e.target === zoom) zoom.close(); });
zoom.addEventListener("close", () => cells[current].focus());
$$("[data-step]", zoom).forEach(b => b.addEventListener("click", () => enlarge(current + Number(b.dataset.step))));
const STEPS = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow, ArrowDown: perRow};
zoom.addEventListener("keydown", e => { if (STEPS[e.key]) { e.preventDefault(); enlarge(current + STEPS[e.key]); } });
$(".grid").addEventListener("keydown", e => {
  const to = cells[cells.indexOf(document.activeElement) + STEPS[e.key]];
  if (!to || !cells.includes(document.activeElement)) return;
  e.preventDefault();
  cells.forEach(c => { c.tabIndex = c === to ? 0 : -1; });
  to.focus();
});

// ---- tables
function sortable(tableElement, sort) {
  $$("thead th", tableElement).forEach((th, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    th.dataset.sortable = "";
    button.addEventListener("click", () => {
      const up = th.getAttribute("aria-sort") !== "ascending";
      $$("thead th", tableElement).forEach(o => o.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(column, up);
    });
  });
}
const compare = (a, b, up) => { // what is missing goes last, either way up
  const missing = v => v === null || v === undefined || v === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});
  return up ? order : -order;
};
const cellValue = td => {
  const text = td.textContent.trim(), plain = text.replace("−", "-").replace(/·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)/, (_, e) => `e${[...e].map(c => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(c)).map(i => i ? i - 1 : "-").join("")}`);
  return !td.classList.contains("num") ? text : isFinite(plain) && plain !== "" ? Number(plain) : null;
};
sortable($("#glance"), (column, up) => {
  const body = $("#glance tbody");
  body.append(...[...body.rows].sort((a, b) => compare(cellValue(a.cells[column]), cellValue(b.cells[column]), up)));
});
const MOST = 400;
const rows = Object.entries(run.measures).flatMap(([key, values]) => values.flatMap((e, i) => e ? [[run.trials[i].id, key, e[MEAN], e[LOW], e[HIGH], e[COUNT], e[DEGENERATE], e[CHANCE]]] : []));
const CONTROL = /\.(shuffled|shuffled_class|dct|pca|random|image|untrained)$/;
let matching = rows, order = null;
function filterRows() {
  const measure = $("#filter-measure").value, trial = $("#filter-trial").value, text = $("#filter-text").value.trim().toLowerCase(), controls = $("#filter-controls").checked;
  matching = rows.filter(r => (!measure || r[1] === measure || r[1].startsWith(`${measure}.`)) && (!trial || r[0] === trial) && (controls || text || !CONTROL.test(r[1])) && (!text || `${r[0]} ${r[1]}`.toLowerCase().includes(text)));
  if (order) matching = [...matching].sort((a, b) => compare(a[order.column], b[order.column], order.up));
  $("#explorer tbody").replaceChildren(...matching.slice(0, MOST).map(r => {
    const tr = document.createElement("tr");
    r.forEach((v, i) => {
      const td = tr.insertCell();
      td.textContent = i < 2 ? v : i === 5 || i === 6 || v === null ? v ?? "–" : v.toPrecision(3).replace("-", "−");
      if (i >= 2) td.className = "num";
    });
    return tr;
  }));
  $("#filter-count").textContent = matching.length > MOST ? `first ${MOST} of ${matching.length} rows; narrow the filter` : `${matching.length} rows`;
}
sortable($("#explorer"), (column, up) => { order = {column, up}; filterRows(); });
$$("#filter-measure, #filter-trial, #filter-text, #filter-controls").forEach(e => e.addEventListener("input", filterRows));
$("#save-csv").addEventListener("click", () => {
  const text = [["trial", "measure", "mean", "low", "high", "n", "degenerate", "chance"], ...matching].map(r => r.map(v => v ?? "").join(",")).join("\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${text}\n`], {type: "text/csv"}));
  link.download = "measures.csv";
  link.click();
});
filterRows();
})();
