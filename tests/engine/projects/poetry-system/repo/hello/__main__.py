from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(click.unstyle("hello").encode())


ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
