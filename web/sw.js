// Lets the page work when its server doesn't run. Whatever the server gives goes first, so nothing old is ever taken
// while it is there.

const COPY = "speech-commands";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => event.respondWith(fetch(event.request).catch(() => kept(event.request))));

// The page sends the addresses of all that it needs; they are kept as one whole, or the copy stays as it was.
self.addEventListener("message", (event) => event.waitUntil(keep(event.data, event.source)));

async function kept(request) {
  const copy = await caches.open(COPY);
  return (await copy.match(request)) ?? Response.error();
}

async function keep(addresses, page) {
  const copy = await caches.open(COPY);
  try {
    await copy.addAll(addresses);
  } catch {
    return; // no server: what was kept is what the page was made of
  }
  page.postMessage("kept");
}
