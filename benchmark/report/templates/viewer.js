const view = { place: 0, method: 0, mode: "edit", mask: false };

function openViewer(place, method, mode) {
  view.place = place;
  view.method = method;
  view.mask = mode === "mask";
  view.mode = mode === "mask" ? "source" : mode;
  drawViewer();
  if (!byId("viewer").open) byId("viewer").showModal();
}

function drawViewer() {
  const sample = shown[view.place];
  const edit = sample.edits[view.method];
  const stage = byId("v-stage");
  byId("v-id").textContent = `${sample.id} · ${view.place + 1} of ${shown.length}`;
  byId("v-instruction").textContent = sample.instruction;
  stage.className = `stage ${view.mode}`;
  const set = (id, number, visible) => {
    const image = byId(id);
    image.hidden = number === null || !visible;
    if (number !== null) image.src = pictureUrl(number);
  };
  set("v-source", sample.source, true);
  set("v-edit", edit.picture, view.mode !== "source");
  set("v-mask", sample.mask, view.mask);
  byId("v-edit").alt = `${data.methods[view.method].label} on ${sample.id}`;
  byId("v-source").onload = () => {
    const { naturalWidth: width, naturalHeight: height } = byId("v-source");
    stage.style.setProperty("--ratio", `${width} / ${height}`);
  };
  byId("v-edit").style.clipPath = view.mode === "wipe" ? `inset(0 0 0 ${byId("v-wipe").value}%)` : "";
  byId("v-wipe").hidden = view.mode !== "wipe";
  byId("v-error").hidden = edit.picture !== null || view.mode === "source";
  byId("v-error").textContent = edit.error ?? "";
  byId("v-mask-on").checked = view.mask;
  for (const button of byId("v-modes").children) button.setAttribute("aria-pressed", String(button.dataset.mode === view.mode));
  const methods = [...state.methods].map((method) => {
    const { label, color } = data.methods[method];
    const dot = make("span", { className: "dot", style: `--c: ${color}` });
    const button = make("button", { type: "button", onclick: () => { view.method = method; drawViewer(); } }, dot, label);
    button.setAttribute("aria-pressed", String(method === view.method));
    return button;
  });
  byId("v-methods").replaceChildren(...methods);
  const scores = metricsNow().map((metric, place) => {
    const value = scoreOf(sample, view.method, place);
    const title = edit.reasons[state.protocol][place];
    return make("div", { title }, make("dt", {}, metric.title), make("dd", {}, format(value, metric)));
  });
  byId("v-scores").replaceChildren(...scores);
  byId("v-response").textContent = edit.response ? `“${edit.response}”` : "";
}

function step(samples, methods) {
  if (samples) {
    view.place = Math.min(shown.length - 1, Math.max(0, view.place + samples));
    while (rendered <= view.place) renderMore();
  }
  if (methods) {
    const all = [...state.methods];
    view.method = all[(all.indexOf(view.method) + methods + all.length) % all.length];
  }
  drawViewer();
}

(function start() {
  const dialog = byId("viewer");
  const mode = (name) => { view.mode = name; drawViewer(); };
  byId("v-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  byId("v-previous").addEventListener("click", () => step(-1, 0));
  byId("v-next").addEventListener("click", () => step(1, 0));
  byId("v-wipe").addEventListener("input", drawViewer);
  byId("v-mask-on").addEventListener("change", (event) => { view.mask = event.target.checked; drawViewer(); });
  for (const button of byId("v-modes").children) button.addEventListener("click", () => mode(button.dataset.mode));
  dialog.addEventListener("keydown", (event) => {
    if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
    const actions = {
      ArrowLeft: () => step(0, -1),
      ArrowRight: () => step(0, 1),
      ArrowUp: () => step(-1, 0),
      ArrowDown: () => step(1, 0),
      m: () => { view.mask = !view.mask; drawViewer(); },
    };
    [...byId("v-modes").children].forEach((button, place) => { actions[place + 1] = () => mode(button.dataset.mode); });
    if (!(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  });
})();
