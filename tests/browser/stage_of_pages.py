"""A browser, the site it looks at, and a watch over everything a page does that it should not."""

import contextlib
import shutil

from report import expect

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


def chromium():
    """Where Debian puts it, or wherever it is."""
    return shutil.which("chromium") or "/usr/bin/chromium"


class Stage:
    """What every check is given."""

    def __init__(self, browser, site, screenshots):
        self.browser = browser
        self.site = site
        self.screenshots = screenshots

    @contextlib.contextmanager
    def page(self, path="/", state="before", forgiven=(), **options):
        """A fresh window on `path`. In the end it must have been quiet, but for what is `forgiven`."""
        self.site.state = state
        self.site.go_on()
        context = self.browser.new_context(**{"viewport": WIDE, **options})
        try:
            page = context.new_page()
            page.set_default_timeout(15_000)
            complaints = self.watch(page)
            page.goto(self.site.url + path)
            yield page
            bad = [text for text in complaints if not any(word in text for word in forgiven)]
            expect(not bad, "the page complained:\n" + "\n".join(bad))
        finally:
            context.close()

    def watch(self, page):
        """Collects errors of the console and of scripts, failed requests, and requests to anywhere else."""
        complaints = []
        page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        page.on("request", lambda asked: self.is_elsewhere(asked.url) and complaints.append(f"elsewhere: {asked.url}"))
        page.on("response", lambda got: got.status >= 400 and complaints.append(f"status {got.status}: {got.url}"))
        return complaints

    def is_elsewhere(self, url):
        return not url.startswith((self.site.url + "/", "data:"))
