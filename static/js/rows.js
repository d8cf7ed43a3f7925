// Long tables in one page: a box that hides the rows that do not match, and one that ticks all that are shown.
document.addEventListener('input', (event) => {
  const box = event.target.closest('[data-row-filter]');
  if (!box) return;
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll(`${box.dataset.rowFilter} [data-row-text]`)) {
    row.hidden = !words.every((word) => row.dataset.rowText.includes(word));
  }
});

document.addEventListener('change', (event) => {
  const all = event.target.closest('[data-tick-all]');
  if (!all) return;
  for (const box of document.querySelectorAll(`${all.dataset.tickAll} tr:not([hidden]) input[name="model"]`)) box.checked = all.checked;
});
