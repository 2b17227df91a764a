"""A headless Chromium that looks at the page.

Selenium and its driver come as Debian's packages, of one version with Debian's Chromium: a second or two more than
the browser alone, and nothing of npm's or PyPI's. What WebDriver has no words for (files dropped by the pointer, colour
scheme, languages, network conditions) is said in the browser's own protocol."""

import base64
import json
import os
import pathlib
import time

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service as DriverService

PATIENCE = 60  # seconds for anything that the service does


class Browser:
    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        # Nothing that the browser itself would ask the network for: it belongs to no test.
        for argument in ("--headless=new", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
                         "--disable-component-update", "--disable-dev-shm-usage", "--no-first-run"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium's sandbox refuses root, which containers run as
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=DriverService("/usr/bin/chromedriver"), options=options)
        self.driver.set_script_timeout(PATIENCE)

    def close(self):
        self.driver.quit()

    def protocol(self, method, **parameters):
        return self.driver.execute_cdp_cmd(method, parameters)

    # The world around the page

    def size(self, width, height, mobile=False):
        self.protocol("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def dark(self, on=True):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.protocol("Emulation.setEmulatedMedia", features=[scheme])

    def languages(self, accept):
        agent = self.run("return navigator.userAgent")
        self.protocol("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=accept)

    def network(self, offline=False, bytes_per_second=-1):
        self.protocol("Network.enable")
        self.protocol("Network.emulateNetworkConditions", offline=offline, latency=0,
                      downloadThroughput=-1, uploadThroughput=bytes_per_second)

    def allow_clipboard(self, url):
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        self.protocol("Browser.grantPermissions", permissions=permissions, origin=url.rstrip("/"))

    # The page

    def go(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, script, *arguments):
        """The value of a promise."""
        body = "const done = arguments[arguments.length - 1]; (async () => {" + script + "})().then(done, (e) => done(String(e)))"
        return self.driver.execute_async_script(body, *arguments)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector).strip()

    def shown(self, selector):
        return any(element.is_displayed() for element in self.all(selector))

    def until(self, true, what):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if value := true():
                    return value
            except StaleElementReferenceException:
                pass
            if time.monotonic() > end:
                raise AssertionError(f"waited {PATIENCE} s for {what}; the page said: {self.text('body')}")
            time.sleep(0.02)

    def press(self, *keys, control=False):
        chain = ActionChains(self.driver)
        if control:
            chain.key_down(Keys.CONTROL)
        chain.send_keys(*keys)
        if control:
            chain.key_up(Keys.CONTROL)
        chain.perform()

    def drag(self, selector, path, *kinds):
        """A file under the pointer over an element: dragEnter, dragOver, drop."""
        box = self.find(selector).rect
        where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in kinds:
            self.protocol("Input.dispatchDragEvent", type=kind, data=data, **where)

    def drop(self, selector, path):
        self.drag(selector, path, "dragEnter", "dragOver", "drop")

    def put_on_clipboard(self, png):
        script = """const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
            await navigator.clipboard.write([new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})]);
            return 'done';"""
        said = self.wait_for(script, base64.b64encode(png).decode())
        assert said == "done", said

    def clipboard(self):
        return self.wait_for("return navigator.clipboard.readText()")

    def take_picture(self, path):
        """The whole page as it looks, scrolled-out parts too."""
        data = self.protocol("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    # What it did since it was asked last

    def network_events(self):
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [(m["method"], m["params"]) for m in messages if m["method"].startswith("Network.")]

    def console(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]
