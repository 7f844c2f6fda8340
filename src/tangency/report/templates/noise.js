// ---- signal and distractor: relative noise robustness against σ, and below it robust minus standard
const hiddenNoise = new Set();
const NOISE_MARKS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "star", "pentagon", "x"];
function noiseStyle({trial, shade}) { // colour by objective, paler and another mark for each smaller strength
  const {objective, strength} = run.trials[trial];
  if (objective === "bayes") return {hue: "ink", alpha: 1, dash: "solid", width: 0.9, size: 4, symbol: "circle"};
  if (!run.objectives.some(o => o.id === objective) && objective !== "standard") return {hue: "weak", alpha: 1, dash: "longdash", width: 1.4, size: 4, symbol: "circle"};
  const strengths = [...new Set(run.trials.filter(t => t.objective === objective).map(t => t.strength))].sort((a, b) => a - b);
  const symbol = NOISE_MARKS[strengths.indexOf(strength) % NOISE_MARKS.length];
  return {hue: objective === "standard" ? "ink" : objectiveColour(objective), alpha: 0.45 + 0.55 * shade, dash: "solid", width: 2.2, size: 8, symbol};
}
function noiseNames() { // one entry per name: seeds are shown and hidden together
  const names = new Map();
  run.noise.curves.forEach(c => {
    const {name} = run.trials[c.trial], {hue, alpha, dash, width} = noiseStyle(c);
    const tint = `color-mix(in srgb, var(--${hue}) ${Math.round(100 * alpha)}%, var(--card))`, swatch = {solid: tint,
      longdash: `repeating-linear-gradient(90deg, ${tint} 0 6px, transparent 6px 9px)`, thin: `linear-gradient(${tint}, ${tint}) center / 100% 1px no-repeat`};
    if (!names.has(name)) names.set(name, {id: name, name, hue: swatch[width < 1 ? "thin" : dash]});
  });
  return [...names.values()];
}
function noiseBand(x, {low, high}, {hue}, strength, axes) { // one outline per stretch without a gap
  const xs = [], ys = [];
  let start = 0;
  x.forEach((_, i) => {
    const known = low[i] !== null && high[i] !== null;
    if (!known) start = i + 1;
    if (known && (i + 1 === x.length || low[i + 1] === null || high[i + 1] === null)) {
      xs.push(...x.slice(start, i + 1), ...x.slice(start, i + 1).reverse(), null);
      ys.push(...high.slice(start, i + 1), ...low.slice(start, i + 1).reverse(), null);
    }
  });
  return {type: "scatter", mode: "lines", x: xs, y: ys, fill: "toself", fillcolor: colour(hue, strength), line: {width: 0}, hoverinfo: "skip", ...axes};
}
function noiseLine(x, band, c, style, axes) {
  const trial = run.trials[c.trial], tint = colour(style.hue, style.alpha);
  return {type: "scatter", mode: "lines+markers", x, y: band.mean, line: {dash: style.dash, width: style.width, color: tint},
    marker: {symbol: style.symbol, size: style.size, color: tint, line: {width: style.size > 4 ? 1 : 0, color: colour("card")}},
    error_y: x.length > 1 ? undefined : bars(x.map((_, i) => [band.mean[i], band.low[i], band.high[i]]), style.hue), // a band of no width
    customdata: x.map((_, i) => `${say(band.mean[i])} [${say(band.low[i])}, ${say(band.high[i])}]`),
    hovertemplate: `<b>${trial.id}</b> (${trial.label})<br>σ = %{x:.3g}: %{customdata}<extra></extra>`, ...axes};
}
function plainTicks(low, high) { // 1, 2, 5 and their decades; over many decades 1 alone
  const out = [], steps = high / low > 300 ? [1] : [1, 2, 5];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) steps.forEach(s => out.push(Number(`${s}e${e}`)));
  const kept = out.filter(v => v >= low && v <= high);
  return kept.length > 1 ? {tickvals: kept, ticktext: kept.map(String)} : {nticks: 5};
}
function drawNoise(element) {
  const x = run.noise.sigmas, traces = [], differences = run.noise.curves.some(c => c.difference);
  const rank = c => ({untrained: 0, bayes: 0, standard: 1})[run.trials[c.trial].objective] ?? 2;
  const shown = run.noise.curves.filter(c => !hiddenNoise.has(run.trials[c.trial].name)).sort((a, b) => rank(a) - rank(b));
  const means = [1, ...shown.flatMap(c => c.ratio.mean).filter(v => v)]; // a band that runs away does not set the ends
  const low = Math.max(Math.min(...means, ...shown.flatMap(c => c.ratio.low).filter(v => v)), Math.min(...means) / 4) / 1.15;
  const high = Math.min(Math.max(...means, ...shown.flatMap(c => c.ratio.high).filter(v => v)), Math.max(...means) * 4) * 1.15;
  const onAxis = ({mean, low: from, high: to}) => ({mean, low: from.map(v => v === null ? v : Math.max(v, low / 10)), high: to}); // a log axis has no 0
  [["ratio", "y"], ["difference", "y2"]].forEach(([kind, yaxis]) => {
    const own = shown.filter(c => c[kind]), strength = Math.max(0.04, Math.min(0.13, 0.6 / own.length)); // many bands are paler
    own.forEach(c => traces.push(noiseBand(x, kind === "ratio" ? onAxis(c[kind]) : c[kind], noiseStyle(c), strength, {yaxis})));
    own.forEach(c => traces.push(noiseLine(x, c[kind], c, noiseStyle(c), {yaxis})));
  });
  const ends = [Math.min(...x) / 1.2, Math.max(...x) * 1.2];
  const heading = (text, y) => ({xref: "paper", yref: "paper", x: 0, y, xanchor: "left", yanchor: "bottom", text: `<b>${text}</b>`, showarrow: false, font: {size: 12, color: colour("ink")}});
  const mark = (y, yref, text) => ({xref: "paper", x: 1, xanchor: "left", yref, y, text, showarrow: false, font: {size: 10, color: colour("soft")}});
  const annotations = [heading("Signal over distractor", 1), mark(0, "y", "chance")], shapes = [level(1, "dash", "soft")];
  if (differences) {
    annotations.push(heading("Minus the standard network's", 0.41), mark(0, "y2", "standard"));
    shapes.push({...level(0, "dash", "soft"), yref: "y2"});
  }
  draw(element, traces, {shapes, annotations, margin: {l: 52, r: 58, t: 28, b: 46},
    xaxis: {type: "log", range: ends.map(Math.log10), ...plainTicks(...ends), anchor: differences ? "y2" : "y", title: {text: "σ in [0, 1] pixel units (log scale)", font: {size: 12}}},
    yaxis: {type: "log", range: [low, high].map(Math.log10), ...plainTicks(low, high), domain: differences ? [0.5, 1] : [0, 1], title: {text: "ratio (log scale)", font: {size: 12}}},
    ...(differences ? {yaxis2: {domain: [0, 0.4], nticks: 6, title: {text: "difference", font: {size: 12}}}} : {})});
}
