// Lets the page work when its server doesn't run. Whatever the server gives goes first, so nothing old is ever taken
// while it is there.

const COPY = "speech-commands";
const PAGE = /^([a-z]+\.(css|mjs|svg)|(bundle|node_modules)\/.+)?$/; // what it is made of, as addresses in its folder

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (isOfPage(event.request)) event.respondWith(fetch(event.request).catch(() => kept(event.request)));
});

// The page sends the addresses of all that it needs; they are kept as one whole, or the copy stays as it was.
self.addEventListener("message", (event) => event.waitUntil(keep(event.data, event.source)));

// Another site may come to be served at this address. Its requests go their own way: the policy that came with this file
// isn't meant for them.
function isOfPage({ method, url }) {
  const { scope } = self.registration;
  return method === "GET" && url.startsWith(scope) && PAGE.test(url.slice(scope.length));
}

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
