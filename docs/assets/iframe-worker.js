// Search runs in a worker, which browsers refuse to pages that are opened from a folder. There, a hidden
// frame takes its place. The name of this file keeps the theme from loading its own from the network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const setup =
        "postMessage = data => parent.postMessage(data, '*');" +
        "importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise(done => {" +
        "  const script = document.createElement('script');" +
        "  script.src = url; script.onload = done; document.head.append(script)" +
        "})), Promise.resolve())"
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.srcdoc = `<script>${setup}</script><script src="${new URL(url, document.baseURI)}"></script>`
      this.ready = new Promise(done => frame.addEventListener("load", () => done(frame.contentWindow)))
      window.addEventListener("message", event => {
        if (event.source === frame.contentWindow)
          this.dispatchEvent(new MessageEvent("message", { data: event.data }))
      })
      const show = () => document.body.append(frame)
      document.body ? show() : addEventListener("DOMContentLoaded", show)
    }

    postMessage(data) {
      // That of the frame itself leads back to this page.
      this.ready.then(frame => window.postMessage.call(frame, data, "*"))
    }
  }
}
