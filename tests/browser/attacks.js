// What a page tries with its reader's browser. A call is {method, url, body, fields}; of a form, pages send the fields.

const sent = ({ body, fields }) => (fields ? new URLSearchParams(fields) : body);

const form = (call, enctype, target) => {
  const made = document.createElement("form");
  Object.assign(made, { method: "POST", action: call.url, enctype, target });
  // As text/plain this is JSON: the "=" between name and value ends up in a member that an event may have.
  const fields = call.fields ?? { [call.body.replace(/}$/, ', "more": "')]: '"}' };
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement("input");
    field.name = name;
    field.setAttribute("value", value);
    made.append(field);
  }
  document.body.append(made);
  return made;
};

const inFrame = (fill) =>
  new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.name = `frame${document.querySelectorAll("iframe").length}`;
    document.body.append(frame);
    frame.addEventListener("load", () => done());
    fill(frame);
  });

const withForm = (enctype) => (call) => inFrame((frame) => form(call, enctype, frame.name).submit());

// By name: ways to send a call. Each is done when the browser has its answer, except for beacons, which have none.
globalThis.WAYS = {
  "fetch with JSON": ({ method, url, body }) =>
    fetch(url, { method, body, credentials: "include", headers: { "Content-Type": "application/json" } }).then(
      (answer) => answer.status,
    ),
  "fetch as text": (call) =>
    fetch(call.url, { method: call.method, body: sent(call), credentials: "include" }).then((answer) => answer.status),
  "fetch without looking": (call) =>
    fetch(call.url, { method: call.method, body: sent(call), credentials: "include", mode: "no-cors" }),
  "fetch of no kind": ({ method, url, body }) =>
    fetch(url, { method, body: new Blob([body]), credentials: "include", mode: "no-cors" }),
  "fetch that goes on": (call) =>
    fetch(call.url, { method: call.method, body: sent(call), credentials: "include", keepalive: true }),
  "the old way": (call) =>
    new Promise((done) => {
      const request = new XMLHttpRequest();
      request.open(call.method, call.url);
      request.withCredentials = true;
      request.addEventListener("loadend", done);
      request.send(sent(call));
    }),
  "a beacon": (call) => navigator.sendBeacon(call.url, sent(call)),
  "a beacon with JSON": ({ url, body }) => navigator.sendBeacon(url, new Blob([body], { type: "application/json" })),
  "a form": withForm("application/x-www-form-urlencoded"),
  "a form as text": withForm("text/plain"),
  "a form with parts": withForm("multipart/form-data"),
  "a form that is sent on": (call) => {
    const by = `/sent-on?${encodeURIComponent(call.url)}`;
    return inFrame((frame) => form({ ...call, url: by }, "text/plain", frame.name).submit());
  },
  "a form of no origin": (call) => {
    const made = form(call, "text/plain", "");
    made.remove();
    return inFrame((frame) => {
      frame.sandbox = "allow-forms allow-scripts";
      frame.srcdoc = `${made.outerHTML}<script>document.forms[0].submit()</script>`;
    });
  },
  "an image": ({ url }) =>
    new Promise((done) => {
      const image = new Image();
      image.onload = image.onerror = done;
      image.src = url;
    }),
};

// Other methods than POST cannot be sent in all ways.
const ways = (call) => Object.keys(WAYS).filter((name) => call.method === "POST" || /fetch|old/.test(name));

const attackWith = async (call) => {
  for (const name of ways(call)) {
    try {
      await WAYS[name](call);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the browser refuses to send it, or to show the answer
    }
  }
};

globalThis.attack = (calls) => Promise.all(calls.map(attackWith));

const fetched = async (url) => {
  const found = [];
  for (const options of [{}, { credentials: "include" }, { mode: "no-cors" }, { mode: "no-cors", credentials: "include" }]) {
    try {
      const answer = await fetch(url, options);
      found.push([url, answer.type, answer.status, await answer.text()]);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }
  return found;
};

const framed = async (url) => {
  let shown = null;
  await inFrame((frame) => {
    shown = frame;
    frame.src = url;
  });
  try {
    return [[url, "frame", 0, shown.contentWindow.document.documentElement.outerHTML]];
  } catch (error) {
    if (error.name !== "SecurityError") throw error;
    return [];
  }
};

const asScript = (url) =>
  new Promise((done) => {
    const script = document.createElement("script");
    script.onload = () => done([[url, "script", 0, ""]]);
    script.onerror = () => done([]);
    script.src = url;
    document.body.append(script);
  });

// Everything that a page can learn of the answers at the URLs, each as [url, how, status, text]; nothing if all is well.
// What browsers save as a file, instead of showing it, is not put into a frame: nothing ever tells that it was loaded.
globalThis.read = async ({ shown, saved }) => {
  const urls = [...shown, ...saved];
  const found = [...(await Promise.all(urls.map(fetched))), ...(await Promise.all(shown.map(framed)))];
  const before = Object.keys(window).length;
  found.push(...(await Promise.all(urls.map(asScript))));
  if (Object.keys(window).length !== before) found.push([["", "names", 0, ""]]);
  return found.flat();
};
