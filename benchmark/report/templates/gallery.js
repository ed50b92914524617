const data = JSON.parse(byId("data").textContent);
const pictures = JSON.parse(byId("pictures").textContent);
const state = {
  protocol: Object.keys(data.metrics)[0],
  search: "",
  categories: new Set(data.samples.map((sample) => sample.category)),
  methods: new Set(data.methods.keys()),
  metric: -1,
  how: "mean",
  down: false,
  only: "all",
};
let shown = [];
let rendered = 0;
const BATCH = 12;

const urls = new Map();
function pictureUrl(number) {
  if (!urls.has(number)) {
    const bytes = Uint8Array.from(atob(pictures[number]), (character) => character.charCodeAt(0));
    const type = bytes[0] === 0x89 ? "image/png" : "image/webp";
    urls.set(number, URL.createObjectURL(new Blob([bytes], { type })));
  }
  return urls.get(number);
}

const metricsNow = () => data.metrics[state.protocol];
const scoreOf = (sample, method, metric) => {
  const value = sample.edits[method].scores[state.protocol][metric];
  return value === "inf" ? Infinity : value;
};
const words = (category) => category.replaceAll("_", " ");
function format(value, metric) {
  if (value === null) return "–";
  return value === Infinity ? "∞" : value.toFixed(metric.digits);
}

/** What a sample is sorted by: a method's score, the mean of the methods shown, or how far they disagree. */
function sortValue(sample) {
  const chosen = [...state.methods];
  if (/^m\d/.test(state.how)) return scoreOf(sample, Number(state.how.slice(1)), state.metric);
  const values = chosen.map((method) => scoreOf(sample, method, state.metric)).filter((value) => value !== null);
  if (state.how === "mean") {
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  }
  const finite = values.filter(Number.isFinite);
  return finite.length > 1 ? Math.max(...finite) - Math.min(...finite) : null;
}

