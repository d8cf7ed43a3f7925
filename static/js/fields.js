// Messages at fields: an answer that htmx swaps in may carry data-field-errors='{"name": "what is wrong"}' for the form on the page.
(() => {
  "use strict";
  const mark = (form, name, message) => {
    const control = form.elements[name];
    const place = form.querySelector(`[data-error-for="${CSS.escape(name)}"]`);
    if (place && place.textContent !== message) place.textContent = message;
    if (!(control instanceof Element)) return;
    control.classList.toggle("is-invalid", Boolean(message));
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };

  const show = (carrier) => {
    const errors = JSON.parse(carrier.dataset.fieldErrors);
    document.querySelectorAll("form[data-shows-errors]").forEach((form) => {
      form.querySelectorAll("[data-error-for]").forEach((place) => mark(form, place.dataset.errorFor, errors[place.dataset.errorFor] ?? ""));
    });
  };

  window.desk.onContent((root) => window.desk.all(root, "[data-field-errors]").forEach(show));
})();
