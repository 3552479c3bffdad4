// Acknowledging from the list, as the case page's button does: by the API, with the state that the row shows.
import { reload } from "./live.js";
import { toast } from "./toast.js";

async function who(id) {
  const answer = await fetch(`/v1/cases/${encodeURIComponent(id)}/timeline`).catch(() => null);
  const story = answer?.ok ? (await answer.json()).items : [];
  const last = story.filter((entry) => entry.by).at(-1);
  return last ? { who: last.by, what: last.what } : { who: "?", what: "?" };
}

export async function acknowledge(row) {
  const words = row.closest("[data-rows]").dataset;
  if (words.mayAct === undefined) return toast(words.mayNot, true);
  if (row.dataset.state !== "open") return toast(words.notOpen, true);
  const answer = await fetch(`/v1/cases/${encodeURIComponent(row.dataset.id)}/acknowledge`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": words.csrf },
    body: JSON.stringify({ expected_state: "open" }),
  }).catch(() => null);
  if (answer?.status === 409) {
    const found = await who(row.dataset.id);
    toast(words.conflict.replace("{who}", found.who).replace("{what}", found.what), true);
  } else if (answer?.ok) toast(words.done);
  else toast(words.failed, true);
  await reload().catch(() => undefined);
}
