// Live parts. A page says what it follows, and from where on, by
// <meta name="follow" content="types" data-case="…" data-after="number">; at an event the same address is fetched again, and every [data-part] is replaced by its new self (by id), unless somebody types in it.
// A list ([data-rows]) is kept in place by rows.js.
import { merge } from "./rows.js";
import { refresh } from "./times.js";

const SOON_MS = 120, LEAST_MS = 400, AGAIN_MS = 5000;

export async function reload() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
  if (!answer.ok || answer.redirected) throw new Error(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.getElementById(part.id);
    if (!other || part.innerHTML === other.innerHTML) continue;
    if (part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) continue;
    const open = new Set([...part.querySelectorAll("details[open][id]")].map((d) => d.id));
    part.replaceWith(document.adoptNode(other));
    for (const id of open) { const found = document.getElementById(id); if (found) found.open = true; }
  }
  for (const list of document.querySelectorAll("[data-rows]")) {
    const other = fresh.getElementById(list.id);
    if (other) merge(list, other);
  }
  refresh();
}

export function live() {
  const follow = document.querySelector('meta[name="follow"]');
  const sign = document.getElementById("live");
  if (!follow || document.documentElement.dataset.frozen !== undefined) return;
  let waiting = 0, running = false, again = false, last = 0;

  const say = (state) => { sign.dataset.state = state; sign.textContent = sign.dataset[state]; };
  const now = async () => {
    waiting = 0;
    if (running) return void (again = true);
    running = true;
    try { await reload(); say("on"); } catch { say("stale"); setTimeout(soon, AGAIN_MS); }
    last = Date.now();
    running = false;
    if (again) { again = false; soon(); }
  };
  const soon = () => { waiting ||= setTimeout(now, Math.max(SOON_MS, last + LEAST_MS - Date.now())); };

  const query = new URLSearchParams({ types: follow.content });
  if (follow.dataset.case) query.set("case", follow.dataset.case);
  let source, broke = false;
  const begin = () => {
    source = new EventSource(`/v1/feed/stream?${query}`);
    // What happened while it was away is in the page that is fetched now.
    source.onopen = () => { say("on"); if (broke) soon(); broke = false; };
    source.onerror = () => {
      broke = true;
      say("off");
      if (source.readyState === EventSource.CLOSED) setTimeout(anew, AGAIN_MS);
    };
    for (const type of follow.content.split(",")) source.addEventListener(type, soon);
    source.addEventListener("feed.gap", () => { source.close(); anew(); });
  };
  // From now on, with a fresh page: what the first one was followed from may not be kept any more.
  const anew = () => { broke = true; query.delete("after"); begin(); };
  query.set("after", follow.dataset.after);  // what happened since the page was made, too
  begin();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) anew(); });
}
