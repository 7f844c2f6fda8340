// Sorting comes before this part; leaderboard.py joins them inside one function.
$$("table.sortable").forEach(table => sortable(table, (column, up) => {
  const body = $("tbody", table);
  body.append(...[...body.rows].sort((a, b) => compare(cellValue(a.cells[column]), cellValue(b.cells[column]), up)));
}));
const SCHEMES = {auto: "light", light: "dark", dark: "auto"};
$("#scheme").addEventListener("click", () => {
  const next = SCHEMES[document.documentElement.dataset.scheme || "auto"];
  document.documentElement.dataset.scheme = next;
  $("#scheme").textContent = `◐ ${next}`;
  $("#scheme").setAttribute("aria-label", `Colour scheme: ${next}`);
});
$$(".cell-size").forEach(e => e.addEventListener("input", () => document.documentElement.style.setProperty("--cell", `${e.value}px`)));
$("#save-csv").addEventListener("click", () => {
  const {columns, rows} = JSON.parse($("#numbers").textContent);
  const field = v => /[",\n]/.test(v ?? "") ? `"${String(v).replaceAll('"', '""')}"` : v ?? "";
  const text = [columns, ...rows].map(row => row.map(field).join(",")).join("\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${text}\n`], {type: "text/csv"}));
  link.download = "leaderboard.csv";
  link.click();
});
if (innerWidth < 1100) $(".toc details").open = false;
