import ms from "ms";
import { greeting } from "./greeting.ts";

Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8000) }, () => new Response(greeting(ms("2d"))));
