import { readFile } from "node:fs/promises";

import Fastify from "fastify";

import { label, print } from "./labels.js";
import { open, parcels } from "./store.js";

const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? "info" } });
const page = `<!doctype html><title>Depot</title><div id="root"></div><script src="/main.js"></script>`;

app.get("/healthz", async () => ({ status: "ok", parcels: (await parcels()).length }));
app.get("/parcels", async () => {
  const known = await parcels();
  return Promise.all(known.map(async (parcel) => ({ ...parcel, label: await label(parcel.id) })));
});
app.get("/", async (_, reply) => reply.type("text/html").send(page));
app.get("/main.js", async (_, reply) =>
  reply.type("text/javascript").send(await readFile(new URL("./public/main.js", import.meta.url))),
);

await open();
await Promise.all((await parcels()).map(print));
await app.listen({ host: "0.0.0.0", port: Number(process.env.PORT ?? 3000) });
