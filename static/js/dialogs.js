// Dialogs: the question before a change that cannot be taken back lightly, and the drawer at the side.
(() => {
  "use strict";
  const dialog = () => document.getElementById("confirm");

  // Ask, and run `proceed` when the answer is yes. With `typed`, yes can be given only after that word was typed.
  const ask = ({ message, action = "Continue", stay = "Cancel", typed = "" }, proceed, decline = () => {}) => {
    const box = dialog();
    const yes = box.querySelector("[data-confirm-yes]");
    const field = box.querySelector("[data-confirm-field]");
    const input = field.querySelector("input");
    box.querySelector("[data-confirm-message]").textContent = message;
    field.hidden = !typed;
    field.querySelector("[data-confirm-word]").textContent = typed;
    input.value = "";
    input.oninput = () => { yes.disabled = input.value.trim() !== typed; };
    yes.textContent = action;
    box.querySelector("[data-confirm-no]").textContent = stay;
    yes.disabled = Boolean(typed);
    box.returnValue = "";
    box.onclose = () => (box.returnValue === "yes" ? proceed() : decline());
    box.showModal();
    (typed ? input : box.querySelector("[data-confirm-no]")).focus();
  };
  window.desk.ask = ask;

  const question = (element) => ({
    message: element.dataset.confirm, action: element.dataset.confirmAction,
    stay: element.dataset.confirmStay, typed: element.dataset.confirmType,
  });

  // <button type="button" form="..." name="..." value="..." data-confirm="..."> submits its form after a yes. It is no submit button
  // until then: where this script does not run, nothing is deleted without a question.
  const submitWith = (button) => {
    button.type = "submit";
    button.form.requestSubmit(button);
    button.type = "button";
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest('button[type="button"][data-confirm]');
    if (!button?.form) return;
    ask(question(button), () => submitWith(button));
  });

  document.addEventListener("htmx:confirm", (event) => {
    const { ctx, issueRequest, dropRequest } = event.detail;
    if (!ctx?.confirm) return;
    event.preventDefault();
    const element = ctx.sourceElement;
    const refuse = () => {
      if (element.matches('input[type="checkbox"]')) element.checked = !element.checked;
      dropRequest();
    };
    ask({ ...question(element), message: ctx.confirm }, issueRequest, refuse);
  });

  // The drawer: a link with data-drawer and hx-target="#drawer-body" opens it; without this script the link leads to the page.
  document.addEventListener("click", (event) => {
    const drawer = document.getElementById("drawer");
    const opener = event.target.closest("[data-drawer]");
    if (opener && drawer && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
      drawer.querySelector("#drawer-title").textContent = opener.dataset.drawer || "Details";
      drawer.querySelector("#drawer-body").replaceChildren(document.getElementById("drawer-waiting").content.cloneNode(true));
      drawer.showModal();
    }
    const closer = event.target.closest("[data-dialog-close]");
    if (closer) closer.closest("dialog").close("");
    if (event.target.matches?.("dialog[data-light-dismiss]")) event.target.close("");
  });
})();
