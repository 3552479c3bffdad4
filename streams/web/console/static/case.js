// A case's page: drag across the chart to zoom (an address, as the links are), and its own keys.
function chartOf(target) { return target.closest?.(".chart"); }

// Where the data lies in the picture that is shown, as shares of its width.
function edges(chart) {
  const wide = chart.querySelector("img").currentSrc.includes("size=narrow") ? chart.dataset.narrow : chart.dataset.wide;
  return wide.split(" ").map(Number);
}

let drag = null;
document.addEventListener("pointerdown", (event) => {
  const chart = chartOf(event.target);
  if (!chart || event.button !== 0 || event.pointerType === "touch") return;
  drag = { chart, from: event.clientX, to: event.clientX };
});
document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.to = event.clientX;
  const box = drag.chart.getBoundingClientRect();
  const band = drag.chart.querySelector(".zoom-band");
  const [left, right] = [drag.from, drag.to].sort((a, b) => a - b);
  band.hidden = right - left < 4;
  // Set by script, which the page's policy allows; markup with a style would not be.
  band.style.left = `${Math.max(left, box.left) - box.left}px`;
  band.style.width = `${Math.min(right, box.right) - Math.max(left, box.left)}px`;
});
document.addEventListener("pointerup", () => {
  if (!drag) return;
  const { chart, from, to } = drag;
  drag = null;
  chart.querySelector(".zoom-band").hidden = true;
  if (Math.abs(to - from) < 8) return;
  const box = chart.querySelector("img").getBoundingClientRect();
  const [left, right] = edges(chart);
  const [first, last] = [Number(chart.dataset.from), Number(chart.dataset.to)];
  const at = (x) => {
    const share = ((x - box.left) / box.width - left) / (right - left);
    return Math.round(first + Math.min(Math.max(share, 0), 1) * (last - first));
  };
  const [begin, end] = [at(from), at(to)].sort((a, b) => a - b);
  const url = new URL(chart.dataset.zoom, location.href);
  url.searchParams.set("from", begin);
  url.searchParams.set("to", end);
  location.href = url;
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.key !== "a") return;
  if (event.target.matches("input, select, textarea") || document.querySelector("dialog[open]")) return;
  document.querySelector('[data-do="acknowledge"]')?.click();
});

// What is asked comes into sight, with the first thing to fill in or the button at hand.
const ask = document.getElementById("ask");
if (ask && location.hash === "#ask") ask.querySelector("input:not([type=hidden]), button")?.focus({ preventScroll: true });

// What was refused stands at the form's address: the page's own takes its place, to be loaded again and kept alive.
const refused = document.getElementById("conflict");
if (refused) history.replaceState(null, "", refused.dataset.here);
