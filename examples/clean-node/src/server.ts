import Fastify from "fastify";

import { Parcel, quote } from "./quote.js";

const app = Fastify({ logger: true });

app.get("/healthz", async () => ({ status: "ok" }));

app.post("/quotes", async (request, reply) => {
  const parcel = Parcel.safeParse(request.body);
  return parcel.success ? { cents: quote(parcel.data) } : reply.code(400).send({ error: parcel.error.issues });
});

await app.listen({ host: "0.0.0.0", port: Number(process.env.PORT ?? 3000) });
