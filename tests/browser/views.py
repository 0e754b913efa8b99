"""How a view is chosen: filter, order and folds stand in the address, with a script and without, and stay while the page lives."""

import json
import re
import socket
import struct

from playwright.sync_api import expect as eventually
from report import expect, expect_equal
from stage_of_pages import PHONE, WIDE

MARK = "window.markOfThisLoad = 'still here'"
MARKED = "window.markOfThisLoad"
ROWS = "table.wire tbody tr"

# Both screens, both schemes.
SEEN = [("light", WIDE), ("dark", PHONE)]


def is_main(response):
    return "part=main" in response.url


def names(page):
    return page.locator("table.wire tbody th a").all_inner_texts()


def units(page):
    return [int(text) for text in page.locator("table.wire .tap .id").all_inner_texts()]


def wait_for_two_looks(page):
    for _ in range(2):
        with page.expect_response(is_main):
            pass


# Of invented pages: groups, which the demonstration has none of.


def a_group_is_folded_with_its_totals(stage):
    """groups have totals of those that answer, fold, and what is folded stands in the address and stays while the page lives"""
    for scheme, viewport in SEEN:
        with stage.page("/", "grouped", color_scheme=scheme, viewport=viewport) as page:
            west = page.locator("details.group").nth(1)
            eventually(west.locator("h3")).to_have_text("Tenants West")
            totals = " ".join(west.locator(".totals").inner_text().split())
            expect(re.search(r"kW from 2 of 3 meters .*kWh from 2 of 3 meters", totals), totals)
            expect("kW" not in page.locator(".facts").inner_text(), "all meters are added up")
            page.evaluate(MARK)
            row = page.get_by_role("row").filter(has_text="Kitchen")
            eventually(row).to_be_visible()
            west.locator("summary").click()
            eventually(row).to_be_hidden()
            eventually(page).to_have_url(re.compile(r"[?&]fold=group-1$"))
            wait_for_two_looks(page)
            eventually(row).to_be_hidden()
            west.locator("summary").click()
            eventually(page).to_have_url(stage.site.url + "/")
            expect_equal(page.evaluate(MARKED), "still here", "the page was loaded anew")


def a_group_folds_without_a_script(stage):
    """without a script everything is visible, and a group folds all the same"""
    with stage.page("/", "grouped", java_script_enabled=False) as page:
        eventually(page.locator(ROWS)).to_have_count(11)
        for row in page.locator(ROWS).all():
            expect(row.is_visible(), f"{row.inner_text()!r} is hidden")
        page.locator("details.group summary").first.click()
        eventually(page.locator(ROWS).first).to_be_hidden()


def a_break_is_drawn(stage):
    """a broken wire is drawn between the two meters it is between, below those that answer and above those that do not"""
    for scheme, viewport in SEEN:
        with stage.page("/", "broken", color_scheme=scheme, viewport=viewport) as page:
            rows = page.locator(ROWS).all()
            places = [row.get_attribute("id") for row in rows]
            expect_equal(places[3:6], ["bus-0-line-4", "line-0-break", "bus-0-line-5"], "around the break")
            eventually(page.locator(".break")).to_contain_text("the cable between Kitchen (unit 4) and Server room (unit 5)")
            tops = [row.bounding_box()["y"] for row in rows]
            expect_equal(tops, sorted(tops), "from top to bottom")


def a_finding_is_one_line_that_unfolds(stage):
    """each finding is one line, which unfolds into the evidence and what to do, and stays so while the page lives"""
    for scripted in (True, False):
        with stage.page("/", "before", java_script_enabled=scripted) as page:
            for finding in page.locator(".trouble").all():
                expect(finding.bounding_box()["height"] < 48, f"{finding.inner_text()!r} is no line")
            first = page.locator(".trouble").first
            eventually(first.get_by_text("Active for")).to_be_hidden()
            first.locator("summary").click()
            eventually(first.get_by_text("Active for 3 min")).to_be_visible()
            eventually(first.locator("ol li").first).to_be_visible()
            if scripted:
                wait_for_two_looks(page)
                eventually(first.locator("ol li").first).to_be_visible()


