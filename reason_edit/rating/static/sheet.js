"use strict";
// Items are in this file; answers are kept by the browser until "Save answers" writes them to a file.
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const shelf = `smartedit-ratings/${study.study}/${study.sheet}/${study.part}`;
  const kept = new Map();
  let unsaved = false;
  let storing = true;
  try { for (const a of JSON.parse(localStorage.getItem(shelf) ?? "[]")) kept.set(a.item, a); } catch { storing = false; }

  const state = () => ({ total: study.items.length, answered: kept.size });
  const firstOpen = (from) => {
    const open = study.items.map((i, n) => (kept.has(i.item) ? 0 : n + 1)).filter(Boolean);
    return open.find((n) => n > from) ?? open[0] ?? null;
  };
  const button = document.getElementById("save");
  button.addEventListener("click", () => {
    const content = { format: study.format, study: study.study, sheet: study.sheet, answers: [...kept.values()] };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
    link.download = `answers-${study.study}-${study.part}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
    unsaved = false;
  });
  window.addEventListener("beforeunload", (e) => { if (unsaved && !storing) e.preventDefault(); });

  startRating({
    doneText: "Press “Save answers” above and send the file to whoever gave you this page. You can still go back and change an answer.",
    open: async (place) => {
      place ??= firstOpen(0);
      if (place === null) return { ...state(), place: null };
      const item = study.items[place - 1];
      return {
        ...state(), place, item: item.item, instruction: item.instruction, edited: item.edited,
        source: study.sources[item.source], answer: kept.get(item.item)?.answer ?? null,
      };
    },
    answer: async (post) => {
      kept.set(post.item, { item: post.item, answer: post.answer, seconds: post.seconds, answered_at: new Date().toISOString() });
      unsaved = true;
      try { localStorage.setItem(shelf, JSON.stringify([...kept.values()])); } catch { storing = false; }
      const place = study.items.findIndex((i) => i.item === post.item) + 1;
      return { ...state(), next_open: firstOpen(place), note: storing ? "Kept by this browser" : "Not kept by this browser: save before closing" };
    },
  });
})();
