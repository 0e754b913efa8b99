"""All checks of the status pages, one after another.

Started by `run` with a directory of pages, the built program, and a directory for pictures.
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "peers"))

import live
import pages_site
import program_site
import real
import still
import views
from playwright.sync_api import sync_playwright
from report import Report
from stage_of_pages import Stage, chromium


def main():
    """Runs every check; 0 if all passed."""
    pages, program, screenshots = sys.argv[1:]
    report = Report()
    started = time.monotonic()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        invented = pages_site.Site(pages)
        running = program_site.Site(program, pages)
        for name, site, checks in [
            ("how they look", invented, still.CHECKS),
            ("how they live", invented, live.CHECKS),
            ("how they are chosen", invented, views.CHECKS),
            ("how a running gateway shows", running, real.CHECKS),
        ]:
            print(f"\n== {name}")
            report.run(checks, Stage(browser, site, pathlib.Path(screenshots)))
        invented.close()
        running.close()
        browser.close()
    print(f"\nbrowser tests: {time.monotonic() - started:.0f} s, screenshots in {screenshots}")
    print(report.totals())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
