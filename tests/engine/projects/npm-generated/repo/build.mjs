import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

import "husky";

mkdirSync("generated", { recursive: true });
writeFileSync("generated/server.cjs", readFileSync("src/server.txt"));
