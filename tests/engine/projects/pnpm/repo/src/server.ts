import { createServer } from "node:http";
import ms from "ms";

const port = Number(process.env.PORT ?? 3000);
createServer((_request, response) => {
  response.end(`two days are ${ms("2d")}\n`);
}).listen(port, () => console.log(`listening on ${port}`));
