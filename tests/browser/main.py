"""All checks of the status pages, one after another. Started by `run` with a directory of pages and one for pictures."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "peers"))

import live
import still
from pages_site import Site
from playwright.sync_api import sync_playwright
from report import Report
from stage_of_pages import Stage, chromium


def main():
    """Runs every check; 0 if all passed."""
    pages, screenshots = sys.argv[1:]
    report = Report()
    started = time.monotonic()
    site = Site(pages)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        stage = Stage(browser, site, pathlib.Path(screenshots))
        for name, checks in [("how they look", still.CHECKS), ("how they live", live.CHECKS)]:
            print(f"\n== {name}")
            report.run(checks, stage)
        browser.close()
    site.close()
    print(f"\nbrowser tests: {time.monotonic() - started:.0f} s, screenshots in {screenshots}")
    print(report.totals())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
