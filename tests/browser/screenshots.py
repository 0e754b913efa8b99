"""The pictures of the documentation: the status page of the demo, light, at the width of a laptop.

Started by `screenshots` with the built program and a directory.
"""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "peers"))

from playwright.sync_api import sync_playwright
from stage_of_pages import chromium

PICTURES = [
    # File, path of the page, height in CSS pixels, a selector that is there once the page has its data.
    ("status-page.png", "/", 1100, "text=8 meters, all on-line"),
    ("meter-page.png", "/units/3", 1300, "text=on-line"),
]
WIDTH = 1120


def main():
    """Starts the demo, takes each picture, ends the demo."""
    program, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    demo = subprocess.Popen(
        [program, "demo", "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        page_address = address_of_page(demo)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            for name, path, height, ready in PICTURES:
                page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme="light")
                page.goto(page_address + path)
                page.locator(ready).first.wait_for(timeout=60_000)
                page.screenshot(path=directory / name)
                print(directory / name)
            browser.close()
    finally:
        demo.terminate()
        demo.wait(timeout=20)


def address_of_page(demo):
    """What the demo prints as the address of its page."""
    for line in demo.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found.group()
    raise SystemExit("the demo ended without an address of its page")


if __name__ == "__main__":
    main()
