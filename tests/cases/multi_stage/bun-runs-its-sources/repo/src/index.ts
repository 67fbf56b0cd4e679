import "hono";
