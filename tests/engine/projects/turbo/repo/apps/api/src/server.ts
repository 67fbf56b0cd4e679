import { createServer } from "node:http";
import { days } from "@shop/time";

const port = Number(process.env.PORT ?? 3000);
createServer((_request, response) => {
  response.end(`two days are ${days(2)}\n`);
}).listen(port, () => console.log(`listening on ${port}`));