function matches(sample) {
  if (!state.categories.has(sample.category)) return false;
  const chosen = [...state.methods].map((method) => sample.edits[method]);
  if (state.only === "gaps") {
    if (!chosen.some((edit) => edit.error || edit.scores[state.protocol].includes(null))) return false;
  } else if (state.only === "infinite") {
    if (!chosen.some((edit) => edit.scores[state.protocol].includes("inf"))) return false;
  }
  const text = `${sample.id} ${sample.instruction} ${sample.label}`.toLowerCase();
  return state.search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function frame(number, alt, ratioHolder) {
  const image = make("img", { src: pictureUrl(number), alt, loading: "lazy", decoding: "async" });
  if (ratioHolder) {
    image.addEventListener("load", () => ratioHolder.style.setProperty("--ratio", `${image.naturalWidth} / ${image.naturalHeight}`));
  }
  return image;
}

function scoreList(sample, method) {
  const edit = sample.edits[method];
  const list = make("dl");
  metricsNow().forEach((metric, place) => {
    const value = scoreOf(sample, method, place);
    const reason = edit.reasons[state.protocol][place];
    const name = make("dt", {}, metric.title);
    const number = make("dd", { title: reason }, format(value, metric));
    if (value === null) number.classList.add("missing");
    if (place === state.metric) number.classList.add("by");
    if (isBest(sample, method, place)) number.classList.add("top-score");
    list.append(name, number);
  });
  return list;
}

function isBest(sample, method, metric) {
  const better = metricsNow()[metric].better;
  if (better === null || state.methods.size < 2) return false;
  const fair = [...state.methods].filter((m) => !data.methods[m].tags.some((t) => ["reference", "mask-given", "compositing", "prompt-rewrite"].includes(t)));
  if (fair.length < 2 || !fair.includes(method)) return false;
  const values = fair.map((m) => scoreOf(sample, m, metric)).filter((value) => value !== null);
  const best = better ? Math.max(...values) : Math.min(...values);
  return values.length > 1 && scoreOf(sample, method, metric) === best && values.some((value) => value !== best);
}

function shot(content, caption, onclick, label) {
  const button = make("button", { type: "button", "aria-label": label }, ...content);
  button.style.aspectRatio = "var(--ratio, 4 / 3)";
  button.addEventListener("click", onclick);
  return make("figure", { className: "shot" }, button, make("figcaption", {}, ...caption));
}

function none(text) {
  return make("span", { className: "none" }, text);
}

function card(sample, place) {
  const given = make("div", { className: "given" });
  const made = make("div", { className: "made" });
  const strip = make("div", { className: "strip" }, given, made);
  const first = [...state.methods][0] ?? 0;
  const open = (method, mode) => () => openViewer(place, method, mode);
  const picture = (number, alt, holder) => (number === null ? none("no picture") : frame(number, alt, holder));
  given.append(shot([picture(sample.source, `source of ${sample.id}`, strip)], ["Source"], open(first, "source"), `Source of ${sample.id}`));
  const mask = [picture(sample.source, "", null)];
  mask[0].classList.add("dim");
  if (sample.mask !== null) {
    const over = frame(sample.mask, `mask of ${sample.id}`, null);
    over.classList.add("over");
    mask.push(over);
  }
  given.append(shot(mask, ["Mask"], open(first, "mask"), `Mask of ${sample.id}`));
  for (const method of state.methods) {
    const { label, color } = data.methods[method];
    const edit = sample.edits[method];
    const content = edit.picture === null ? none(edit.error) : frame(edit.picture, `${label} on ${sample.id}`, null);
    const dot = make("span", { className: "dot", style: `--c: ${color}` });
    const figure = shot([content], [dot, label], open(method, "edit"), `${label} on ${sample.id}`);
    figure.append(scoreList(sample, method));
    made.append(figure);
  }
  const meta = make("span", { className: "meta" }, `${sample.id} · `, make("b", {}, words(sample.category)), ` · label: `, make("b", {}, sample.label));
  if (state.metric >= 0) {
    const metric = metricsNow()[state.metric];
    meta.append(" · ", make("span", { className: "sorted" }, `${metric.title} ${byId("sort-how").selectedOptions[0].text}: ${format(sortValue(sample), metric)}`));
  }
  const head = make("header", {}, make("h3", {}, sample.instruction), meta);
  return make("article", { className: "card", "data-id": sample.id, "aria-label": sample.id }, head, strip);
}

function renderMore() {
  const end = Math.min(shown.length, rendered + BATCH);
  for (; rendered < end; rendered += 1) byId("cards").append(card(shown[rendered], rendered));
}

function update() {
  shown = data.samples.filter(matches);
  if (state.metric >= 0) {
    const values = new Map(shown.map((sample) => [sample, sortValue(sample)]));
    shown.sort((a, b) => {
      const [x, y] = [values.get(a), values.get(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return x === y ? 0 : (x < y ? -1 : 1) * (state.down ? -1 : 1);
    });
  } else if (state.down) shown.reverse();
  byId("cards").replaceChildren();
  rendered = 0;
  const filtered = shown.length < data.samples.length;
  byId("count").replaceChildren(`${shown.length} of ${data.samples.length} samples, ${state.methods.size} of ${data.methods.length} methods`);
  if (filtered || state.methods.size < data.methods.length) {
    byId("count").append(make("button", { type: "button", onclick: reset }, "show everything"));
  }
  if (!shown.length) byId("cards").append(make("p", { className: "nothing" }, "No sample fits these filters."));
  renderMore();
  byId("direction").textContent = state.down ? "↓" : "↑";
  byId("direction").setAttribute("aria-label", `Direction: ${state.down ? "descending" : "ascending"}`);
  byId("sort-how").disabled = state.metric < 0;
}

function toggles(holder, entries, chosen) {
  for (const [value, ...content] of entries) {
    const button = make("button", { type: "button", className: "toggle" }, ...content);
    button.setAttribute("aria-pressed", "true");
    button.dataset.value = value;
    button.addEventListener("click", (event) => {
      const all = [...holder.querySelectorAll(".toggle")];
      // A first click on one of many means "only this"; a click with a modifier key always adds or takes away.
      const only = chosen.size === all.length && all.length > 1 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
      if (only) chosen.clear();
      if (only || !chosen.has(value)) chosen.add(value);
      else chosen.delete(value);
      if (!chosen.size) all.forEach((other, place) => chosen.add(entries[place][0]));
      const sorted = entries.map(([name]) => name).filter((name) => chosen.has(name));
      chosen.clear();
      sorted.forEach((name) => chosen.add(name));
      all.forEach((other, place) => other.setAttribute("aria-pressed", String(chosen.has(entries[place][0]))));
      update();
    });
    holder.append(button);
  }
}

function fillSort() {
  const options = metricsNow().map((metric, place) => make("option", { value: place }, metric.title));
  byId("sort-metric").replaceChildren(make("option", { value: -1 }, "order of the data set"), ...options);
  const methods = data.methods.map((method, place) => make("option", { value: `m${place}` }, `of ${method.label}`));
  byId("sort-how").replaceChildren(
    make("option", { value: "disagreement" }, "disagreement"),
    make("option", { value: "mean" }, "mean"),
    ...methods,
  );
  state.metric = -1;
  state.how = "disagreement";
}

function reset() {
  state.search = byId("search").value = "";
  state.only = byId("only").value = "all";
  data.samples.forEach((sample) => state.categories.add(sample.category));
  state.methods.clear();
  data.methods.forEach((_, place) => state.methods.add(place));
  document.querySelectorAll(".toggle").forEach((toggle) => toggle.setAttribute("aria-pressed", "true"));
  update();
}

(function start() {
  const counts = new Map();
  for (const sample of data.samples) counts.set(sample.category, (counts.get(sample.category) ?? 0) + 1);
  const number = (count) => make("span", { className: "n" }, String(count));
  toggles(byId("categories-filter"), [...counts].map(([name, count]) => [name, words(name), number(count)]), state.categories);
  const dots = data.methods.map((m, place) => [place, make("span", { className: "dot", style: `--c: ${m.color}` }), m.label]);
  toggles(byId("methods-filter"), dots, state.methods);
  fillSort();
  const listen = (id, event, change) => byId(id).addEventListener(event, (e) => { change(e.target.value); update(); });
  listen("search", "input", (value) => { state.search = value.trim(); });
  listen("only", "change", (value) => { state.only = value; });
  listen("sort-metric", "change", (value) => {
    state.metric = Number(value);
    state.down = state.metric >= 0 && (state.how === "disagreement" || metricsNow()[state.metric].better === false);
  });
  listen("sort-how", "change", (value) => {
    state.how = value;
    state.down = value === "disagreement" || metricsNow()[state.metric].better === false;
  });
  byId("direction").addEventListener("click", () => { state.down = !state.down; update(); });
  if (byId("protocol")) {
    byId("protocol").addEventListener("change", (event) => {
      state.protocol = event.target.value;
      for (const part of document.querySelectorAll(".protocol-part")) {
        part.hidden = part.dataset.protocol !== state.protocol;
        for (const section of part.querySelectorAll("[data-section]")) {
          if (part.hidden) section.removeAttribute("id");
          else section.id = section.dataset.section;
        }
      }
      fillSort();
      update();
    });
  }
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting) || rendered >= shown.length) return;
    renderMore();
    // Observed afresh, for it tells of changes only, and the end may still be near.
    near.unobserve(byId("more"));
    near.observe(byId("more"));
  }, { rootMargin: "1200px" });
  near.observe(byId("more"));
  update();
})();
