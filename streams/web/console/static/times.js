// Keeps "12 min ago" fresh, in the page's language, by the server's clock; a recording's times stand still.
const root = document.documentElement;
const SPANS = { en: { s: "s", min: "min", h: "h", d: "d" }, id: { s: "dtk", min: "mnt", h: "jam", d: "hari" } };
const FORMS = { en: { now: "just now", ago: (x) => `${x} ago`, in: (x) => `in ${x}` }, id: { now: "baru saja", ago: (x) => `${x} lalu`, in: (x) => `${x} lagi` } };
const offset = Number(root.dataset.now) - Date.now();

function span(ms, names) {
  if (ms >= 172_800_000) return `${Math.floor(ms / 86_400_000)} ${names.d}`;
  if (ms >= 7_200_000) return `${Math.floor(ms / 3_600_000)} ${names.h}`;
  if (ms >= 60_000) return `${Math.floor(ms / 60_000)} ${names.min}`;
  return `${Math.floor(ms / 1000)} ${names.s}`;
}

export function refresh() {
  const language = SPANS[root.lang] ? root.lang : "en";
  const now = Date.now() + offset;
  for (const time of document.querySelectorAll("time[data-ms]")) {
    const passed = now - Number(time.dataset.ms);
    const words = FORMS[language];
    const length = span(Math.abs(passed), SPANS[language]);
    const said = Math.abs(passed) < 3000 ? words.now : passed > 0 ? words.ago(length) : words.in(length);
    const shown = time.querySelector(".ago");
    if (shown && shown.textContent !== said) shown.textContent = said;
  }
}

export function times() {
  if (root.dataset.frozen === undefined && root.dataset.now) setInterval(refresh, 5000);
}
