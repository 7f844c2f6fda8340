"""What axe-core says of the page of a run."""

from __future__ import annotations

from page_checks import open_tab, tabs
from playwright.sync_api import Page


def check_accessible(page: Page, axe: str) -> None:
    """axe-core finds nothing serious: on every part in light, its colours in dark too, and in the dialog."""
    found: list[str] = []
    page.evaluate(axe)
    audit = """async rules => {
        const only = rules ? {runOnly: rules} : {}, open = document.querySelector("dialog[open]");
        const alike = [...document.querySelectorAll("tbody")].flatMap(own => [...own.rows].slice(20));
        const away = [...document.querySelectorAll(".part:not(.open), script[type]"), ...alike].map(own => {
            const mark = document.createComment("");
            own.replaceWith(mark);  // axe takes its time for what nobody sees, too
            return [mark, own];
        });
        const {violations} = await axe.run(open || document, {resultTypes: ["violations"], ...only});
        away.reverse().forEach(([mark, own]) => mark.replaceWith(own));
        return violations
            .filter(own => ["serious", "critical"].includes(own.impact))
            .map(own => `${own.id}: ${own.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(" | ")}`);
    }"""
    for scheme, rules in (("light", None), ("dark", ["color-contrast"])):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for name in tabs(page):
            found += [f"{name}, {scheme}: {each}" for each in page.evaluate(audit, rules)]
    page.emulate_media(color_scheme="light")
    open_tab(page, "Images")
    page.locator("#image-list tbody .image-link").first.click()
    page.locator("#image-dialog[open] #dialog-numbers tbody tr").first.wait_for()
    found += [f"dialog: {each}" for each in page.evaluate(audit, None)]
    assert not found, "; ".join(dict.fromkeys(found))
    page.keyboard.press("Escape")
