import "hono";
import "./routes.ts";
