// A box that ticks all models of a page.
document.addEventListener('change', (event) => {
  const all = event.target.closest('[data-tick-all]');
  if (!all) return;
  for (const box of document.querySelectorAll(`${all.dataset.tickAll} input[name="model"]`)) box.checked = all.checked;
});
