"""How the pages look: complete, readable on every screen, usable with a keyboard and a screen reader."""

from axe_playwright_python.sync_playwright import Axe
from report import expect, expect_equal
from stage_of_pages import PHONE, WIDE

PATHS = [("/", "overview"), ("/units/3", "meter")]
SCHEMES = ("light", "dark")
SCREENS = [("wide", WIDE), ("phone", PHONE)]

# Colours change with one, the layout with the other: two of the four show all of either.
SEEN = [("light", WIDE), ("dark", PHONE)]

AXED = [("/", "before", "overview"), ("/units/3", "before", "meter"), ("/", "grouped", "groups"), ("/", "broken", "broken wire")]

# Rules about what is unfolded apply to what is folded too.
UNFOLD = "document.querySelectorAll('details').forEach(details => { details.open = true; })"


def all_meters_are_drawn(stage):
    """every meter of every line is drawn in the order of the wire, with its state in a word that can be seen"""
    with stage.page("/?sort=wire") as page:
        names = page.locator("table.wire tbody th a").all_inner_texts()
        expect_equal(len(names), len(stage.site.meters), "meters")
        for row, (line, state) in zip(page.locator("table.wire tbody tr").all(), stage.site.meters, strict=True):
            expect(row.get_attribute("id").endswith(f"-line-{line}"), f"line {line}: {row.get_attribute('id')}")
            expect(row.get_by_text(state, exact=True).is_visible(), f"line {line}: no {state!r}")


def no_row_is_wider_than_the_screen(stage):
    """no page scrolls sideways at 320, 390, 700, 1000 or 1280 pixels, unfolded or not, whatever it shows"""
    shown = [("/", "before"), ("/units/3", "before"), ("/", "healthy"), ("/", "unknown"), ("/", "full"), ("/", "grouped"), ("/", "broken")]
    for path, state in shown:
        with stage.page(path, state, viewport=PHONE, java_script_enabled=state == "before") as page:
            for width in (320, 390, 700, 1000, 1280):
                page.set_viewport_size({"width": width, "height": 740})
                # Works without the page's own script too.
                wide = page.locator("html").evaluate("html => { " + UNFOLD + "; return html.scrollWidth; }")
                expect(wide <= width, f"{state} {path} is {wide} wide on {width}")


def pictures_are_taken(stage):
    """screenshots are taken of both pages, light and dark, wide and narrow, of a healthy line and of a dead meter"""
    for scheme in SCHEMES:
        for screen, viewport in SCREENS:
            for path, name in PATHS:
                with stage.page(path, viewport=viewport, color_scheme=scheme) as page:
                    file = stage.screenshots / f"{name}-{screen}-{scheme}.png"
                    page.screenshot(path=file, full_page=True)
                    expect(file.stat().st_size > 20_000, f"{file} is nearly empty")
    others = [("/", "healthy", "healthy"), ("/", "unknown", "unknown"), ("/", "grouped", "grouped"), ("/", "broken", "broken"), ("/units/3", "after", "dead-meter")]
    for path, state, name in others:
        with stage.page(path, state, java_script_enabled=False) as page:
            page.screenshot(path=stage.screenshots / f"{name}-wide-light.png", full_page=True)


def light_and_dark_differ(stage):
    """the page follows the reader's choice of light or dark"""
    grounds = set()
    for scheme in SCHEMES:
        with stage.page(color_scheme=scheme) as page:
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    expect_equal(len(grounds), 2, "backgrounds")


def axe_finds_nothing(stage):
    """axe-core finds no fault of accessibility on either page, light or dark, wide or narrow, everything unfolded"""
    found = []
    for path, state, name in AXED:
        if state not in stage.site.states:
            continue
        for scheme, viewport in SEEN:
            # The rules are a script of their own, which the pages' policy would refuse.
            with stage.page(path, state, bypass_csp=True, viewport=viewport, color_scheme=scheme) as page:
                page.evaluate(UNFOLD)
                for fault in Axe().run(page).response["violations"]:
                    nodes = "; ".join(node["html"][:120] + " " + node["failureSummary"] for node in fault["nodes"][:3])
                    found.append(f"{name} {scheme}: {fault['id']}: {nodes}")
    expect(not found, "\n".join(found))


def tab_goes_from_top_to_bottom(stage):
    """Tab reaches every link and fold in the order of the page, each visibly, and the first skips to the content"""
    for path, _name in PATHS:
        with stage.page(path) as page:
            wanted = page.evaluate(
                "[...document.querySelectorAll('a[href], summary, input, select, button')].filter(e => e.checkVisibility()).map(e => e.textContent)"
            )
            reached = []
            for _ in wanted:
                page.keyboard.press("Tab")
                text, outline = page.evaluate(
                    "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
                )
                reached.append(text)
                expect(outline != "none", f"{text!r} has the focus and does not show it")
            expect_equal(reached, wanted, "order of focus")
    with stage.page() as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect_equal(page.evaluate("document.activeElement.id"), "main", "focus after the first link")


def tables_keep_their_meaning_on_a_phone(stage):
    """a screen reader finds tables with rows and headings on a phone too, where they are laid out otherwise"""
    with stage.page(viewport=PHONE) as page:
        expect_equal(page.get_by_role("table").count(), 5, "tables")
        row = page.get_by_role("row").filter(has_text="Kitchen")
        expect_equal(row.get_by_role("rowheader").inner_text(), "Kitchen", "heading of the row")
        expect_equal(row.get_by_role("cell").count(), 7, "cells")
        expect(page.get_by_role("img", name="Line time now").first.is_visible(), "the plot has no name")


CHECKS = [
    all_meters_are_drawn,
    no_row_is_wider_than_the_screen,
    pictures_are_taken,
    light_and_dark_differ,
    axe_finds_nothing,
    tab_goes_from_top_to_bottom,
    tables_keep_their_meaning_on_a_phone,
]
