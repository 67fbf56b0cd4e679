import ms from "ms";

const server = Bun.serve({
  port: Number(process.env.PORT ?? 3000),
  fetch: () => new Response(`two days are ${ms("2d")}\n`),
});
console.log(`listening on ${server.port}`);