def a_transaction_unfolds_into_its_fields(stage):
    """a transaction unfolds into unit, function, start and quantity, and the answer by the names of its points"""
    for scheme, viewport in SEEN:
        with stage.page("/units/3", "before", color_scheme=scheme, viewport=viewport) as page:
            first = page.locator(".exchanges > li").first
            first.locator("summary").click()
            fields = " ".join(first.locator(".fields").inner_text().split())
            expect_equal(fields, "Unit on the line 3 Function 0x03 read holding registers Start 257 Quantity 52", "fields")
            value = first.locator(".values li").filter(has_text="real_power_total_f")
            expect("13.420" in value.inner_text(), value.inner_text())
            exception = page.locator("#exchange-89996")
            exception.locator("summary").click()
            eventually(exception.get_by_text("0x02 illegal data address")).to_be_visible()


def phases_are_columns(stage):
    """what a meter measures is one table, a column for each phase that means something, then the total"""
    for scheme, viewport in SEEN:
        with stage.page("/units/3", "before", color_scheme=scheme, viewport=viewport) as page:
            table = page.get_by_role("table", name="What it measures")
            heads = [head.inner_text() for head in table.get_by_role("columnheader").all()]
            expect_equal(heads, ["Quantity", "A", "B", "C", "Total", "Age"], "columns")
            power = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name="Real power"))
            shown = [cell.locator("b").all_inner_texts() for cell in power.get_by_role("cell").all()]
            expect_equal(shown, [["4.412"], ["4.510"], [], ["13.420"], []], "real power")
            energy = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name="Real energy"))
            expect("184\u202f211.2" in energy.inner_text(), energy.inner_text())
            now = page.locator(".headline").inner_text()
            expect("184\u202f211.2" in now and "0.901" in now, now)


def a_long_history_has_hours_below_it(stage):
    """a plot of half a day has hours below it, evenly spaced"""
    with stage.page("/units/3", "before") as page:
        ticks = page.locator(".chart").first.locator(".x span").all_inner_texts()
        expect_equal(ticks, ["12 h ago", "9 h", "6 h", "3 h", "now"], "ticks")


# Of a running gateway, which answers each address with its own view.


def failures_come_first(stage):
    """a meter that does not answer stands first, and in the order of the wire only when that is asked for"""
    with stage.page("/", "after") as page:
        eventually(page.locator(ROWS).first).to_have_attribute("data-state", "off-line", timeout=60_000)
        expect_equal(units(page)[0], 3, "the first")
        expect("listed" in page.locator("table.wire").get_attribute("class"), "the wire is drawn through another order")
        page.goto(stage.site.url + "/?sort=wire")
        eventually(page.locator(ROWS).first).to_be_visible()
        expect_equal(units(page), list(range(1, 11)), "the order of the wire")
        expect("listed" not in page.locator("table.wire").get_attribute("class"), "the wire is not drawn")


def a_heading_sorts(stage):
    """a heading sorts by its column without loading the page anew, the address says so, and back is back"""
    with stage.page("/", "healthy") as page:
        eventually(page.locator(".kw b")).to_have_count(len(stage.site.meters), timeout=30_000)
        page.evaluate(MARK)
        page.get_by_role("link", name="Sort by real power").click()
        eventually(page).to_have_url(stage.site.url + "/?sort=power")
        eventually(page.locator("th[aria-sort]")).to_have_text("Real power")
        eventually(page.locator("select[name=sort]")).to_have_value("power")
        powers = [float(text.replace("\u202f", "")) for text in page.locator(".kw b").all_inner_texts()]
        expect_equal(powers, sorted(powers, reverse=True), "powers")
        wait_for_two_looks(page)
        expect_equal(page.locator("th[aria-sort]").inner_text(), "Real power", "sorted by")
        page.go_back()
        eventually(page).to_have_url(stage.site.url + "/")
        eventually(page.locator("th[aria-sort]")).to_have_text("State")
        eventually(page.locator("select[name=sort]")).to_have_value("failures")
        expect_equal(page.evaluate(MARKED), "still here", "the page was loaded anew")


