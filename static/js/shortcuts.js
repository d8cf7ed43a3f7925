// Keyboard: "/" searches, "?" explains, j and k walk the rows, and a key named in data-key presses its link or button.
(() => {
  "use strict";
  const STORAGE_KEY = "modeldesk-shortcuts";

  const enabled = () => {
    try {
      return localStorage.getItem(STORAGE_KEY) !== "off";
    } catch {
      return true;
    }
  };

  const isTyping = (target) => Boolean(target.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]"));

  const walkRows = (step) => {
    const links = [...document.querySelectorAll("#list [data-row-link]")];
    const row = document.activeElement?.closest("#list tr");
    const at = row ? links.findIndex((link) => row.contains(link)) : -1;
    links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
  };

  const inRow = (selector) => document.activeElement?.closest("#list tr")?.querySelector(selector)?.click();

  const ACTIONS = {
    "/": () => (document.getElementById("list-search") ?? document.getElementById("global-search"))?.focus(),
    "?": () => document.getElementById("shortcuts")?.showModal(),
    j: () => walkRows(1),
    k: () => walkRows(-1),
    x: () => inRow("[data-check]"),
    e: () => (document.querySelector('[data-key="e"]') ? press("e") : inRow("[data-row-edit]")),
  };

  const press = (key) => {
    const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    target?.click();
    return Boolean(target);
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (!enabled() && event.key !== "?") return;
    const action = ACTIONS[event.key];
    if (action) action();
    if (action || press(event.key)) event.preventDefault();
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-shortcuts-switch]")) return;
    try {
      localStorage.setItem(STORAGE_KEY, event.target.checked ? "on" : "off");
    } catch {
      window.desk.toast({ msg: "This browser does not let us remember that.", kind: "info" });
    }
  });
  window.desk.onContent((root) => window.desk.all(root, "[data-shortcuts-switch]").forEach((box) => { box.checked = enabled(); }));
})();
