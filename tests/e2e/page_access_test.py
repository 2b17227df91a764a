#!/usr/bin/env python3
"""Who can use blip serve's page: languages, colours, widths, keyboard, screen readers; and what it keeps to itself.

    page_access_test.py BLIP [unittest arguments]"""

import time

import page_case
from page_case import ASTRONAUT, CRABS, CRABS_CAPTION, TASKS, PageTest, browser
from samples import AUTHORS_CAPTIONER
from selenium.webdriver.common.keys import Keys

# Every visible text's contrast with what is behind it, as WCAG counts it.
CONTRASTS = """
const parse = (c) => c.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
const rows = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !e.checkVisibility() || e.closest('.unseen, [aria-disabled=true], noscript')) continue;
  const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(behind(e))].sort((x, y) => y - x);
  rows.push([(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 40)]);
}
return rows;"""


class Reading(PageTest):
    """Languages, colours, widths, keyboard, screen readers."""

    def test_the_browsers_language(self):
        self.addCleanup(browser.languages, "en-US,en")
        chinese, english = ("zh-CN", "生成描述"), ("en", "Describe")
        for accept, expected in (("zh-TW,zh,en", chinese), ("en-GB,zh", english), ("de,zh", chinese), ("de", english)):
            browser.languages(accept)
            browser.go(self.service.url)
            browser.until(lambda: browser.text("#service"), "what the service is")
            got = browser.run("return document.documentElement.lang"), browser.text("#panel-caption .primary")
            self.assertEqual(got, expected)

    def test_the_switch_translates_what_is_there_and_lasts_over_a_reload(self):
        self.open("en", CRABS)
        self.caption()
        browser.find("[data-language=zh-CN]").click()
        self.assertEqual(browser.text("#panel-caption .counts"), f"{len(CRABS_CAPTION.split())} 个单词 · {len(CRABS_CAPTION)} 个字符")
        self.assertEqual(browser.run("return document.title"), "看图说话 · BLIP")
        browser.driver.refresh()
        browser.until(lambda: browser.text("#panel-caption .primary") == "生成描述", "Chinese")
        browser.find("[data-language=en]").click()
        self.assertEqual(browser.text("#panel-caption .primary"), "Describe")

    def test_every_word_is_there_in_both_languages(self):
        self.open()
        strings = browser.wait_for("""const {strings} = await import('/strings.js');
            return Object.entries(strings).map(([key, pair]) => [key, pair.map((s) => typeof s === 'function' ? s({}) : s)])""")
        self.assertGreater(len(strings), 100)
        complete = lambda key, pair: len(pair) == 2 and pair[0] and (pair[1] or key == "english")
        self.assertEqual([key for key, pair in strings if not complete(key, pair)], [])
        used = browser.run("""return [...document.querySelectorAll('*')].flatMap((e) => Object.entries(e.dataset))
            .filter(([name]) => /^t([A-Z]|$)/.test(name)).map(([, key]) => key)""")
        self.assertEqual([key for key in used if key not in dict(strings)], [])

    def test_contrast_in_light_and_dark(self):
        for dark in (False, True):
            browser.dark(dark)
            self.open("en" if dark else "zh", CRABS)
            self.caption()
            time.sleep(0.3)  # colours pass over
            for task in TASKS:
                self.tab(task)
                time.sleep(0.2)
                low = [row for row in browser.run(CONTRASTS) if row[0] < 4.5]
                self.assertEqual(low, [], (task, dark))
            background = browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
            self.assertTrue(max(background) < 60 if dark else min(background) > 200, background)
            self.tab("caption")
            self.photograph(f"wide-{'dark' if dark else 'light'}")

    def test_nothing_is_wider_than_a_phone(self):
        for width in (320, 390):
            browser.size(width, 700, mobile=True)
            for language in ("zh", "en"):
                self.open(language, ASTRONAUT)
                self.caption()
                for task in TASKS:
                    self.tab(task)
                    for summary in browser.all(f"#panel-{task} summary"):
                        if summary.is_displayed():
                            summary.click()
                    self.assertEqual(browser.run("return document.documentElement.scrollWidth"), width, (task, language))
                    small = browser.run("""return [...document.querySelectorAll('button, select, input:not([type=radio], [type=checkbox]), .segments label')]
                        .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 36).map((e) => e.outerHTML)""")
                    self.assertEqual(small, [], "too small for a finger")
                self.photograph(f"phone-{width}-{language}")

    def focused(self):
        return browser.run("const e = document.activeElement; return e.id || e.name || e.className || e.tagName")

    def tab_to(self, wanted, most=20):
        for _ in range(most):
            if self.focused() == wanted:
                ring = browser.run("const s = getComputedStyle(document.activeElement); return s.outlineStyle + parseFloat(s.outlineWidth)")
                self.assertEqual(ring, "solid3", f"no focus to be seen on {wanted}")
                return
            browser.press(Keys.TAB)
        self.fail(f"the Tab key did not lead to {wanted}")

    def test_with_the_keyboard_alone(self):
        self.open()
        browser.put_on_clipboard(CRABS.read_bytes())
        browser.press(Keys.TAB)
        self.assertEqual(browser.run("return document.activeElement.className"), "skip")
        browser.press("v", control=True)
        browser.until(lambda: browser.shown("#image"), "the picture")
        self.tab_to("tab-caption")
        browser.press(Keys.ARROW_LEFT)
        self.assertEqual(self.focused(), "tab-heatmap")
        browser.press(Keys.HOME)
        self.assertEqual(self.focused(), "tab-caption")
        browser.press(Keys.ARROW_RIGHT)
        self.assertEqual(self.focused(), "tab-describe")
        self.assertEqual((browser.shown("#panel-describe"), browser.shown("#panel-caption")), (True, False))
        browser.press(Keys.TAB, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        self.assertTrue(browser.find("[name=detail][value=low]").is_selected())
        self.tab_to("multi_round")
        browser.press(Keys.SPACE)
        self.assertFalse(browser.find("[name=multi_round]").is_selected())
        self.tab_to("primary")
        browser.press(Keys.ENTER)
        self.wait_for_end("describe")
        self.tab_to("copy")
        browser.press(Keys.ENTER)
        browser.until(lambda: browser.text("#panel-describe .copy") == "Copied", "word that it is copied")
        self.assertEqual(browser.clipboard(), browser.text("#panel-describe .text"))

    def test_the_button_is_next_after_a_picture_is_pasted(self):
        self.open()
        browser.put_on_clipboard(CRABS.read_bytes())
        browser.press("v", control=True)
        browser.until(lambda: browser.shown("#image"), "the picture")
        browser.press(Keys.ENTER)
        self.wait_for_end("caption")
        self.assertEqual(browser.text("#panel-caption .text"), CRABS_CAPTION)

    def test_what_a_screen_reader_is_told(self):
        self.open(picture=CRABS)
        self.caption()
        for task in TASKS:
            self.tab(task)
            nodes = browser.protocol("Accessibility.getFullAXTree")["nodes"]
            value = lambda node, key: node.get(key, {}).get("value", "")
            seen = [(value(n, "role"), value(n, "name")) for n in nodes if not n["ignored"]]
            controls = ("button", "textbox", "combobox", "checkbox", "radio", "tab", "tabpanel", "slider", "image")
            self.assertEqual([role for role, name in seen if role in controls and not name], [], task)
            roles = {role for role, _ in seen}
            self.assertLessEqual({"banner", "main", "contentinfo", "heading", "tablist", "tab", "tabpanel"}, roles)
        # A placeholder would do as a name, but is gone when something is written.
        unlabelled = browser.run('''return [...document.querySelectorAll('input:not([hidden]), select, textarea')]
            .filter((e) => ![...e.labels].some((l) => l.querySelector('span').textContent.trim())).map((e) => e.name)''')
        self.assertEqual(unlabelled, [])
        ids = browser.run("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
        self.assertEqual(len(ids), len(set(ids)))
        live = browser.run("""return ['.result', '.error', '.stage'].map((s) => { const e = document.querySelector('#panel-caption ' + s);
            return e.getAttribute('aria-live') ?? e.getAttribute('role') })""")
        self.assertEqual(live, ["polite", "alert", "status"])
        self.assertEqual(browser.find("#panel-caption .text").get_attribute("lang"), "en")


class Privacy(PageTest):
    def test_the_policy_holds(self):
        self.open()
        policy = browser.wait_for("return (await fetch('/')).headers.get('Content-Security-Policy')")
        self.assertRegex(policy, "default-src '(none|self)'")
        self.assertNotIn("unsafe", policy)
        violated = browser.wait_for("""const violated = [];
            addEventListener('securitypolicyviolation', (e) => violated.push(e.effectiveDirective));
            const inline = document.createElement('style'); inline.textContent = 'body { color: red }'; document.head.append(inline);
            await fetch('http://127.0.0.2:9/').catch(() => 0);
            await new Promise((done) => setTimeout(done, 200)); return violated""")
        self.assertEqual(sorted(violated), ["connect-src", "style-src-elem"])
        browser.console(), browser.network_events()

    def test_nothing_is_kept(self):
        self.open(picture=CRABS)
        self.caption()
        kept = browser.wait_for('''return [localStorage.length, sessionStorage.length, document.cookie,
            (await indexedDB.databases()).length, (await caches.keys()).length]''')
        self.assertEqual(kept, [0, 0, "", 0, 0])


class Abilities(PageTest):
    arguments = AUTHORS_CAPTIONER

    def test_tasks_that_are_not_loaded_say_why(self):
        self.open("zh", CRABS)
        for task, why in (("vqa", "回答问题"), ("match", "比较图片与文字"), ("search", "索引")):
            tab = browser.find(f"#tab-{task}")
            self.assertEqual(tab.get_attribute("aria-disabled"), "true")
            self.assertIn("未加载", tab.accessible_name)
            tab.click()
            self.assertIn(why, browser.text(f"#panel-{task}"))
            self.assertFalse(browser.shown(f"#panel-{task} button"))
        self.assertEqual(browser.find("#tab-caption").get_attribute("aria-disabled"), "false")
        self.photograph("not-loaded-zh")


class Token(PageTest):
    arguments = ("--token", "open sesame")

    def ask(self, language):
        """Of a picture so large that the refusal comes while it is still sent."""
        (self.folder / "large.png").write_bytes(CRABS.read_bytes() + bytes(8_000_000))
        self.open(language, self.folder / "large.png")
        self.addCleanup(browser.run, "sessionStorage.clear()")
        self.go("caption")
        browser.until(lambda: browser.shown("#token[open]"), "the question for the token")

    def test_the_token_is_asked_for_and_kept_for_the_tab(self):
        self.ask("en")
        self.photograph("token")
        browser.find("#token input").send_keys("wrong", Keys.ENTER)
        browser.until(lambda: "did not accept" in browser.text("#token-error"), "a refusal")
        browser.find("#token input").send_keys("open sesame", Keys.ENTER)
        self.wait_for_end("caption")
        self.assertEqual(browser.text("#panel-caption .text"), CRABS_CAPTION)
        browser.driver.refresh()
        self.choose(CRABS)
        self.assertEqual(self.caption(), CRABS_CAPTION)
        self.assertEqual(browser.run("return [localStorage.length, document.cookie]"), [0, ""])

    def test_without_a_token_the_page_says_so(self):
        self.ask("zh")
        browser.press(Keys.ESCAPE)
        self.assertIn("需要访问令牌", self.wait_for_error("caption"))


if __name__ == "__main__":
    page_case.main()
