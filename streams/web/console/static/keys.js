// Keys: j k move in the page's list ([data-rows]), enter opens, a acknowledges, / searches, ? shows them all.
import { acknowledge } from "./inbox.js";

const rows = () => [...document.querySelectorAll("[data-rows] [data-href]")];
export const selected = () => document.querySelector('[data-rows] [aria-selected="true"]');

function select(row) {
  const before = selected();
  if (before) before.removeAttribute("aria-selected");
  if (!row) return;
  row.setAttribute("aria-selected", "true");
  row.querySelector("a")?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  const url = new URL(location.href);
  url.searchParams.set("row", row.dataset.id);
  history.replaceState(null, "", url);
}

function move(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(selected());
  select(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + by))]);
}

function open() {
  const row = selected();
  if (row) location.href = row.dataset.href;
}

export function keys() {
  const row = new URL(location.href).searchParams.get("row");
  const kept = row && rows().find((r) => r.dataset.id === row);
  if (kept) kept.setAttribute("aria-selected", "true");
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    if (event.key === "Escape" && at.matches("input, select, textarea")) return at.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || at.matches("input, select, textarea, [contenteditable]") || document.querySelector("dialog[open]")) return;
    const does = {
      j: () => move(1), k: () => move(-1), Enter: open, a: () => selected() && acknowledge(selected()),
      i: () => (location.href = "/"), "?": () => document.getElementById("keys")?.showModal(),
      "/": () => (document.querySelector("[data-search]") ?? document.querySelector("[data-find]"))?.focus(),
    }[event.key];
    if (!does || (event.key === "Enter" && at !== document.body)) return;
    if (["j", "k", "a", "/", "?"].includes(event.key)) event.preventDefault();
    does();
  });
}
