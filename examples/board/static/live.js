// Receives the events of the server while the page is open.

/**
 * Listen from now on, and continue after every interruption.
 * @param {() => URLSearchParams} identity The user who listens.
 * @param {Record<string, (data: any) => void>} handlers Handlers by the names of events, and `open` and `lost`.
 * @returns {() => void} Connects again, for example as another user.
 */
export function live(identity, handlers) {
  let source;
  let last = ""; // the id of the last event that had one
  let failures = 0;
  let timer;

  function connect() {
    clearTimeout(timer);
    source?.close();
    const query = identity();
    if (last) query.set("since", last);
    const opened = new EventSource(`/events?${query}`);
    source = opened;
    opened.onopen = () => {
      failures = 0;
      handlers.open();
    };
    opened.onerror = () => {
      handlers.lost();
      // Usually the browser connects again by itself, and sends the id of the last event. It gives up after an answer
      // that is not a stream of events, such as an error of a proxy whose server is down.
      if (opened.readyState === EventSource.CLOSED && opened === source) {
        failures += 1;
        timer = setTimeout(connect, Math.min(250 * 2 ** failures, 5000));
      }
    };
    for (const name of ["board", "here", "at", "status"]) {
      opened.addEventListener(name, (event) => {
        last = event.lastEventId || last;
        handlers[name](JSON.parse(event.data));
      });
    }
  }

  addEventListener("online", connect);
  addEventListener("pagehide", () => source.close()); // so that other users see at once that this tab is closed
  addEventListener("pageshow", (event) => event.persisted && connect());
  connect();
  return connect;
}
