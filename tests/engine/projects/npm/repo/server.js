import { createServer } from "node:http";
import { readFileSync } from "node:fs";

import ms from "ms";

const greeting = readFileSync("greeting.txt", "utf8").trim();

createServer((request, response) => response.end(`${greeting} ${ms("2 days")}\n`)).listen(3000);
