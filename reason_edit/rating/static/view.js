"use strict";
// The rater's page: shows one item, takes one answer, and says that it is saved only after the backend has said so.
// A backend has open(place | null) and answer(post); server.js and sheet.js are the two that exist.

const QUIET_MS = 250; // an answer this soon after a new item was meant for the item before
const DOUBLE_MS = 500; // a click this soon after an answer is the second half of a double click
const LONGEST_S = 86400; // an item left open for longer counts as a day, the longest that is taken in
const RETRY_MS = [500, 1000, 2000, 4000];
const MAIN = document.getElementById("item");
const by = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("[data-answer]")];

class Conflict extends Error {
  constructor(current) { super("answered elsewhere"); this.current = current; }
}
class Refused extends Error {}
class Busy extends Error {}

function startRating(backend) {
  let item = null;
  let ready = false;
  let shownAt = 0;
  let answeredAt = -DOUBLE_MS;
  let hiddenSince = null;
  let flickering = null;

  const say = (text, trouble = false) => {
    by("status").textContent = text;
    by("status").classList.toggle("trouble", trouble);
  };
  const show = (side) => {
    by("after").dataset.show = side;
    by("after-caption").textContent = side === "edited" ? "After" : "Before, in the place of After";
  };
  const stopFlicker = () => {
    clearInterval(flickering);
    flickering = null;
    by("flicker").setAttribute("aria-pressed", "false");
    by("peek").setAttribute("aria-pressed", "false");
    show("edited");
  };
  const toggleFlicker = () => {
    if (flickering) return stopFlicker();
    by("flicker").setAttribute("aria-pressed", "true");
    flickering = setInterval(() => show(by("after").dataset.show === "edited" ? "source" : "edited"), 600);
    show("source");
  };
  const peek = (on) => {
    if (flickering) stopFlicker();
    by("peek").setAttribute("aria-pressed", String(on));
    show(on ? "source" : "edited");
  };

  const progress = (state) => {
    const total = state.total;
    by("bar").style.width = `${(100 * state.answered) / Math.max(1, total)}%`;
    const bar = document.querySelector(".progress");
    bar.setAttribute("aria-valuenow", state.answered);
    bar.setAttribute("aria-valuemax", total);
    return total;
  };
  const mark = () => buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.answer === item.answer)));
  const enable = (on) => buttons.forEach((b) => { b.setAttribute("aria-disabled", String(!on)); });

  async function load(url, image) {
    image.src = url;
    await image.decode();
  }

  async function open(place) {
    ready = false;
    enable(false);
    stopFlicker();
    MAIN.classList.add("waiting");
    try {
      const found = await patiently(() => backend.open(place));
      progress(found);
      if (found.place === null) return finish(found);
      item = found;
      by("done").hidden = true;
      MAIN.hidden = false;
      by("count").textContent = `Edit ${item.place} of ${item.total} · ${item.answered} answered`;
      by("instruction").textContent = item.instruction;
      by("back").disabled = item.place <= 1;
      by("forward").disabled = item.place >= item.total;
      mark();
      document.dispatchEvent(new Event("newitem"));
      const images = [...document.querySelectorAll(".window img")];
      await patiently(() => Promise.all(images.map((i) => load(i.className === "source" ? item.source : item.edited, i))));
    } catch (error) {
      say(error.message, true);
      return;
    }
    MAIN.classList.remove("waiting");
    shownAt = performance.now();
    hiddenSince = document.hidden ? shownAt : null;
    ready = true;
    enable(true);
    document.dispatchEvent(new Event("itemready"));
    prefetch(item.place + 1);
  }

  async function prefetch(place) {
    if (place > item.total || !backend.prefetch) return;
    try {
      const next = await backend.open(place);
      new Image().src = next.source;
      new Image().src = next.edited;
    } catch { /* the item is asked for again when it is shown */ }
  }

  function finish(state) {
    item = { place: state.total + 1, total: state.total, answered: state.answered, answer: null };
    MAIN.hidden = true;
    by("done").hidden = false;
    by("count").textContent = `${state.answered} of ${state.total} answered`;
    by("done-text").textContent = backend.doneText;
    by("review").hidden = state.total === 0;
    by("review").focus();
  }

  // Tries again for as long as the connection fails; the server's refusals are for the rater to read.
  async function patiently(action) {
    for (let attempt = 0; ; attempt++) {
      try {
        const result = await action();
        if (attempt) say("");
        return result;
      } catch (error) {
        if (error instanceof Conflict || error instanceof Refused) throw error;
        say(`${error instanceof Busy ? "The server cannot save just now" : "No connection"}. Nothing is lost; trying again …`, true);
        await new Promise((done) => setTimeout(done, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
      }
    }
  }

  async function answer(value) {
    if (!ready || performance.now() - shownAt < QUIET_MS) return;
    ready = false;
    enable(false);
    answeredAt = performance.now();
    const revising = item.answer !== null;
    const post = {
      item: item.item, answer: value, believed: item.answer,
      seconds: Math.min(LONGEST_S, Math.round((performance.now() - shownAt) / 10) / 100),
      nonce: [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join(""),
    };
    say("Saving …");
    try {
      const saved = await patiently(() => backend.answer(post));
      item.answer = value;
      mark();
      progress(saved);
      say(saved.note ?? "Saved");
      await open(revising ? Math.min(item.place + 1, item.total) : saved.next_open);
    } catch (error) {
      if (error instanceof Conflict) {
        item.answer = error.current;
        mark();
        say(`In another tab you answered “${error.current}”. Answer again to change it.`, true);
      } else say(error.message, true);
      shownAt = performance.now();
      ready = true;
      enable(true);
    }
  }

  const step = (by_) => {
    const place = item ? item.place + by_ : 1;
    if (item && place >= 1 && place <= item.total && (ready || by("status").classList.contains("trouble") || MAIN.hidden)) {
      say("");
      open(place);
    }
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hiddenSince = performance.now();
    else if (hiddenSince !== null) { shownAt += performance.now() - hiddenSince; hiddenSince = null; }
  });
  buttons.forEach((b) => b.addEventListener("click", (e) => {
    if (e.detail === 0 || performance.now() - answeredAt >= DOUBLE_MS) answer(b.dataset.answer);
  }));
  // Space holds the picture before; it must not press the button that the mouse pressed last.
  document.addEventListener("click", (e) => { if (e.detail > 0 && !by("about").open) document.activeElement?.blur(); });
  by("back").addEventListener("click", () => step(-1));
  by("forward").addEventListener("click", () => step(1));
  by("review").addEventListener("click", () => open(1));
  by("flicker").addEventListener("click", toggleFlicker);
  for (const start of ["pointerdown"]) by("peek").addEventListener(start, () => peek(true));
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) by("peek").addEventListener(end, () => peek(false));
  by("peek").addEventListener("contextmenu", (e) => e.preventDefault());
  by("help").addEventListener("click", () => by("about").showModal());

  const KEYS = { 1: "aligned", 2: "not", 3: "cannot tell" };
  document.addEventListener("keydown", (e) => {
    if (by("about").open || e.ctrlKey || e.metaKey || e.altKey) return;
    const onButton = e.target instanceof HTMLButtonElement && e.target.id !== "peek";
    if (e.key === " " && !onButton) { e.preventDefault(); if (!e.repeat) peek(true); return; }
    if (e.repeat) return;
    if (e.key in KEYS) answer(KEYS[e.key]);
    else if (e.key === "ArrowLeft" && !e.shiftKey) step(-1);
    else if (e.key === "ArrowRight" && !e.shiftKey) step(1);
    else if (e.key === "f" || e.key === "F") toggleFlicker();
    else if (e.key === "h" || e.key === "H" || e.key === "?") by("about").showModal();
  });
  document.addEventListener("keyup", (e) => { if (e.key === " ") peek(false); });
  window.addEventListener("blur", () => { if (!flickering) peek(false); });

  open(null).then(() => { if (item && item.answered === 0 && !MAIN.hidden) by("about").showModal(); });
}
