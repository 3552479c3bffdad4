// Keeps "12 min ago" fresh, in the page's language, by the server's clock; a recording's times stand still.
const root = document.documentElement;
const words = JSON.parse(root.dataset.times ?? "{}");
const offset = Number(root.dataset.now) - Date.now();

function span(ms) {
  const [unit, length] = ms >= 172_800_000 ? ["d", 86_400_000] : ms >= 7_200_000 ? ["h", 3_600_000] : ms >= 60_000 ? ["min", 60_000] : ["s", 1000];
  return words[unit].replace("{n}", Math.floor(ms / length));
}

export function refresh() {
  if (!words.now) return;
  const now = Date.now() + offset;
  for (const time of document.querySelectorAll("time[data-ms]")) {
    const passed = now - Number(time.dataset.ms);
    const form = passed > 0 ? words.ago : words.in;
    const said = Math.abs(passed) < 3000 ? words.now : form.replace("{span}", span(Math.abs(passed)));
    const shown = time.querySelector(".ago");
    if (shown && shown.textContent !== said) shown.textContent = said;
  }
}

export function times() {
  if (root.dataset.frozen === undefined && root.dataset.now) setInterval(refresh, 5000);
}
