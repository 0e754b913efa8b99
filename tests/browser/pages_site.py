"""A server for pages that the example `pages` wrote: the same addresses as the gateway's, and a switch.

All that the checks of `live` know of it is its `url`, its `meters`, and how to `let_a_meter_die`, to `stop` and to
`go_on`. Those of `still` also choose what is shown, by `state`.
"""

import http.server
import pathlib
import threading
import urllib.parse

# As the gateway sends them: a page that breaks these rules shows in the browser's console.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


# Identifier on the line and state of each meter that the example draws, in the order of the wire.
METERS = [
    (1, "on-line"),
    (2, "on-line"),
    (3, "on-line"),
    (4, "on-line"),
    (5, "off-line"),
    (6, "being confirmed"),
    (17, "on-line"),
    (8, "never seen"),
    (21, "never seen"),
    (22, "never seen"),
    (23, "never seen"),
]


class Site:
    """Serves `pages` on a free port of loopback until it is closed."""

    def __init__(self, pages):
        self.pages = pathlib.Path(pages)
        self.meters = METERS
        self.states = ("before", "after", "healthy", "unknown", "full", "grouped", "broken")
        self.state = "before"
        self.is_there = True
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                site.answer(self)

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def let_a_meter_die(self):
        self.state = "after"

    def stop(self):
        """From now on nobody answers."""
        self.is_there = False

    def go_on(self):
        self.is_there = True

    def close(self):
        self.server.shutdown()

    def answer(self, request):
        if not self.is_there:
            request.close_connection = True
            request.connection.close()
            return
        address = urllib.parse.urlsplit(request.path)
        query = urllib.parse.parse_qs(address.query)
        part = "main" if query.get("part") == ["main"] else "page"
        order = "-wire" if query.get("sort") == ["wire"] else ""
        if address.path.startswith("/assets/"):
            file = self.pages / address.path.lstrip("/")
        elif address.path in self.known():
            file = self.pages / self.state / f"{self.known()[address.path]}{order}.{part}"
        else:
            request.send_error(404)
            return
        body = file.read_bytes()
        request.send_response(200)
        for name, value in HEADERS.items():
            request.send_header(name, value)
        request.send_header("Content-Type", f"{TYPES.get(file.suffix, 'text/html')}; charset=utf-8")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    @staticmethod
    def known():
        return {"/": "index", "/units/3": "meter"}
