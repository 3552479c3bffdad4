// Acknowledging from the list, as the case page's button does: by the API, with the state that the row shows.
import { reload } from "./live.js";
import { toast } from "./console.js";

export async function acknowledge(row) {
  const box = row.closest("[data-rows]");
  if (!box?.dataset.csrf && !box?.dataset.mayAct) return;
  if (row.dataset.state !== "open") return toast(box.dataset.notOpen, true);
  const answer = await fetch(`/v1/cases/${encodeURIComponent(row.dataset.id)}/acknowledge`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": box.dataset.csrf },
    body: JSON.stringify({ expected_state: "open" }),
  }).catch(() => null);
  if (answer?.status === 200 || answer?.status === 202) toast(box.dataset.done);
  else if (answer?.status === 409) toast(box.dataset.conflict, true);
  else toast(box.dataset.failed, true);
  await reload().catch(() => undefined);
}
