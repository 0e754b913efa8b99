"""How the pages live: what changes shows without a reload, nothing the reader did is lost, and a loss is said."""

import re

from playwright.sync_api import expect as eventually
from report import expect, expect_equal

MARK = "window.markOfThisLoad = 'still here'"
MARKED = "window.markOfThisLoad"
# The meter that `site.let_a_meter_die` silences.
ROW = "#bus-0-line-3"
# A title that begins with the number of findings.
COUNTED = re.compile(r"^\(\d+\) ")


def is_main(response):
    return "part=main" in response.url


def a_meter_that_dies_turns_off_line(stage):
    """a meter that dies turns off-line on the page without a reload, and what the reader did stays"""
    with stage.page() as page:
        eventually(page.locator(ROW)).to_have_attribute("data-state", "on-line")
        page.evaluate(MARK)
        trouble = page.locator(".trouble.warning").last.get_attribute("id")
        fold = page.locator(f"#{trouble} details")
        was_open = fold.evaluate("fold => fold.open")
        fold.locator("summary").click()
        page.locator(f"{ROW} a").focus()
        page.evaluate("window.scrollTo(0, 300)")
        scroll = page.evaluate("window.scrollY")
        title = page.title()
        stage.site.let_a_meter_die()
        eventually(page.locator(ROW)).to_have_attribute("data-state", "off-line")
        eventually(page.locator(f"{ROW} .is")).to_have_text("off-line")
        expect_equal(page.evaluate(MARKED), "still here", "the page was loaded anew")
        expect(page.locator(f"{ROW} a").evaluate("link => link === document.activeElement"), "the focus is lost")
        expect(fold.evaluate("fold => fold.open") != was_open, "what was folded or unfolded is as it was before")
        expect(scroll > 0, "the page is too short to tell")
        # The finding above pushes the wire down; the browser keeps in sight what was in sight.
        expect(page.evaluate("window.scrollY") >= scroll, "the page jumped")
        eventually(page).to_have_title(COUNTED)
        expect(page.title() != title, f"the title still is {title!r}")


def a_screen_reader_hears_states_not_numbers(stage):
    """a screen reader is told which meter is now off-line, and nothing before that"""
    with stage.page() as page:
        with page.expect_response(is_main):
            pass
        eventually(page.get_by_role("status")).to_have_text("")
        stage.site.let_a_meter_die()
        eventually(page.get_by_role("status")).to_have_text("Panel 3, third floor east (unit 3) is now off-line.")


def the_page_of_a_meter_follows_it(stage):
    """the page of a meter follows it, and an unfolded transaction stays unfolded while newer ones come"""
    with stage.page("/units/3") as page:
        page.evaluate(MARK)
        first = page.locator(".exchanges > li").first
        number = first.get_attribute("id")
        first.locator("summary").focus()
        page.keyboard.press("Enter")
        eventually(first.locator(".bytes code").first).to_be_visible()
        stage.site.let_a_meter_die()
        eventually(page.locator("#meter")).to_have_attribute("data-state", "off-line")
        expect(page.locator(".exchanges > li").first.get_attribute("id") != number, "no newer one came")
        eventually(page.locator(f"#{number} .bytes code").first).to_be_visible()
        expect_equal(page.locator(".exchanges details[open]").count(), 1, "unfolded")
        expect(page.locator(f"#{number} summary").evaluate("fold => fold === document.activeElement"), "focus is lost")
        expect_equal(page.evaluate(MARKED), "still here", "the page was loaded anew")


def a_lost_connection_is_said_and_found_again(stage):
    """a lost connection is said with the time since when, and the page goes on by itself when it is back"""
    with stage.page(forgiven=["net::ERR_"]) as page:
        page.evaluate(MARK)
        eventually(page.get_by_role("alert")).to_be_hidden()
        stage.site.stop()
        eventually(page.get_by_role("alert")).to_contain_text("No connection since")
        eventually(page.locator("#pace")).to_have_text("Trying again")
        stage.site.let_a_meter_die()
        stage.site.go_on()
        eventually(page.get_by_role("alert")).to_be_hidden(timeout=40_000)
        eventually(page.locator("#pace")).to_have_text("Live")
        eventually(page.locator(ROW)).to_have_attribute("data-state", "off-line")
        expect_equal(page.evaluate(MARKED), "still here", "the page was loaded anew")


def a_hidden_page_asks_once_a_minute(stage):
    """a hidden page asks once a minute, for the count in its title, and at once when it is shown again"""
    with stage.page() as page:
        page.clock.install()
        page.reload()
        page.evaluate(
            "window.hide = hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
            " document.dispatchEvent(new Event('visibilitychange')); }"
        )
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        with page.expect_response(is_main):
            page.clock.run_for(1_500)
        page.evaluate("window.hide(true)")
        asked.clear()
        page.clock.run_for(59_000)
        expect_equal(asked, [], "requests of 59 s hidden")
        page.evaluate("document.title = 'old'")
        with page.expect_response(is_main):
            page.clock.run_for(1_500)
        eventually(page).not_to_have_title("old")
        with page.expect_response(is_main):
            page.evaluate("window.hide(false)")
        expect_equal(len(asked), 2, "requests, of which one is from after it was shown again")


def without_a_script_it_is_refreshed(stage):
    """without JavaScript every meter is drawn, and the page loads itself anew and shows what has changed"""
    with stage.page(java_script_enabled=False) as page:
        eventually(page.locator("table.wire tbody tr")).to_have_count(len(stage.site.meters))
        eventually(page.locator("#pace")).to_contain_text("Refreshed every 5 s")
        stage.site.let_a_meter_die()
        eventually(page.locator(ROW)).to_have_attribute("data-state", "off-line", timeout=20_000)
        eventually(page).to_have_title(COUNTED)


def a_new_program_brings_a_new_page(stage):
    """when the program was replaced by another version, the page loads itself anew"""
    with stage.page() as page:
        page.evaluate(MARK)
        with page.expect_navigation():
            page.evaluate("document.getElementById('main').dataset.edition = 'older'")
        expect_equal(page.evaluate(MARKED), None, "mark of the old page")


CHECKS = [
    a_meter_that_dies_turns_off_line,
    a_screen_reader_hears_states_not_numbers,
    the_page_of_a_meter_follows_it,
    a_lost_connection_is_said_and_found_again,
    a_hidden_page_asks_once_a_minute,
    without_a_script_it_is_refreshed,
    a_new_program_brings_a_new_page,
]
