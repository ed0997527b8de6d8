"use strict";
document.documentElement.classList.add("js");

// Light and dark: as the system has it, until the button is used.
{
  const button = document.getElementById("theme");
  const root = document.documentElement;
  button.hidden = false;
  button.addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const now = root.dataset.theme || system;
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });
}

// Tabs: without this script all panels stand below each other.
for (const list of document.querySelectorAll("[data-tabs]")) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const panels = tabs.map((tab) => document.getElementById(tab.getAttribute("aria-controls")));
  const choose = (chosen) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", i === chosen);
      tab.tabIndex = i === chosen ? 0 : -1;
      panels[i].hidden = i !== chosen;
    });
  };
  list.hidden = false;
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => choose(i));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (i + step + tabs.length) % tabs.length;
      choose(next);
      tabs[next].focus();
      event.preventDefault();
    });
  });
  choose(0);
  // A link into a panel opens it.
  const follow = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const at = target ? panels.findIndex((panel) => panel.contains(target)) : -1;
    if (at >= 0) {
      choose(at);
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", follow);
  for (const link of document.querySelectorAll("nav a")) {
    link.addEventListener("click", () => setTimeout(follow));
  }
  follow();
}

// What is wider than the window shows that it goes on, until its end is reached.
for (const box of document.querySelectorAll(".scroll")) {
  const hint = document.createElement("p");
  hint.className = "quiet more";
  hint.textContent = "The table goes on to the side: scroll it.";
  hint.hidden = true;
  box.after(hint);
  const look = () => {
    const left = box.scrollWidth - box.clientWidth;
    hint.hidden = left < 2;
    box.classList.toggle("goes-on", left - box.scrollLeft > 2);
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box); // also when it is unfolded, or its tab opened
  look();
}

// The map: Matplotlib drew the points; here they are found, shown and faded.
for (const map of document.querySelectorAll("[data-map]")) {
  const data = JSON.parse(document.getElementById(map.dataset.map).textContent);
  const stage = map.querySelector(".stage");
  const tip = map.querySelector(".tip");
  const canvas = tip.querySelector("canvas");
  const sprite = map.querySelector(".sprite");
  const wrong = map.querySelector("[data-wrong]");
  const select = map.querySelector("[data-class-select]");
  const chosen = new Set();
  const layers = [...map.querySelectorAll(".layer")].map((element) => {
    const svg = element.querySelector("svg");
    const marks = [...svg.querySelectorAll("use")].slice(-data.codes.length);
    const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    ring.setAttribute("class", "ring");
    ring.setAttribute("r", 7);
    ring.style.display = "none";
    svg.append(ring);
    const places = marks.map((mark) => [mark.x.baseVal.value, mark.y.baseVal.value]);
    return { element, svg, marks, ring, places };
  });
  let layer = layers[0];
  let current = -1;

  const visible = (i) =>
    (!chosen.size || chosen.has(data.codes[i])) &&
    !(wrong && wrong.getAttribute("aria-pressed") === "true" && data.right[i] !== 0);

  const fade = () => {
    for (const each of layers) {
      each.marks.forEach((mark, i) => (mark.style.opacity = visible(i) ? 1 : 0.06));
    }
  };

  const set = (name, text) => (tip.querySelector(`[data-tip=${name}]`).textContent = text);

  const show = (i) => {
    current = i;
    for (const each of layers) each.ring.style.display = "none";
    if (i < 0) return;
    const [x, y] = layer.places[i];
    layer.ring.setAttribute("cx", x);
    layer.ring.setAttribute("cy", y);
    layer.ring.style.display = "";
    tip.hidden = false;
    const name = data.classes ? data.classes[data.codes[i]] : "";
    set("label", name);
    set("id", data.ids[i]);
    const vote = tip.querySelector("[data-tip=vote]");
    vote.className = "vote";
    vote.textContent = "";
    if (data.right[i] !== null) {
      vote.classList.add(data.right[i] ? "right" : "wrong");
      const name = document.createElement("bdi");
      name.textContent = data.votes[i];
      vote.append(`${data.right[i] ? "✓" : "✗"} vote: `, name);
    }
    canvas.hidden = !sprite;
    if (sprite) {
      const paint = canvas.getContext("2d");
      const { cell, columns } = data;
      paint.imageSmoothingEnabled = cell >= 64;
      paint.clearRect(0, 0, canvas.width, canvas.height);
      const left = (i % columns) * cell;
      const top = Math.floor(i / columns) * cell;
      paint.drawImage(sprite, left, top, cell, cell, 0, 0, canvas.width, canvas.height);
    }
  };

  const nearest = (x, y, reach, allowed = () => true) => {
    let best = -1;
    let least = reach * reach;
    layer.places.forEach(([px, py], i) => {
      const d = (px - x) ** 2 + (py - y) ** 2;
      if (d < least && visible(i) && allowed(px, py, i)) [best, least] = [i, d];
    });
    return best;
  };

  const point = (event) => {
    const box = layer.svg.getBoundingClientRect();
    const view = layer.svg.viewBox.baseVal;
    const scale = view.width / box.width;
    const reach = (event.pointerType === "mouse" ? 14 : 26) * scale;
    const i = nearest((event.clientX - box.left) * scale, (event.clientY - box.top) * scale, reach);
    if (i >= 0) show(i);
  };
  stage.addEventListener("pointermove", point);
  stage.addEventListener("pointerdown", point);
  stage.addEventListener("keydown", (event) => {
    const turn = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!turn) return;
    event.preventDefault();
    if (current < 0 || !visible(current)) {
      show(nearest(0, 0, Infinity));
      return;
    }
    const [x, y] = layer.places[current];
    // The nearest one in the quarter that the key points to.
    const next = nearest(x, y, Infinity, (px, py, i) => {
      const along = (px - x) * turn[0] + (py - y) * turn[1];
      const aside = Math.abs((px - x) * turn[1]) + Math.abs((py - y) * turn[0]);
      return i !== current && along > 0 && along >= aside;
    });
    if (next >= 0) show(next);
  });

  map.querySelector(".controls").hidden = false;
  const buttons = [...map.querySelectorAll("[data-layer]")];
  const turnTo = (method) => {
    layers.forEach((each) => (each.element.hidden = each.element.dataset.method !== method));
    layer = layers.find((each) => each.element.dataset.method === method);
    buttons.forEach((each) => each.setAttribute("aria-pressed", each.dataset.layer === method));
    show(current);
  };
  buttons.forEach((each) => each.addEventListener("click", () => turnTo(each.dataset.layer)));
  turnTo(layers[0].element.dataset.method);
  const first = () => show(0);
  if (!sprite || sprite.complete) first();
  else sprite.addEventListener("load", first);
  for (const button of map.querySelectorAll("[data-class]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const code = Number(button.dataset.class);
      const on = !chosen.delete(code) && chosen.add(code);
      button.setAttribute("aria-pressed", Boolean(on));
      fade();
    });
  }
  if (select) {
    select.addEventListener("change", () => {
      chosen.clear();
      if (select.value) chosen.add(Number(select.value));
      fade();
    });
  }
  if (wrong) {
    wrong.addEventListener("click", () => {
      wrong.setAttribute("aria-pressed", wrong.getAttribute("aria-pressed") !== "true");
      fade();
    });
  }
}
