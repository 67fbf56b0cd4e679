import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import fastifyStatic from "@fastify/static";
import Fastify from "fastify";

import { Parcel, postage } from "@parcels/shared";

const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? "info" } });
const web = fileURLToPath(new URL("../../web/dist/", import.meta.url));

if (existsSync(web)) {
  app.register(fastifyStatic, { root: web });
}

app.get("/healthz", async () => ({ status: "ok" }));

app.post("/quotes", async (request, reply) => {
  const parcel = Parcel.safeParse(request.body);
  if (!parcel.success) {
    return reply.code(400).send({ error: parcel.error.issues });
  }
  return { id: parcel.data.id, cents: postage(parcel.data) };
});

await app.listen({ host: "0.0.0.0", port: Number(process.env.PORT ?? 3000) });
