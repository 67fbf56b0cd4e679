from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"libpq {psycopg2.extensions.libpq_version() > 0}".encode())


ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
