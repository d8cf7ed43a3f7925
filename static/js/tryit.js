// Try it: stop waiting for an answer, and bring what came back into sight.
(() => {
  "use strict";
  const result = () => document.getElementById("run-result");

  const bringToSight = (root) => {
    const place = root.querySelector("[data-focus]");
    if (!place) return;
    place.focus({ preventScroll: true });
    root.scrollIntoView({ block: "start", behavior: "smooth" });
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-abort]");
    if (!button) return;
    document.querySelector(button.dataset.abort).dispatchEvent(new Event("htmx:abort"));
    result().replaceChildren(document.getElementById("run-stopped").content.cloneNode(true));
    bringToSight(result());
  });

  // A text that was edited is no sample any more.
  document.addEventListener("input", (event) => {
    if (event.target.id === "tryit-text") document.querySelector(".sample[aria-current]")?.removeAttribute("aria-current");
  });

  // What the previous run said must not stand there while the next one is asked.
  document.addEventListener("htmx:before:request", (event) => {
    if (event.detail.ctx.sourceElement?.id === "tryit") result().replaceChildren();
  });
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx?.target === result()) bringToSight(result());
  });
})();
