"""How the built program shows a running gateway: every meter, its values, its transactions, and what is wrong."""

import live
import still
import views
from playwright.sync_api import expect as eventually
from report import expect, expect_equal
from still import PATHS, SCHEMES, SCREENS, UNFOLD


def number(words):
    """Without the spaces between groups of digits."""
    return float(words.replace("\u202f", ""))


def pictures_of_a_running_gateway(stage):
    """screenshots are taken of both pages of a running gateway, light and dark, at 1280 and 360 pixels, none too wide"""
    with stage.page("/", "after"):
        pass
    for scheme in SCHEMES:
        for screen, viewport in SCREENS:
            for path, name in PATHS:
                with stage.page(path, None, viewport=viewport, color_scheme=scheme) as page:
                    page.screenshot(path=stage.screenshots / f"program-{name}-{screen}-{scheme}.png", full_page=True)
                    wide = page.evaluate(f"(() => {{ {UNFOLD}; return document.documentElement.scrollWidth; }})()")
                    expect(wide <= viewport["width"], f"{path} is {wide} wide on {viewport['width']}")


def values_and_bytes_are_those_of_the_meter(stage):
    """the page of a meter has the values of JSON, and the bytes of its last transactions, which are no older"""
    with stage.page("/units/2", "healthy") as page:
        page.locator("#registers > summary").click()
        row = page.locator("table.points tr").filter(has=page.get_by_text("real_energy_total", exact=True))
        shown = number(row.locator("td.value b").inner_text())
        # Asked for once it is on the page: the program has only just started.
        points = {point["point"]: point for point in stage.site.ask("units/2")["points"]}
        truth = points["real_energy_total"]["value"]
        expect(abs(shown - truth) <= abs(truth) * 0.001, f"{shown} on the page, {truth} in JSON")
        # The program has only just started: the second one may be yet to come.
        eventually(page.locator(".exchanges > li").nth(1)).to_be_visible()
        first = page.locator(f"#{page.locator('.exchanges > li').first.get_attribute('id')}")
        first.locator("summary").click()
        sent = first.locator(".bytes code").first.inner_text()
        expect(sent.startswith("02 03 "), f"sent {sent!r} to unit 2")


def what_is_wrong_is_said(stage):
    """what the findings say as JSON stands on the page, and leads to the meter it is about"""
    with stage.page("/", "healthy") as page:
        finding = stage.site.findings("low_power_factor", "alert")[0]
        expect_equal(finding["unit"], 7, "unit of the finding")
        link = page.locator(".trouble.warning .place a").first
        eventually(link).to_have_text("Workshop (unit 7)")
        link.click()
        eventually(page.locator("h1")).to_have_text("Workshop")


def a_meter_nobody_configured_has_no_page(stage):
    """the page of a meter that is not there says so, with the way back"""
    with stage.page("/units/99", "healthy", forgiven=["404"]) as page:
        eventually(page.locator("h1")).to_have_text("No such meter")
        page.get_by_role("link", name="To the overview").click()
        eventually(page.locator("table.wire tbody tr")).to_have_count(len(stage.site.meters))


CHECKS = [
    still.all_meters_are_drawn,
    *views.OF_A_GATEWAY,
    pictures_of_a_running_gateway,
    still.axe_finds_nothing,
    values_and_bytes_are_those_of_the_meter,
    what_is_wrong_is_said,
    a_meter_nobody_configured_has_no_page,
    live.a_meter_that_dies_turns_off_line,
    live.a_screen_reader_hears_states_not_numbers,
    live.the_page_of_a_meter_follows_it,
    live.a_lost_connection_is_said_and_found_again,
    live.without_a_script_it_is_refreshed,
]
