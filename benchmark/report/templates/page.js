"use strict";
const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name in element && name !== "style" && name !== "role") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

(function theme() {
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
})();

(function tabs() {
  for (const group of document.querySelectorAll("[data-tabs]")) {
    const all = [...group.querySelectorAll("[role=tab]")];
    const choose = (tab) => {
      for (const other of all) {
        const chosen = other === tab;
        other.setAttribute("aria-selected", String(chosen));
        other.tabIndex = chosen ? 0 : -1;
        byId(other.getAttribute("aria-controls")).hidden = !chosen;
      }
    };
    all.forEach((tab, place) => {
      tab.addEventListener("click", () => choose(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = all[(place + step + all.length) % all.length];
        choose(next);
        next.focus();
      });
    });
  }
})();

(function sortableTables() {
  const key = (cell) => {
    const value = cell.dataset.value;
    if (value === "inf") return Infinity;
    const number = Number(value);
    return value === "" || Number.isNaN(number) ? value : number;
  };
  const compare = (a, b) => {
    const words = [a, b].map((v) => typeof v !== "number");
    if (words[0] && words[1]) return a.localeCompare(b);
    return words[0] ? 1 : words[1] ? -1 : a === b ? 0 : a - b;
  };
  for (const table of document.querySelectorAll("table")) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") !== "descending" && head.classList.contains("number");
        const down = head.getAttribute("aria-sort") === "ascending" ? true : descending;
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        for (const body of table.tBodies) {
          const rows = [...body.rows].filter((row) => !row.classList.contains("section"));
          const known = (row) => typeof key(row.cells[column]) === "number" || !head.classList.contains("number");
          rows.sort((a, b) => {
            if (known(a) !== known(b)) return known(a) ? -1 : 1;
            return compare(key(a.cells[column]), key(b.cells[column])) * (down ? -1 : 1);
          });
          body.append(...rows);
        }
      });
    });
  }
})();

(function sections() {
  const links = new Map([...document.querySelectorAll(".sections a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.classList.remove("here");
        const link = links.get(entry.target.id);
        if (link) link.classList.add("here");
      }
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  for (const id of links.keys()) if (byId(id)) seen.observe(byId(id));
})();
