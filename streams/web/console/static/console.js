// What every page does beyond links and forms: the viewer's zone, times kept fresh, live parts, keys, copying.
import { keys } from "./keys.js";
import { live } from "./live.js";
import { times } from "./times.js";
import { toast } from "./toast.js";

const root = document.documentElement;

function zone() {
  const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const kept = document.cookie.split("; ").find((c) => c.startsWith("tocsin_zone="))?.slice(12);
  if (!mine || kept === mine) return;
  document.cookie = `tocsin_zone=${mine}; path=/; max-age=31536000; samesite=lax`;
  // Once: the page was told in another zone. Where the cookie is refused, it stays so.
  if (mine !== root.dataset.zone && document.cookie.includes(`tocsin_zone=${mine}`)) location.reload();
}

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) navigator.clipboard?.writeText(copy.dataset.copy).then(() => toast(copy.dataset.copied ?? "✓"));
  const open = event.target.closest("[data-open]");
  if (open) document.getElementById(open.dataset.open)?.showModal();
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") {
    // An address says only what was chosen.
    for (const field of event.target.querySelectorAll("input[name], select[name]")) if (!field.value) field.disabled = true;
    return;
  }
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "1";
});
addEventListener("pageshow", () => document.querySelectorAll("form[method=get] :disabled").forEach((f) => (f.disabled = false)));
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((f) => delete f.dataset.sent));
for (const found of document.querySelectorAll("[data-open][hidden], [data-copy][hidden]")) found.hidden = false;

zone();
times();
keys();
live();
