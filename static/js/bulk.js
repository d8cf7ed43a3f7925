// Bulk selection: check all, shift-click a range, the bar that counts. The checkboxes belong to #action_form by their `form` attribute.
(() => {
  "use strict";
  let lastClicked = null;

  const boxes = () => [...document.querySelectorAll("#list [data-check]")];

  const update = () => {
    const bar = document.querySelector("[data-bulk-bar]");
    const all = document.querySelector("[data-check-all]");
    if (!bar || !all) return;
    const rows = boxes();
    const count = rows.filter((box) => box.checked).length;
    all.checked = count > 0 && count === rows.length;
    all.indeterminate = count > 0 && !all.checked;
    bar.hidden = count === 0;
    bar.querySelector("[data-bulk-count]").textContent = String(count);
    const matching = bar.querySelector("[data-bulk-matching]");
    if (matching) matching.hidden = !all.checked;
    if (matching && !all.checked) selectMatching(bar, false);
  };

  const selectMatching = (bar, on) => {
    const button = bar.querySelector("[data-bulk-matching]");
    const field = document.querySelector('#action_form [name="all_matching"]');
    if (!button || !field) return;
    field.disabled = !on;
    button.setAttribute("aria-pressed", String(on));
    if (on) bar.querySelector("[data-bulk-count]").textContent = button.dataset.bulkMatching;
  };

  const checkRange = (from, to, value) => {
    const rows = boxes();
    const [first, last] = [rows.indexOf(from), rows.indexOf(to)].sort((a, b) => a - b);
    rows.slice(first, last + 1).forEach((box) => { box.checked = value; });
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-check-all]")) boxes().forEach((box) => { box.checked = event.target.checked; });
    if (event.target.matches("[data-check], [data-check-all]")) update();
  });

  document.addEventListener("click", (event) => {
    const box = event.target.closest("[data-check]");
    if (box) {
      if (event.shiftKey && lastClicked?.isConnected) checkRange(lastClicked, box, box.checked);
      lastClicked = box;
      update();
    }
    const matching = event.target.closest("[data-bulk-matching]");
    if (matching) selectMatching(matching.closest("[data-bulk-bar]"), matching.getAttribute("aria-pressed") !== "true");
    if (event.target.closest("[data-bulk-clear]")) {
      boxes().forEach((checked) => { checked.checked = false; });
      update();
    }
  });

  window.desk.onContent(update);
})();
