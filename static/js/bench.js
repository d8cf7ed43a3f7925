// A finished table can be sorted by any column; whoever opened an answer finds it open after the page was fetched anew.
document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-sort-column]');
  if (!button) return;
  const body = button.closest('table').tBodies[0];
  const column = Number(button.dataset.sortColumn);
  const down = button.getAttribute('aria-sort') === 'ascending';
  for (const other of button.closest('tr').querySelectorAll('[data-sort-column]')) other.removeAttribute('aria-sort');
  button.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const number = (text) => (text === '' ? Infinity : Number(String(text).replace(/[^0-9.]/g, '')));
  const compare = column === 0 ? (a, b) => value(a).localeCompare(value(b)) : (a, b) => number(value(a)) - number(value(b));
  body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * compare(a, b)));
});

let open = [];
document.addEventListener('htmx:before:swap', () => {
  open = [...document.querySelectorAll('#bench-live details')].map((one) => one.open);
});
document.addEventListener('htmx:after:swap', () => {
  document.querySelectorAll('#bench-live details').forEach((one, index) => { if (open[index]) one.open = true; });
});
