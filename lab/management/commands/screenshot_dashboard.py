"""``screenshot_dashboard``: take the picture that the README shows."""

import argparse
import getpass
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

WIDTH, HEIGHT = 1280, 900
BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


def address(value: str) -> str:
    """An http(s) origin, without a trailing slash."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise argparse.ArgumentTypeError(f"{value} is not an address such as http://127.0.0.1:8000")
    return value.rstrip("/")


class Command(BaseCommand):
    """Log in as somebody, wait until the charts are drawn, save what the screen shows."""

    help = (
        "Save a picture of the dashboard of a running instance (needs requirements/dev.txt and a Chromium)."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the address, the login and the size of the picture."""
        parser.add_argument(
            "--url",
            type=address,
            default="http://127.0.0.1:8000",
            help="address of the instance (default %(default)s)",
        )
        parser.add_argument("--email", required=True, help="who logs in, a member of one Conta")
        parser.add_argument(
            "--password", help="the password; by default TDS_SCREENSHOT_PASSWORD, or asked for"
        )
        parser.add_argument(
            "--output",
            type=Path,
            default=Path("docs/dashboard.png"),
            help="PNG file to write (default %(default)s)",
        )
        parser.add_argument("--overwrite", action="store_true", help="replace the file where it exists")
        parser.add_argument("--path", default="/", help="page to take (default: where login leads)")
        parser.add_argument("--width", type=int, default=WIDTH)
        parser.add_argument(
            "--height",
            type=int,
            default=HEIGHT,
            help="height of the screen in pixels; 0 takes the whole page",
        )
        parser.add_argument("--dark", action="store_true", help="the dark theme")
        parser.add_argument("--language", default="pt-BR", choices=("pt-BR", "en"))
        parser.add_argument(
            "--browser",
            default=next((b for b in BROWSERS if os.path.exists(b)), None),
            help="path of a Chromium",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Take the picture. Raises CommandError with what is missing."""
        if options["output"].exists() and not options["overwrite"]:
            raise CommandError(
                f"{options['output']} exists: give --overwrite to replace it, or another --output"
            )
        try:
            from playwright.sync_api import (  # a development tool: production does not install it
                Error,
                sync_playwright,
            )
        except ImportError as error:
            raise CommandError("playwright is not installed: pip install -r requirements/dev.txt") from error
        password = options["password"] or os.environ.get("TDS_SCREENSHOT_PASSWORD") or getpass.getpass()
        options["output"].parent.mkdir(parents=True, exist_ok=True)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=options["browser"], args=["--no-sandbox"]
                )
                self._take(browser, password, options)
                browser.close()
        except Error as error:
            raise CommandError(f"no picture taken: {str(error).splitlines()[0]}") from error
        self.stdout.write(f"[OK] {options['output']}")

    def _take(self, browser: Any, password: str, options: dict[str, Any]) -> None:
        page = browser.new_page(
            viewport={"width": options["width"], "height": options["height"] or HEIGHT},
            color_scheme="dark" if options["dark"] else "light",
            locale=options["language"],
            base_url=options["url"],
        )
        page.goto("/entrar/")
        page.fill("#id_username", options["email"])
        page.fill("#id_password", password)
        page.click("main button")
        page.wait_for_load_state()
        if page.locator("#id_password").count():
            raise CommandError(
                f"{options['url']} does not let {options['email']} in: check e-mail and password"
            )
        if options["path"] != "/":
            page.goto(options["path"])
        if not options["height"]:
            # A screen as high as the page, so that every chart is near enough to be drawn.
            page.set_viewport_size(
                {"width": options["width"], "height": page.evaluate("document.documentElement.scrollHeight")}
            )
        drawn = page.locator("figure.chart canvas").first
        if drawn.count():
            drawn.and_(page.locator("[width]")).wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=str(options["output"]))
