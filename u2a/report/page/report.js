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

// The score of all samples in all patterns together, where that is no mean of the patterns' scores; its variance.
const mixer = (mix) => {
  const [S, N, K, C] = mix.shape;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const bits = (text) => { const b = bytes(text); return (i) => b[i >> 3] >> (7 - (i & 7)) & 1; };
  const truth = bits(mix.truth), used = bits(mix.used), ranked = mix.metric === "map";
  const ranks = ranked && new Uint16Array(bytes(mix.value).buffer), value = ranked ? (i) => ranks[i] : bits(mix.value);
  const column = (c) => Uint8Array.from({ length: N }, (_, n) => truth(n * C + c));
  const truths = Array.from({ length: C }, (_, c) => column(c));
  const f1 = (s, share) => {
    const micro = mix.metric === "f1_micro", columns = micro ? 1 : C, occurs = new Uint8Array(C).fill(micro);
    const hit = Array.from({ length: columns }, () => new Float64Array(N));
    const entry = Array.from({ length: columns }, () => new Float64Array(N));
    for (let n = 0; n < N; n++) for (let k = 0; k < K; k++) if (share[k] && used(n * K + k)) for (let c = 0; c < C; c++) {
      const guess = value(((s * N + n) * K + k) * C + c), to = micro ? 0 : c;
      if (truths[c][n]) occurs[to] = 1;
      hit[to][n] += share[k] * (guess & truths[c][n]);
      entry[to][n] += share[k] * (guess + truths[c][n]);
    }
    const met = [...Array(columns).keys()].filter((c) => occurs[c]), influence = new Float64Array(N);
    let score = 0;
    for (const c of met) {
      const sum = (values) => values.reduce((a, b) => a + b, 0), whole = sum(entry[c]) || Number.MIN_VALUE, own = 2 * sum(hit[c]) / whole;
      score += own / met.length;
      for (let n = 0; n < N; n++) influence[n] += (2 * hit[c][n] - own * entry[c][n]) / whole / met.length;
    }
    return [met.length ? score : NaN, influence];
  };
  const precision = (s, share) => {
    const place = (n, k, c) => value(((s * N + n) * K + k) * C + c), influence = new Float64Array(N);
    const scores = [];
    for (let c = 0; c < C; c++) {
      let count = 0;
      for (let i = 0; i < N * K; i++) count = Math.max(count, value((s * N * K + i) * C + c) + 1);
      const right = new Float64Array(count), all = new Float64Array(count), fall = new Float64Array(count), rise = new Float64Array(count);
      const each = (visit) => { for (let n = 0; n < N; n++) for (let k = 0; k < K; k++) if (share[k] && used(n * K + k)) visit(n, share[k], place(n, k, c)); };
      each((n, w, g) => { all[g] += w; right[g] += w * truths[c][n]; });
      let seen = 0, hits = 0, score = 0;
      for (let g = 0; g < count; g++) {
        seen += all[g];
        hits += right[g];
        const sure = seen ? hits / seen : 0;
        score += right[g] * sure;
        rise[g] = sure;
        fall[g] = seen ? right[g] * sure / seen : 0;
        all[g] = seen ? right[g] / seen : 0;
      }
      if (!hits) continue;
      score /= hits;
      let later = 0, above = 0;
      for (let g = count - 1; g >= 0; g--) {
        later += fall[g];
        above += all[g];
        fall[g] = later;
        rise[g] += above - score;
      }
      each((n, w, g) => { influence[n] += w * ((truths[c][n] ? rise[g] : 0) - fall[g]) / hits; });
      scores.push(score);
    }
    const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
    return [scores.length ? mean : NaN, influence.map((x) => x / scores.length)];
  };
  const counts = Array.from({ length: K }, (_, k) => { let sum = 0; for (let n = 0; n < N; n++) sum += used(n * K + k); return sum; });
  return (share) => {
    const found = Array.from({ length: S }, (_, s) => (ranked ? precision : f1)(s, share));
    let score = 0, variance = 0;
    for (const [one] of found) score += one / S;
    for (let n = 0; n < N; n++) variance += (found.reduce((sum, [, influence]) => sum + influence[n], 0) / S) ** 2;
    variance *= N / Math.max(N - 1, 1) * N / mix.n;
    const total = share.reduce((sum, w, k) => sum + w * counts[k], 0), part = share.map((w, k) => w * counts[k] / total);
    const mean = part.reduce((sum, w, k) => sum + (w ? w * mix.scores[k] : 0), 0);
    return [score - mean, variance];
  };
};