def typing_filters(stage):
    """typing filters without loading the page anew: the address has the text, and text and focus stay while the page lives"""
    for scheme, viewport in SEEN:
        with stage.page("/", "healthy", color_scheme=scheme, viewport=viewport) as page:
            eventually(page.locator(ROWS)).to_have_count(len(stage.site.meters))
            page.evaluate(MARK)
            find = page.get_by_role("searchbox")
            find.press_sequentially("Work", delay=30)
            eventually(page.locator(ROWS)).to_have_count(1)
            eventually(page).to_have_url(stage.site.url + "/?q=Work")
            eventually(page.locator("#found")).to_contain_text("1 of 10 meters shown")
            wait_for_two_looks(page)
            expect_equal(find.input_value(), "Work", "what was typed")
            expect(find.evaluate("find => find === document.activeElement"), "the focus is lost")
            find.press_sequentially("bench", delay=30)
            eventually(page.get_by_text("None of them fits the filter")).to_be_visible()
            page.get_by_role("link", name="Show all").click()
            eventually(page.locator(ROWS)).to_have_count(len(stage.site.meters))
            eventually(find).to_have_value("")
            expect_equal(page.evaluate(MARKED), "still here", "the page was loaded anew")


def a_state_is_chosen(stage):
    """the choice of a state is part of the address, and the address opens the same view again, folds included"""
    with stage.page("/", "healthy") as page:
        eventually(page.locator(ROWS)).to_have_count(len(stage.site.meters))
        page.locator("select[name=state]").select_option("on-line")
        eventually(page).to_have_url(stage.site.url + "/?state=online")
        page.locator("select[name=sort]").select_option("by name")
        eventually(page).to_have_url(stage.site.url + "/?state=online&sort=name")
        page.locator("details.fold > summary").click()
        eventually(page).to_have_url(re.compile(r"state=online&sort=name&fold=line-0$"))
        page.reload()
        eventually(page.locator("select[name=state]")).to_have_value("online")
        eventually(page.locator("th[aria-sort]")).to_have_text("Meter")
        eventually(page.locator(ROWS).first).to_be_hidden()
        wait_for_two_looks(page)
        eventually(page.locator(ROWS).first).to_be_hidden()


def without_a_script_the_form_and_the_headings_do_it(stage):
    """without a script the form and the headings lead to the same addresses, and a reader who types can pause the refresh"""
    with stage.page("/", "healthy", java_script_enabled=False) as page:
        page.get_by_role("link", name="Pause").click()
        eventually(page).to_have_url(stage.site.url + "/?refresh=off")
        eventually(page.locator("#pace")).to_contain_text("Not refreshed")
        expect_equal(page.locator("meta[http-equiv=refresh]").count(), 0, "refreshes")
        page.get_by_role("searchbox").fill("work")
        page.locator("select[name=sort]").select_option("by unit")
        page.get_by_role("button", name="Show").click()
        expect(all(part in page.url for part in ("q=work", "sort=unit", "refresh=off")), page.url)
        eventually(page.locator(ROWS)).to_have_count(1)
        expect_equal(page.get_by_role("searchbox").input_value(), "work", "what is looked for")
        page.get_by_role("link", name="Show all").click()
        page.get_by_role("link", name="Sort by real power").click()
        eventually(page).to_have_url(stage.site.url + "/?sort=power&refresh=off")
        powers = [float(text.replace("\u202f", "")) for text in page.locator(".kw b").all_inner_texts()]
        expect(len(powers) > 5 and powers == sorted(powers, reverse=True), f"powers {powers}")
        page.get_by_role("link", name="Go on").click()
        eventually(page.locator("meta[http-equiv=refresh]")).to_have_count(1)


def a_plot_begins_with_the_first_seconds(stage):
    """the plots of a gateway that has only just started show its first seconds, not twelve empty hours"""
    with stage.page("/units/2", "new") as page:
        eventually(page.locator(".chart").first).to_be_visible()
        eventually(page.locator("#history")).to_contain_text(re.compile(r"Over the last (\d+ seconds|minute|\d+ minutes)"))
        first = page.locator(".chart .x span").first.inner_text()
        expect(re.fullmatch(r"(\d+ s|\d+ min) ago", first), f"begins at {first!r}")
        eventually(page.locator(".chart .line").first).to_have_attribute("d", re.compile(r"^M\d+ \d+(L\d+ \d+)+"))
        # It grows with each reading.
        page.wait_for_function(
            "() => { const line = document.querySelector('.chart .line');"
            " return line.getBBox().width > 0.4 * line.ownerSVGElement.viewBox.baseVal.width; }"
        )


