// Acknowledging from the list, as the case page's button does: by the API, with the state that the row shows.
import { reload } from "./live.js";
import { toast } from "./toast.js";

async function who(id) {
  const answer = await fetch(`/v1/cases/${encodeURIComponent(id)}/timeline`).catch(() => null);
  const story = answer?.ok ? (await answer.json()).items : [];
  return story.filter((entry) => entry.by).at(-1)?.by ?? "?";
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
    toast(words.conflict.replace("{who}", await who(row.dataset.id)), true);
  } else if (answer?.ok) toast(words.done);
  else toast(words.failed, true);
  await reload().catch(() => undefined);
}
