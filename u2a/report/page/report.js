"use strict";
// Sorting: a click on a column's button sorts its table; a second click turns the order around.
for (const table of document.querySelectorAll("table.sortable")) {
  for (const button of table.querySelectorAll("th button")) {
    const header = button.closest("th"), column = Number(button.dataset.column);
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    button.addEventListener("click", () => {
      const falling = header.getAttribute("aria-sort") !== "descending";
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");  // what has no value comes last
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return falling ? -order : order;
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", falling ? "descending" : "ascending");
    });
  }
}

// What to expect in use: the mean of the patterns' scores, weighted by how often each comes at the given rates.
for (const section of document.querySelectorAll("[data-use]")) {
  const use = JSON.parse(section.dataset.use), inputs = [...section.querySelectorAll("input")];
  const show = (name, text) => { section.querySelector(`[data-out=${name}]`).textContent = text; };
  const percent = (x) => x === null || Number.isNaN(x) ? "n/a" : (100 * x).toFixed(1);
  const names = (pattern) => pattern.missing.length ? "without " + pattern.missing.join(", ") : "complete";
  const form = (w, matrix) => w.reduce((sum, a, i) => sum + a * w.reduce((s, b, j) => s + b * (b && a ? matrix[i][j] : 0), 0), 0);
  const student = (df) => {
    const at = (use.student.length - 1) / Math.max(1, df), low = Math.min(Math.floor(at), use.student.length - 2);
    return use.student[low] + (at - low) * (use.student[low + 1] - use.student[low]);
  };
  const wilson = (center, variance, df, mixed) => {
    const p = Math.min(1, Math.max(0, center)), spread = p * (1 - p), q2 = student(df) ** 2;
    const least = use.few ? Math.max(1, (Math.sqrt(q2 / variance) - q2) / 2) : 0;
    const n = variance > 0 && (spread > 0 || use.few) ? Math.min(Math.max(spread / variance, least), mixed && spread > 0 ? Infinity : use.most) : use.most;
    const middle = (p + q2 / (2 * n)) / (1 + q2 / n);
    const half = Math.sqrt(q2) / (1 + q2 / n) * Math.sqrt(spread / n + q2 / (4 * n * n));
    return [Math.max(0, middle - half), Math.min(1, middle + half)];
  };
  const update = () => {
    const rates = inputs.map((input) => input.valueAsNumber / 100);
    const usable = rates.every((rate) => rate >= 0 && rate <= 1);
    const share = use.patterns.map((p) => usable ? p.n / use.n * rates.reduce((s, r, m) => s * (p.present[m] ? 1 - r : r), 1) : 0);
    const total = share.reduce((a, b) => a + b, 0), weight = share.map((s) => total ? s / total : 0);
    const mean = (part) => total ? weight.reduce((sum, w, k) => sum + (w ? w * (use.patterns[k][part] ?? NaN) : 0), 0) : NaN;
    const own = form(weight, use.covariance), seeds = form(weight, use.seed_covariance);
    const parts = own ** 2 / Math.max(use.n - 1, 1) + (use.seeds > 1 ? seeds ** 2 / (use.seeds - 1) : 0);
    const [low, high] = wilson(mean("corrected"), own + seeds, parts > 0 ? (own + seeds) ** 2 / parts : Infinity, share.filter((s) => s > 0).length > 1);
    const sign = use.higher_is_better ? 1 : -1;
    const met = use.patterns.filter((p, k) => share[k] > 0 && p.bound !== null);
    const worst = met.reduce((a, b) => a && sign * a.score <= sign * b.score ? a : b, null);
    show("score", percent(mean("score")));
    show("interval", total ? `95 % interval ${percent(low)} to ${percent(high)}` : "give rates from 0 to 100 %");
    show("worst", percent(worst && worst.score));
    show("missing", worst ? names(worst) : "");
    show("bound", percent(met.length ? sign * Math.min(...met.map((p) => sign * p.bound)) : null));
    show("nothing", usable ? percent(Math.max(0, 1 - total)) : "n/a");
    const body = section.querySelector("tbody");
    body.replaceChildren(...use.patterns.map((p, k) => [p, share[k]]).sort((a, b) => b[1] - a[1]).map(([p, s]) => {
      const row = document.createElement("tr");
      for (const text of [names(p), (100 * s).toFixed(2), percent(p.score)]) row.append(Object.assign(document.createElement(row.cells.length ? "td" : "th"), { textContent: text }));
      return row;
    }));
  };
  for (const input of inputs) input.addEventListener("input", update);
  section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  update();
}
