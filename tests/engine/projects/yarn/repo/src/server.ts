import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import ms from "ms";

const page = readFileSync("views/page.html", "utf8");

createServer((request, response) => response.end(page.replace("?", String(ms("2 days"))))).listen(3000);
