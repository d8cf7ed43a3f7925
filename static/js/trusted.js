// Trusted Types, a second net under the content policy: no text becomes a script, and only files of static/ are the address of one, in vendored
// code too. Loaded first, and not deferred.
(() => {
  "use strict";
  if (!window.trustedTypes) {
    return; // Browsers without it have the content policy alone.
  }
  const STATIC = "/static/";
  window.trustedTypes.createPolicy("default", {
    // htmx swaps what the desk sent and Tom Select draws its choices, each by its own hand. Scripts and handlers in it do not run:
    // the content policy asks for a nonce and allows nothing inline.
    createHTML: (text) => text,
    // htmx makes the <script> elements of a page anew when it takes a part out of it: with their addresses, and with no text.
    createScript: (text) => (text.trim() === "" ? text : null),
    createScriptURL: (text) => {
      const { origin, pathname } = new URL(text, window.location.href);
      return origin === window.location.origin && pathname.startsWith(STATIC) ? text : null;
    },
  });
})();
