// Theme: light, dark or as the system says. Loaded in <head> and not deferred, so that a page never flashes in the wrong colours.
(() => {
  "use strict";
  const STORAGE_KEY = "modeldesk-theme";
  const systemIsDark = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  const chosen = () => {
    try {
      const value = localStorage.getItem(STORAGE_KEY);
      return value === "light" || value === "dark" ? value : "auto";
    } catch {
      return "auto"; // Storage can be forbidden; then the system decides.
    }
  };

  const remember = (choice) => {
    try {
      localStorage.setItem(STORAGE_KEY, choice);
    } catch {
      // The choice then lasts as long as this page.
    }
  };

  const apply = (choice) => {
    const dark = choice === "dark" || (choice === "auto" && systemIsDark.matches);
    root.setAttribute("data-bs-theme", dark ? "dark" : "light");
    root.setAttribute("data-theme-choice", choice);
    document.querySelectorAll("[data-theme-set]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.themeSet === choice));
    });
  };

  apply(chosen());
  systemIsDark.addEventListener("change", () => apply(chosen()));
  document.addEventListener("DOMContentLoaded", () => apply(chosen()));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-set]");
    if (!button) return;
    remember(button.dataset.themeSet);
    apply(button.dataset.themeSet);
  });
})();
