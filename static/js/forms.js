// Forms: the guard against losing changes, choices that can be searched, and the focus on the summary of errors.
(() => {
  "use strict";
  const { onContent, all } = window.desk;

  const content = (form) => JSON.stringify([...new FormData(form)].map(([name, value]) => [name, value instanceof File ? value.name : value]));
  const guarded = new Map();

  const guard = (form) => {
    if (!guarded.has(form)) requestAnimationFrame(() => guarded.set(form, content(form)));
  };
  document.addEventListener("submit", (event) => guarded.delete(event.target));
  // A value in such a field selects the choice that the field belongs to.
  document.addEventListener("input", (event) => {
    const choice = event.target.value && document.getElementById(event.target.dataset.selects ?? "");
    if (choice) choice.checked = true;
  });
  window.addEventListener("beforeunload", (event) => {
    const changed = [...guarded].some(([form, before]) => form.isConnected && content(form) !== before);
    if (changed) event.preventDefault();
  });
  onContent((root) => all(root, "form[data-dirty-guard]").forEach(guard));

  // Tom Select moves the label to its own control; the hidden original needs a name too.
  const keepName = (element) => {
    const label = element.id && document.querySelector(`label[for="${CSS.escape(element.id)}"]`);
    if (label && !element.hasAttribute("aria-label")) element.setAttribute("aria-label", label.textContent.trim());
  };

  const describe = (element, choice) => {
    ["aria-describedby", "aria-invalid"].forEach((name) => {
      if (element.hasAttribute(name)) choice.control_input.setAttribute(name, element.getAttribute(name));
    });
  };

  const searchableSelect = (select) => {
    if (select.tomselect) return;
    keepName(select);
    const plugins = select.multiple ? ["remove_button"] : [];
    describe(select, new window.TomSelect(select, { maxOptions: 500, plugins, allowEmptyOption: true }));
  };

  const asOptions = (pairs) => pairs.map(([id, text]) => ({ id: String(id), text }));

  const load = (url) => async (query, answer) => {
    try {
      const response = await fetch(`${url}&query=${encodeURIComponent(query)}&offset=0&limit=20`, { credentials: "same-origin" });
      answer(asOptions(await response.json()));
    } catch {
      answer();
    }
  };

  // Flask-Admin renders a to-one relation as a hidden input that names where to look the choices up.
  const lookedUpSelect = (input) => {
    if (input.tomselect) return;
    const several = input.dataset.multiple === "1";
    const given = input.dataset.json ? JSON.parse(input.dataset.json) : [];
    const options = asOptions(several ? given : [given].filter((pair) => pair.length));
    keepName(input);
    input.type = "text";
    input.value = "";
    const choice = new window.TomSelect(input, {
      maxItems: several ? null : 1, valueField: "id", labelField: "text", searchField: "text", preload: "focus",
      plugins: several ? ["remove_button"] : [], placeholder: input.dataset.placeholder,
      options, items: options.map((option) => option.id), load: load(input.dataset.url),
    });
    describe(input, choice);
  };

  const tagInput = (input) => {
    if (input.tomselect) return;
    keepName(input);
    describe(input, new window.TomSelect(input, { create: true, persist: false, plugins: ["remove_button"] }));
  };

  onContent((root) => {
    all(root, 'select[data-role="select2"], select[data-searchable]').forEach(searchableSelect);
    all(root, 'input[data-role="select2-ajax"]').forEach(lookedUpSelect);
    all(root, 'input[data-role="select2-tags"]').forEach(tagInput);
    all(root, "[data-error-summary]").forEach((summary) => summary.focus());
  });
})();
