"use strict";
// Zoom and pan, the same in all windows, so that one place of both pictures can be compared.
(() => {
  const STEPS = [1, 2, 4, 8];
  const windows = [...document.querySelectorAll(".window")];
  const pointers = new Map();
  let scale = 1, x = 0, y = 0; // x, y: the shown part's left upper corner as fractions of the window
  let moved = 0;

  function draw() {
    const most = 1 - 1 / scale;
    x = Math.min(most, Math.max(0, x));
    y = Math.min(most, Math.max(0, y));
    for (const w of windows) {
      w.classList.toggle("zoomed", scale > 1);
      for (const image of w.querySelectorAll("img")) {
        image.style.transform = `scale(${scale}) translate(${-100 * x}%, ${-100 * y}%)`;
        image.style.imageRendering = scale >= 4 ? "pixelated" : "auto";
      }
    }
    document.getElementById("scale").textContent = `${Math.round(scale * 10) / 10}×`;
  }
  // u, v: the point of the window, as fractions, that stays where it is.
  function zoom(to, u = 0.5, v = 0.5) {
    to = Math.min(8, Math.max(1, to));
    x += u / scale - u / to;
    y += v / scale - v / to;
    scale = to;
    draw();
  }
  const following = () => STEPS.find((s) => s > scale + 0.01) ?? 1;
  const fraction = (w, e) => {
    const box = w.getBoundingClientRect();
    return [(e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height];
  };

  for (const w of windows) {
    w.addEventListener("pointerdown", (e) => {
      w.setPointerCapture(e.pointerId);
      pointers.set(e.pointerId, [e.clientX, e.clientY]);
      if (pointers.size === 1) moved = 0;
    });
    w.addEventListener("pointermove", (e) => {
      const last = pointers.get(e.pointerId);
      if (!last) return;
      const box = w.getBoundingClientRect();
      const others = [...pointers].filter(([id]) => id !== e.pointerId).map(([, p]) => p);
      pointers.set(e.pointerId, [e.clientX, e.clientY]);
      if (others.length) {
        const was = Math.hypot(last[0] - others[0][0], last[1] - others[0][1]);
        const is = Math.hypot(e.clientX - others[0][0], e.clientY - others[0][1]);
        moved = 99;
        if (was > 0) zoom((scale * is) / was, ...fraction(w, { clientX: (e.clientX + others[0][0]) / 2, clientY: (e.clientY + others[0][1]) / 2 }));
        return;
      }
      moved += Math.hypot(e.clientX - last[0], e.clientY - last[1]);
      if (moved > 6 && scale > 1) {
        x -= (e.clientX - last[0]) / box.width / scale;
        y -= (e.clientY - last[1]) / box.height / scale;
        draw();
      }
    });
    w.addEventListener("pointerup", (e) => {
      if (pointers.delete(e.pointerId) && !pointers.size && moved <= 6) zoom(following(), ...fraction(w, e));
    });
    w.addEventListener("pointercancel", (e) => pointers.delete(e.pointerId));
    w.addEventListener("wheel", (e) => {
      e.preventDefault();
      zoom(scale * Math.exp(-e.deltaY / 400), ...fraction(w, e));
    }, { passive: false });
  }
  document.getElementById("zoom").addEventListener("click", () => zoom(following()));
  document.addEventListener("keydown", (e) => {
    if (document.getElementById("about").open || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "z" || e.key === "Z") zoom(following());
    else if (e.key === "+" || e.key === "=") zoom(scale * 1.5);
    else if (e.key === "-") zoom(scale / 1.5);
    else if (e.key === "0") zoom(1);
    else if (e.shiftKey && e.key.startsWith("Arrow")) {
      x += { ArrowLeft: -0.1, ArrowRight: 0.1 }[e.key] / scale || 0;
      y += { ArrowUp: -0.1, ArrowDown: 0.1 }[e.key] / scale || 0;
      draw();
      e.preventDefault();
    }
  });
  document.addEventListener("newitem", () => { scale = 1; x = y = 0; draw(); });
})();
