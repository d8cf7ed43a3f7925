// Copy buttons: <button type="button" data-copy="text">, or data-copy-from="#id" to copy what another element shows.
(() => {
  "use strict";
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    try {
      await navigator.clipboard.writeText(button.dataset.copy ?? source?.value ?? source?.textContent.trim() ?? "");
      window.desk.toast({ msg: "Copied.", kind: "success" });
    } catch {
      window.desk.toast({ msg: "This browser does not let us copy. Select the text and copy it by hand.", kind: "error" });
    }
  });
})();
