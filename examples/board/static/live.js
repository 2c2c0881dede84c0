// The events of the server, for as long as the page is open.

/**
 * Listen from now on, and go on after every interruption where it was.
 * @param {() => URLSearchParams} identity Who listens.
 * @param {Record<string, (data: any) => void>} handlers By the names of events; and `open` and `lost`.
 * @returns {() => void} Begins anew, for instance as somebody else.
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
      // Mostly the browser tries again by itself, and says what the last event was. It gives up after an answer that is
      // no stream of events, such as that of a proxy whose server is away.
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
  addEventListener("pagehide", () => source.close()); // the others should not wait to hear it
  addEventListener("pageshow", (event) => event.persisted && connect());
  connect();
  return connect;
}
