"""What the tests of the page share: a service, a browser, and the words for what a person does. Whatever a test does,
the page asks nobody but its service, keeps to its content security policy, and leaves no error in the console.

BLIP_COMMAND takes the place of the command's path. BLIP_SCREENSHOTS names a folder for pictures of the page; without
it, only failed tests leave one, in the folder for temporary files."""

import atexit
import os
import pathlib
import shlex
import shutil
import sys
import tempfile
import unittest

from browser import Browser
from samples import CRABS, CRABS_CAPTION, ROOT
from serving import Service

GOLDEN = ROOT / "tests/golden/data"
ASTRONAUT = GOLDEN / "B_image/jpg_photo_astronaut/input.jpg"
SCREENSHOTS = os.environ.get("BLIP_SCREENSHOTS")
TASKS = ("caption", "describe", "vqa", "match", "search", "heatmap")
BLIP = shlex.split(os.environ["BLIP_COMMAND"]) if "BLIP_COMMAND" in os.environ else [sys.argv[1]]
browser = Browser()
atexit.register(browser.close)


class PageTest(unittest.TestCase):
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.service = Service(BLIP, *cls.arguments)
        cls.addClassCleanup(cls.service.stop)
        browser.allow_clipboard(cls.service.url)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        browser.size(1280, 860)
        browser.dark(False)
        browser.network()
        browser.network_events(), browser.console()

    def run(self, result=None):
        bad = lambda: len(result.failures) + len(result.errors)
        before = bad()
        super().run(result)
        if bad() > before and browser:
            self.photograph(f"failed-{self.id()}", SCREENSHOTS or tempfile.gettempdir())

    def tearDown(self):
        for address in self.requested():
            self.assertTrue(address.startswith(self.service.url), f"the page asked for {address}")
        # Answers that are no success are what some tests are about; the other is about reading the heat map back.
        expected = ("Failed to load resource", "willReadFrequently")
        said = [line for line in browser.console() if not any(words in line for words in expected)]
        self.assertEqual(said, [])

    def requested(self):
        self.events = browser.network_events()
        addresses = [p["request"]["url"] for method, p in self.events if method == "Network.requestWillBeSent"]
        return [a for a in addresses if not a.startswith(f"blob:{self.service.url}")]

    def photograph(self, name, folder=SCREENSHOTS):
        if folder:
            browser.take_picture(pathlib.Path(folder) / f"{name}.png")

    # What a person does

    def open(self, language="en", picture=None):
        browser.go(f"{self.service.url}?lang={language}")
        browser.until(lambda: browser.text("#service"), "what the service is")
        if picture:
            self.choose(picture)

    def choose(self, path):
        browser.find("#file").send_keys(str(path))
        self.wait_for_picture(pathlib.Path(path).name)

    def wait_for_picture(self, name):
        browser.until(lambda: browser.text("#file-name") == name, f"the picture {name}")

    def tab(self, task):
        browser.find(f"#tab-{task}").click()

    def go(self, task):
        browser.find(f"#panel-{task} .primary").click()

    def wait_for_end(self, task):
        panel = f"#panel-{task}"
        outcome = f"{panel} .result > :not(.placeholder), {panel} .error-title"
        browser.until(lambda: not browser.all(f"{panel}.busy") and browser.shown(outcome), f"the end of {task}")
        self.assertEqual(browser.text(f"{panel} .error"), "")

    def wait_for_error(self, task):
        return browser.until(lambda: browser.text(f"#panel-{task} .error"), "an error")

    def caption(self):
        self.go("caption")
        self.wait_for_end("caption")
        return browser.text("#panel-caption .text")

    def record_fields(self):
        """From now on, the fields of every form that is sent, without the picture."""
        browser.run("""window.sent = []; const real = window.fetch;
            window.fetch = (address, options) => {
              const fields = [...(options.body ?? [])].filter(([, value]) => typeof value === 'string');
              window.sent.push([address, fields]); return real(address, options); };""")

    def sent(self):
        return browser.run("return window.sent")


def main():
    unittest.main(argv=sys.argv[:1] + sys.argv[1 if "BLIP_COMMAND" in os.environ else 2 :])
