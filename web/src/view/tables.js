// Tables that sort by a click on a heading, and the table of every measure of every trial.
import {$, $$, make, offer} from "../dom.js";
import {compare} from "../data/order.js";
import {csv} from "../data/csv.js";
import {COUNT, DEGENERATE} from "../data/words.js";

const SUPERSCRIPTS = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", MOST = 400;
const CONTROL = /\.(shuffled|shuffled_class|dct|pca|phase|random|image|edge|untrained)$/;

export function sortable(table, sort) {
  $$("thead th", table).forEach((th, column) => {
    const own = make("button", {type: "button"}, ...th.childNodes);
    th.append(own);
    th.dataset.sortable = "";
    own.addEventListener("click", () => {
      const up = th.getAttribute("aria-sort") !== "ascending";
      $$("thead th", table).forEach(other => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(column, up);
    });
  });
}

function cellValue(cell) {
  const text = (cell.firstChild || cell).textContent.trim();
  if (!cell.classList.contains("num")) return text;
  const plain = text.replace("−", "-").replace(/·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)/, (_, e) => `e${[...e].map(c => SUPERSCRIPTS.indexOf(c)).map(i => i ? i - 1 : "-").join("")}`);
  return plain !== "" && Number.isFinite(Number(plain)) ? Number(plain) : null;
}

function mountPlain(table) {
  sortable(table, (column, up) => {
    const body = $("tbody", table);
    body.append(...[...body.rows].sort((a, b) => compare(cellValue(a.cells[column]), cellValue(b.cells[column]), up)));
  });
}

export function mountTables({run}) {
  $$("table.sortable").forEach(mountPlain);
  const rows = Object.entries(run.measures).flatMap(([key, values]) => values.flatMap((e, i) => e ? [[run.trials[i].id, key, ...e.slice(0, 6)]] : []));
  let matching = rows, order = null;
  const filter = () => {
    const measure = $("#filter-measure").value, trial = $("#filter-trial").value, text = $("#filter-text").value.trim().toLowerCase(), controls = $("#filter-controls").checked;
    matching = rows.filter(r => (!measure || r[1] === measure || r[1].startsWith(`${measure}.`)) && (!trial || r[0] === trial) && (controls || text || !CONTROL.test(r[1])) && (!text || `${r[0]} ${r[1]}`.toLowerCase().includes(text)));
    if (order) matching = [...matching].sort((a, b) => compare(a[order.column], b[order.column], order.up));
    $("#explorer tbody").replaceChildren(...matching.slice(0, MOST).map(row => make("tr", {}, ...row.map((value, i) =>
      make("td", {className: i < 2 ? "" : "num"}, i < 2 ? value : value === null || value === undefined ? "–" : [COUNT, DEGENERATE].includes(i - 2) ? String(value) : value.toPrecision(3).replace("-", "−"))))));
    $("#filter-count").textContent = matching.length > MOST ? `first ${MOST} of ${matching.length} rows; narrow the filter` : `${matching.length} rows`;
  };
  sortable($("#explorer"), (column, up) => { order = {column, up}; filter(); });
  $$("#filter-measure, #filter-trial, #filter-text, #filter-controls").forEach(e => e.addEventListener("input", filter));
  $("#save-csv").addEventListener("click", () => offer(new Blob([csv(["trial", "measure", "mean", "low", "high", "n", "degenerate", "chance"], matching)], {type: "text/csv"}), "measures.csv"));
  filter();
}