// What to expect in use: the mean of the patterns' scores, weighted by how often each comes at the given rates,
// and what the score of all samples together differs from it.
for (const section of document.querySelectorAll("[data-use]")) {
  const use = JSON.parse(section.dataset.use), inputs = [...section.querySelectorAll("input")];
  const show = (name, text) => { section.querySelector(`[data-out=${name}]`).textContent = text; };
  const percent = (x) => x === null || Number.isNaN(x) ? "n/a" : (100 * x).toFixed(1);
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
  const beyond = use.mix && mixer(use.mix);
  const update = () => {
    const rates = inputs.map((input) => input.valueAsNumber / 100);
    const usable = rates.every((rate) => rate >= 0 && rate <= 1);
    const chance = use.patterns.map((p) => usable ? rates.reduce((s, r, m) => s * (p.present[m] ? 1 - r : r), 1) : 0);
    const share = chance.map((s, k) => s * use.patterns[k].n / use.n);
    const total = share.reduce((a, b) => a + b, 0), weight = share.map((s) => total ? s / total : 0);
    const mean = (part) => total ? weight.reduce((sum, w, k) => sum + (w ? w * (use.patterns[k][part] ?? NaN) : 0), 0) : NaN;
    const [more, variance] = beyond && total ? beyond(chance) : [0, 0];
    const second = () => weight.reduce((sum, w, k) => sum + w * w * (use.covariance[k][k] - use.mix.variances[k]), 0);
    const own = beyond ? Math.max(0, variance + second()) : form(weight, use.covariance), seeds = form(weight, use.seed_covariance);
    const freedom = weight.reduce((sum, w, k) => sum + w * use.patterns[k].df, 0) || 1;
    const parts = own ** 2 / freedom + (use.seeds > 1 ? seeds ** 2 / (use.seeds - 1) : 0);
    const [low, high] = wilson(mean("corrected") + more, own + seeds, parts > 0 ? (own + seeds) ** 2 / parts : Infinity, share.filter((s) => s > 0).length > 1);
    const sign = use.higher_is_better ? 1 : -1;
    const met = use.patterns.filter((p, k) => share[k] > 0 && p.bound !== null);
    const worst = met.reduce((a, b) => a && sign * a.score <= sign * b.score ? a : b, null);
    show("score", percent(mean("score") + more));
    show("interval", total ? `95 % interval ${percent(low)} to ${percent(high)}` : "give rates from 0 to 100 %");
    show("worst", percent(worst && worst.score));
    show("missing", worst ? worst.name : "");
    show("bound", percent(met.length ? sign * Math.min(...met.map((p) => sign * p.bound)) : null));
    show("nothing", usable ? percent(Math.max(0, 1 - total)) : "n/a");
    const body = section.querySelector("tbody");
    body.replaceChildren(...use.patterns.map((p, k) => [p, share[k]]).sort((a, b) => b[1] - a[1]).map(([p, s]) => {
      const row = document.createElement("tr");
      for (const text of [p.name, (100 * s).toFixed(2), percent(p.score)]) row.append(Object.assign(document.createElement(row.cells.length ? "td" : "th"), { textContent: text }));
      return row;
    }));
  };
  for (const input of inputs) input.addEventListener("input", update);
  section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  update();
}

// Tables and charts that are wider than the window: say so, as long as there is more to see.
const hint = () => {
  for (const box of document.querySelectorAll(".scroll")) {
    box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 4);
  }
};
for (const box of document.querySelectorAll(".scroll")) box.addEventListener("scroll", hint, { passive: true });
addEventListener("resize", hint);
addEventListener("load", hint);
