// The list: its filter menu, and what must survive when htmx replaces it (what is being typed, the focus, what a screen reader hears).
(() => {
  "use strict";

  const fillOptions = (select, pairs, value) => {
    pairs.forEach(([key, label]) => select.add(new Option(label, key, false, String(key) === String(value))));
  };

  const INPUT_TYPES = { datepicker: "date", datetimepicker: "text" };

  // The field in which the value of a filter is given: a choice where the server names the options, else an input.
  const valueField = (condition, value) => {
    if (condition.options) {
      const select = document.createElement("select");
      select.className = "form-select";
      fillOptions(select, condition.options, value);
      return select;
    }
    const input = document.createElement("input");
    input.className = "form-control";
    input.type = INPUT_TYPES[condition.type] ?? "text";
    input.value = value ?? "";
    return input;
  };

  const addRow = (form, name, conditions, index, value) => {
    const row = form.querySelector("template").content.firstElementChild.cloneNode(true);
    const operation = row.querySelector("[data-filter-operation]");
    const slot = row.querySelector("[data-filter-value]");
    const number = form.querySelectorAll("[data-filter-row]").length;
    let current = conditions.find((condition) => condition.index === index) ?? conditions[0];
    const place = (given) => {
      const field = valueField(current, given);
      field.name = `flt${number}_${current.arg}`;
      field.setAttribute("aria-label", `${name}: value`);
      slot.replaceChildren(field);
      return field;
    };
    row.querySelector("[data-filter-name]").textContent = name;
    operation.setAttribute("aria-label", `${name}: condition`);
    fillOptions(operation, conditions.map((condition) => [condition.arg, condition.operation]), current.arg);
    operation.addEventListener("change", () => {
      current = conditions.find((condition) => String(condition.arg) === operation.value);
      place().focus();
    });
    row.querySelector("[data-filter-remove]").setAttribute("aria-label", `Remove the filter ${name}`);
    row.querySelector("[data-filter-remove]").addEventListener("click", () => {
      row.remove();
      form.querySelector("[data-filter-add]").focus();
    });
    form.querySelector("[data-filter-rows]").append(row);
    return place(value);
  };

  const setUpFilters = (form) => {
    if (form.dataset.ready) return;
    form.dataset.ready = "yes";
    const groups = JSON.parse(form.dataset.groups);
    const adder = form.querySelector("[data-filter-add]");
    JSON.parse(form.dataset.active).forEach(([index, name, value]) => groups[name] && addRow(form, name, groups[name], index, value));
    adder.addEventListener("change", () => {
      if (adder.value) addRow(form, adder.value, groups[adder.value]).focus();
      adder.value = "";
    });
  };
  window.desk.onContent((root) => window.desk.all(root, "form[data-filter-form]").forEach(setUpFilters));

  // Somebody who goes on typing while the answer comes keeps what was typed, and it is searched for next.
  let typed = null;
  document.addEventListener("htmx:before:swap", () => {
    const search = document.getElementById("list-search");
    typed = search && document.activeElement === search ? search.value : null;
  });
  document.addEventListener("htmx:after:swap", () => {
    const list = document.getElementById("list");
    const search = document.getElementById("list-search");
    if (search && typed !== null && search.value !== typed) {
      search.value = typed;
      search.dispatchEvent(new Event("input", { bubbles: true }));
    }
    typed = null;
    if (list?.dataset.announce) window.desk.announce(list.dataset.announce);
    if (list && document.activeElement === document.body && !document.querySelector("dialog[open]")) list.focus({ preventScroll: true });
  });
})();
