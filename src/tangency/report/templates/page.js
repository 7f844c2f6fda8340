// ---- the story at once, the rest one by one, so that the page answers meanwhile
const DRAW = {story: drawStory, curve: drawCurve, ridge: drawRidge, scatter: drawScatter, denoising: drawDenoising, noise: drawNoise};
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
toggles($("#objective-legend"), run.objectives.map(o => ({...o, hue: `var(--${objectiveColour(o.id)})`})), hidden, () => redraw(".plot.curve"));
if ($("#noise-legend")) toggles($("#noise-legend"), noiseNames(), hiddenNoise, () => redraw(".plot.noise"));

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
