// Toasts: the server sends HX-Trigger: {"toast": {"msg": "...", "kind": "success|error|info", "undo": {"url": "...", "label": "Undo"}}}.
(() => {
  "use strict";
  const QUIET_MS = 5000;
  const UNDO_MS = 10000;

  const close = (toast) => toast.remove();

  // The time stops while somebody points at the toast or has the focus in it, so that Undo does not vanish under the hand.
  const closeLater = (toast, delay) => {
    let timer = setTimeout(() => close(toast), delay);
    const pause = () => clearTimeout(timer);
    const resume = () => { timer = setTimeout(() => close(toast), delay); };
    toast.addEventListener("mouseenter", pause);
    toast.addEventListener("focusin", pause);
    toast.addEventListener("mouseleave", resume);
    toast.addEventListener("focusout", resume);
  };

  const undo = async (url) => {
    await window.htmx.ajax("POST", url, { source: "#toasts", target: "#toasts", swap: "none" });
    window.desk.refreshList();
  };

  const addUndo = (toast, { url, label }) => {
    const button = toast.querySelector("[data-toast-undo]");
    button.hidden = false;
    button.textContent = label ?? "Undo";
    button.addEventListener("click", () => { close(toast); undo(url); });
  };

  // A popover lies above open dialogs; showing it again brings it to the top.
  const bringToTop = (container) => {
    if (!container.showPopover) return;
    if (container.matches(":popover-open")) container.hidePopover();
    container.showPopover();
  };

  const show = ({ msg, kind = "success", undo: way }) => {
    const container = document.getElementById("toasts");
    const template = document.getElementById("toast-template");
    if (!msg || !container || !template) return;
    const toast = template.content.firstElementChild.cloneNode(true);
    toast.dataset.kind = kind;
    toast.querySelector("[data-toast-msg]").textContent = msg;
    toast.querySelector(`[data-toast-icon="${kind}"]`)?.removeAttribute("hidden");
    toast.querySelector("[data-toast-close]").addEventListener("click", () => close(toast));
    if (way) {
      // Of one switch only the latest toast counts: an older Undo would take back something else than it says.
      toast.dataset.about = new URL(way.url, window.location.href).pathname;
      container.querySelectorAll("[data-about]").forEach((other) => other.dataset.about === toast.dataset.about && close(other));
      addUndo(toast, way);
    }
    container.append(toast);
    bringToTop(container);
    if (kind !== "error") closeLater(toast, way ? UNDO_MS : QUIET_MS);
  };
  window.desk.toast = show;

  document.addEventListener("toast", (event) => show(event.detail));

  const SENTENCES = {
    400: "The server did not understand that. Reload the page and try again.",
    403: "Your role does not allow that. Ask an administrator.",
    404: "That no longer exists. Reload the page to see what is there now.",
    409: "Something else depends on this, or it has changed meanwhile. Reload the page and look again.",
    412: "Somebody else changed this meanwhile. Reload the page and look again.",
    429: "Too many requests. Wait a moment and try again.",
    503: "The database does not answer, so nothing can be changed now. Try again when the banner is gone.",
  };

  // A switch that could not be saved goes back to where it was.
  const putSwitchBack = (element) => {
    if (element?.matches?.('input[type="checkbox"]')) element.checked = !element.checked;
  };

  document.addEventListener("htmx:response:error", (event) => {
    const { response, sourceElement, hx } = event.detail.ctx;
    if (response.status === 401) return window.location.reload();
    if (response.status === 422) return;
    putSwitchBack(sourceElement);
    if (hx?.trigger?.includes('"toast"')) return;
    show({ msg: SENTENCES[response.status] ?? `The server answered with error ${response.status}. Try again in a moment.`, kind: "error" });
  });

  document.addEventListener("htmx:error", (event) => {
    putSwitchBack(event.detail.ctx?.sourceElement);
    show({ msg: "The server did not answer. Check the connection and try again.", kind: "error" });
  });
})();
