"use strict";
// Items come from the server and answers go there.
(() => {
  async function ask(path, options = {}) {
    const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(20000), ...options });
    if (response.ok) return response.json();
    if (response.status >= 500 || response.status === 408 || response.status === 429) throw new Busy();
    const problem = await response.json().catch(() => ({ detail: `refused (${response.status})` }));
    if (response.status === 409 && "current" in problem) throw new Conflict(problem.current);
    throw new Refused(String(problem.detail));
  }
  startRating({
    prefetch: true,
    doneText: "Every answer is saved. You can close this page, or go back and change an answer.",
    open: (place) => ask(place === null ? "items/next" : `items/${place}`),
    answer: (post) => ask("answers", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(post) }),
  });
})();
