// Sends the edits of this tab, one after the other, until each succeeds. An edit contains the new values, so sending it
// twice has no further effect.

const PATIENCE = 15_000; // milliseconds

/**
 * Send edits from now on.
 * @param {Store} store The store with the edits.
 * @param {(message: string) => void} complain Called when an edit was refused.
 * @returns {() => void} Tries again at once. Call it when the server may be available again.
 */
export function outbox(store, complain) {
  let busy = false;
  let failures = 0;
  let timer;

  async function send() {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    try {
      for (let edit; (edit = store.next()); failures = 0) {
        const answer = await fetch("/board", {
          method: "PATCH",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(edit.changes),
          signal: AbortSignal.timeout(PATIENCE),
        });
        if (answer.ok) {
          store.accepted(edit, (await answer.json()).commit);
        } else if (answer.status >= 500 || answer.status === 429) {
          throw new Error(`the server answered ${answer.status}`);
        } else {
          store.refused(edit);
          complain("A change was refused, and is taken back.");
        }
      }
    } catch {
      failures += 1;
      timer = setTimeout(send, Math.min(250 * 2 ** failures, 5000));
    } finally {
      busy = false;
    }
  }

  store.addEventListener("edit", send);
  send();
  return send;
}
