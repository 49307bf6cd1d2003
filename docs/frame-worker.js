"use strict";
/* Pages opened as files may start no Worker. This one runs the script in a hidden frame, which may; the search needs it. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const base = new URL(url, document.baseURI).href, frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "search";
      document.body.append(frame);
      const inner = frame.contentWindow, waiting = [];
      this.onmessage = null;
      this.inner = inner;
      this.deliver = (data) => waiting.push(data);
      inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      const load = (address) => new Promise((done, failed) => {
        const script = inner.document.createElement("script");
        script.src = new URL(address, base).href;
        script.onload = done;
        script.onerror = failed;
        inner.document.head.append(script);
      });
      inner.importScripts = (...addresses) => addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve());
      load(base).then(() => {
        this.deliver = (data) => inner.dispatchEvent(new inner.MessageEvent("message", { data }));
        waiting.forEach(this.deliver);
      });
    }
    postMessage(data) { this.deliver(data); }
    terminate() { this.inner.frameElement.remove(); }
  };
}