def energies_are_those_of_the_meters(stage):
    """the overview has for each meter the energy to bill by, as JSON has it"""
    with stage.page("/", "healthy") as page:
        # The exponent of the count is a setting, which is read once a minute.
        cell = page.locator("#bus-0-line-2 .kwh b")
        eventually(cell).to_be_visible(timeout=75_000)
        shown = cell.inner_text()
        points = {point["quantity"]: point for point in stage.site.ask("units/2")["headline"]}
        truth = points["real_energy_total"]
        expect_equal(truth["point"], "real_energy_total", "the exact count")
        expect(abs(float(shown.replace("\u202f", "")) - truth["value"]) <= 2, f"{shown} on the page, {truth['value']} in JSON")
        expect(len(shown.split("\u202f")) > 1 or truth["value"] < 10_000, f"{shown} is not grouped")


def transactions_that_failed_are_shown_alone(stage):
    """the failures among the transactions have an address of their own, and the others are gone from it"""
    with stage.page("/units/3", "after") as page:
        eventually(page.locator(".exchanges > li.failed").first).to_be_visible(timeout=60_000)
        page.get_by_role("link", name="Only failures and exceptions").click()
        eventually(page).to_have_url(stage.site.url + "/units/3?transactions=failed")
        eventually(page.locator(".exchanges > li.failed").first).to_be_visible()
        eventually(page.locator(".exchanges > li.good")).to_have_count(0)
        wait_for_two_looks(page)
        expect_equal(page.locator(".exchanges > li.good").count(), 0, "good ones")
    with stage.page("/units/2", None, java_script_enabled=False) as page:
        first = page.locator(".exchanges > li").first
        first.locator("summary").click()
        fields = " ".join(first.locator(".fields").inner_text().split())
        expect(re.search(r"Unit on the line 2 Function 0x0[34] read .* Start \d+ Quantity \d+", fields), fields)
        eventually(first.locator(".values li").first).to_be_visible()


def a_client_that_left_stays_listed(stage):
    """a client stays listed after it left, with how long ago"""
    with stage.page("/", "healthy") as page:
        host, port = stage.site.ask("listeners")[0]["listener"].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 2, 3, 256, 2))
            expect(len(client.recv(64)) > 7, "no answer")
            eventually(page.locator("table.clients tbody tr").first).to_contain_text("127.0.0.1")
        gone = page.locator("table.clients tr.gone")
        eventually(gone.first).to_contain_text("127.0.0.1")
        eventually(gone.first).to_contain_text(re.compile(r"left .* ago"))
        left = json.dumps(stage.site.ask("clients")["departed"])
        expect("127.0.0.1" in left, left)


def words_are_those_of_the_trade(stage):
    """the page is titled by the site, tells what happened, and calls a response time so"""
    with stage.page("/", "healthy") as page:
        site = stage.site.ask("status")["site"]
        expect_equal(page.locator("h1").inner_text(), site, "heading")
        expect(site in page.title(), page.title())
        eventually(page.get_by_role("columnheader", name="Response time").first).to_be_visible()
        eventually(page.locator("#what-happened")).to_contain_text("metergate started")
        expect("Answers in" not in page.locator("main").inner_text(), "another word for the response time")


CHECKS = [
    a_group_is_folded_with_its_totals,
    a_group_folds_without_a_script,
    a_break_is_drawn,
    a_finding_is_one_line_that_unfolds,
    a_transaction_unfolds_into_its_fields,
    phases_are_columns,
    a_long_history_has_hours_below_it,
]

OF_A_GATEWAY = [
    a_plot_begins_with_the_first_seconds,
    failures_come_first,
    transactions_that_failed_are_shown_alone,
    a_heading_sorts,
    typing_filters,
    a_state_is_chosen,
    without_a_script_the_form_and_the_headings_do_it,
    energies_are_those_of_the_meters,
    a_client_that_left_stays_listed,
    words_are_those_of_the_trade,
]
