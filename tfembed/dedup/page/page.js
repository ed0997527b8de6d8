"use strict";
{
  const list = document.getElementById("list");
  const groups = [...list.querySelectorAll(".group")];
  const order = document.getElementById("order");
  const find = document.getElementById("find");
  const count = document.getElementById("count");
  document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());

  const show = () => {
    const sure = order.value === "sure";
    list.append(...(sure ? groups : [...groups].reverse()));
    const words = find.value.trim().toLowerCase();
    let shown = 0;
    for (const group of groups) {
      const names = [...group.querySelectorAll(".name")].map((name) => name.title.toLowerCase());
      group.hidden = words !== "" && !names.some((name) => name.includes(words));
      if (!group.hidden) shown += 1;
    }
    count.textContent = words ? `${shown} of ${groups.length} groups` : "";
  };
  order.addEventListener("change", show);
  find.addEventListener("input", show);

  document.addEventListener("keydown", (event) => {
    const step = { j: 1, k: -1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
    const shown = [...list.querySelectorAll(".group:not([hidden])")];
    const at = shown.indexOf(document.activeElement.closest(".group"));
    const next = shown[Math.min(Math.max(at + step, 0), shown.length - 1)];
    if (next) {
      next.focus();
      next.scrollIntoView({ block: "start" });
    }
  });
}
