// Times: <time datetime="..." data-relative> reads as "3 minutes ago"; the exact moment stays in its title.
(() => {
  "use strict";
  const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

  const relative = (moment) => {
    let amount = (moment - Date.now()) / 1000;
    for (const [unit, size] of STEPS) {
      if (Math.abs(amount) < size) return words.format(Math.round(amount), unit);
      amount /= size;
    }
    return "";
  };

  window.desk.onContent((root) => window.desk.all(root, "time[data-relative]").forEach((element) => {
    const moment = Date.parse(element.dateTime);
    if (Number.isNaN(moment)) return;
    if (!element.title) element.title = element.textContent.trim();
    element.textContent = relative(moment);
  }));
})();
