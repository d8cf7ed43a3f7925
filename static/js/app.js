// The core that the other scripts share: `desk.onContent` runs on the page and on everything htmx swaps in; the rest is htmx's settings.
window.desk = (() => {
  "use strict";
  const initialisers = [];

  // Run `initialise(root)` for the page now and for each piece that htmx brings in later.
  const onContent = (initialise) => {
    initialisers.push(initialise);
    if (document.readyState !== "loading") initialise(document);
  };

  const announce = (text) => {
    const region = document.getElementById("live");
    if (region && text) region.textContent = text;
  };

  // Fetch the list anew at the address that is shown, after a change that happened outside of it.
  const refreshList = () => {
    if (!document.getElementById("list")) return window.location.reload();
    return window.htmx.ajax("GET", window.location.href, { target: "#list", select: "#list", swap: "outerHTML show:none", push: "false" });
  };

  document.addEventListener("DOMContentLoaded", () => initialisers.forEach((initialise) => initialise(document)));
  document.addEventListener("htmx:after:settle", (event) => {
    const pieces = event.detail?.newContent ?? [];
    pieces.filter((node) => node.nodeType === Node.ELEMENT_NODE).forEach((node) => initialisers.forEach((initialise) => initialise(node)));
  });

  document.addEventListener("htmx:config:request", (event) => {
    const request = event.detail.ctx.request;
    if (request.method !== "GET") request.headers["X-CSRFToken"] = document.querySelector('meta[name="csrf-token"]').content;
  });

  // A session that ended answers with a redirect to the sign-in page: go there, instead of swapping that page into this one.
  document.addEventListener("htmx:before:response", (event) => {
    const answer = event.detail.ctx.response.raw;
    if (!answer.redirected || new URL(answer.url).pathname !== "/login") return;
    event.preventDefault();
    window.location.reload();
  });

  // A change that other rows feel too: the answer asks for the list anew (HX-Trigger: {"refresh-list": true}).
  document.addEventListener("refresh-list", () => refreshList());

  return { onContent, announce, refreshList };
})();

// All matches of a selector in a piece of the page, the piece itself included.
window.desk.all = (root, selector) => {
  const inside = [...root.querySelectorAll(selector)];
  return root instanceof Element && root.matches(selector) ? [root, ...inside] : inside;
};
