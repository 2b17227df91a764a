#!/usr/bin/env python3
"""The tasks of blip serve's page, as people do them in a real browser.

    page_test.py BLIP [unittest arguments]"""

import pathlib
import shutil
import subprocess
import tempfile

import page_case
from page_case import ASTRONAUT, BLIP, CRABS, CRABS_CAPTION, PageTest, browser
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from tasks_test import make_models


class Pictures(PageTest):
    def natural_size(self):
        return browser.run("const i = document.querySelector('#image'); return [i.naturalWidth, i.naturalHeight]")

    def test_a_chosen_picture_is_seen_at_once(self):
        self.open(picture=ASTRONAUT)
        self.assertEqual(self.natural_size(), [512, 512])
        self.assertTrue(browser.find("#image").is_displayed())
        self.assertFalse(browser.shown("#drop"))
        self.assertIn("512 × 512", browser.text("figcaption"))
        self.assertEqual(browser.find("#image").get_attribute("alt"), "The picture to describe: input.jpg")
        # Nothing was sent by that alone.
        self.assertFalse([p for method, p in browser.network_events() if p.get("request", {}).get("method") == "POST"])

    def test_a_pasted_picture(self):
        self.open()
        browser.put_on_clipboard(CRABS.read_bytes())
        browser.press("v", control=True)
        self.wait_for_picture("Pasted picture")
        self.assertEqual(self.natural_size(), [160, 160])
        self.assertEqual(self.caption(), CRABS_CAPTION)

    def test_the_paste_button(self):
        self.open()
        browser.put_on_clipboard(CRABS.read_bytes())
        browser.find("#paste").click()
        self.wait_for_picture("Pasted picture")
        self.assertEqual(self.caption(), CRABS_CAPTION)

    def test_pasted_text_is_no_picture(self):
        self.open()
        browser.wait_for("await navigator.clipboard.writeText('a cat'); return 1")
        browser.press("v", control=True)
        browser.until(lambda: browser.text("#picture-error"), "an error")
        self.tab("heatmap")
        field = browser.find("[name=sentence]")
        field.click()
        browser.press("v", control=True)
        self.assertEqual(field.get_attribute("value"), "a cat")

    def test_a_dropped_picture(self):
        self.open()
        browser.drop("#drop", CRABS)
        self.wait_for_picture(CRABS.name)
        self.assertEqual(self.caption(), CRABS_CAPTION)

    def test_a_picture_dropped_anywhere_takes_the_place_of_the_first(self):
        self.open(picture=ASTRONAUT)
        browser.drop("#tasks", CRABS)
        self.wait_for_picture(CRABS.name)
        self.assertEqual(self.natural_size(), [160, 160])

    def test_the_page_shows_where_a_dragged_file_would_go(self):
        self.open()
        browser.drag("#drop", CRABS, "dragEnter", "dragOver")
        self.assertEqual(browser.text(".drop-title"), "Let go to use it")
        browser.run("document.body.dispatchEvent(new DragEvent('dragleave', {bubbles: true}))")  # the protocol has no word for it
        self.assertEqual(browser.text(".drop-title"), "Drop a picture here")
        self.assertFalse(browser.all("body.dropping"))

    def test_something_else_dropped_is_refused_in_words(self):
        self.open("zh")
        (self.folder / "notes.txt").write_text("no picture")
        browser.drop("#drop", self.folder / "notes.txt")
        browser.until(lambda: "没有找到图片" in browser.text("#picture-error"), "an error")
        self.assertTrue(browser.shown("#drop"))

    def test_another_picture_takes_the_results_of_the_first_away(self):
        self.open(picture=CRABS)
        self.caption()
        self.choose(ASTRONAUT)
        self.assertEqual(browser.text("#panel-caption .result"), "The caption will appear here")
        browser.find("#remove").click()
        self.assertTrue(browser.shown("#drop"))
        self.assertEqual(browser.run("return document.activeElement.id"), "choose")

    def test_without_a_picture_the_page_asks_for_one(self):
        self.open("zh")
        self.go("caption")
        self.assertEqual(self.wait_for_error("caption"), "请先选择一张图片。")
        self.assertEqual(browser.run("return document.activeElement.id"), "choose")

    def test_a_broken_file_is_an_error_in_words(self):
        self.open()
        for name, bytes in (("broken.jpg", b"not a picture"), ("cut.png", CRABS.read_bytes()[:3000])):
            (self.folder / name).write_bytes(bytes)
            self.choose(self.folder / name)
            self.go("caption")
            error = self.wait_for_error("caption")
            self.assertIn("This picture cannot be read", error)
            self.assertGreater(len(error.splitlines()), 1, "without the service's sentence")
        browser.find("[data-language=zh-CN]").click()
        self.assertIn("无法读取这张图片", browser.text("#panel-caption .error"))
        self.photograph("error-zh")
        self.choose(CRABS)
        self.assertEqual(browser.text("#panel-caption .error"), "")
        self.assertEqual(self.caption(), CRABS_CAPTION)

    def test_a_file_beyond_the_limit_is_not_sent(self):
        self.open()
        limit = browser.wait_for("return (await (await fetch('/v1/info')).json()).limits.body_bytes")
        with open(self.folder / "big.png", "wb") as file:
            file.write(CRABS.read_bytes())
            file.truncate(limit + 1)
        self.choose(self.folder / "big.png")
        self.assertIn("the server takes up to", browser.text("#picture-error"))
        browser.network_events()
        self.go("caption")
        self.assertIn("the server takes up to", self.wait_for_error("caption"))
        self.assertFalse([p for method, p in browser.network_events() if method == "Network.requestWillBeSent"])


class Captions(PageTest):
    def test_the_caption_is_read_as_it_is_written(self):
        self.open("zh", CRABS)
        browser.run("""window.seen = [];
            new MutationObserver(() => { const t = document.querySelector('#panel-caption .text')?.textContent;
              if (t && t !== seen.at(-1)) seen.push(t); })
            .observe(document.querySelector('#panel-caption .result'), {childList: true, subtree: true, characterData: true});""")
        self.assertEqual(browser.text("#panel-caption .primary"), "生成描述")
        self.assertEqual(self.caption(), CRABS_CAPTION)
        seen = browser.run("return window.seen")
        self.assertGreater(len(seen), 2, seen)
        self.assertLess(len(seen[0]), len(seen[-1]))
        self.assertEqual(seen[-1], CRABS_CAPTION)
        self.assertEqual(browser.text("#panel-caption .counts"), f"{len(CRABS_CAPTION.split())} 个单词 · {len(CRABS_CAPTION)} 个字符")
        self.assertRegex(browser.text("#panel-caption .timing"), r"^[\d.]+ 秒$")
        self.assertEqual(browser.find("#image").get_attribute("alt"), CRABS_CAPTION)
        self.photograph("caption-zh")

    def test_copy(self):
        self.open(picture=CRABS)
        self.caption()
        browser.find("#panel-caption .copy").click()
        browser.until(lambda: browser.text("#panel-caption .copy") == "Copied", "word that it is copied")
        self.assertEqual(browser.clipboard(), CRABS_CAPTION)

    def test_copy_where_the_browser_has_no_clipboard_for_pages(self):
        """As by http from another machine."""
        self.open(picture=CRABS)
        self.caption()
        browser.wait_for("await navigator.clipboard.writeText('before'); return 1")
        browser.run("navigator.clipboard.writeText = undefined")
        browser.find("#panel-caption .copy").click()
        browser.until(lambda: browser.text("#panel-caption .copy") == "Copied", "word that it is copied")
        self.assertEqual(browser.clipboard(), CRABS_CAPTION)

    def test_options_are_sent(self):
        self.open(picture=CRABS)
        self.record_fields()
        browser.find("#panel-caption summary").click()
        browser.find("[name=prompt]").send_keys("a lemon")
        Select(browser.find("[name=variants]")).select_by_visible_text("3")
        self.caption()
        ((address, fields),) = self.sent()
        self.assertEqual(address, "v1/caption")
        self.assertEqual(dict(fields), {"prompt": "a lemon", "num_return_sequences": "3", "num_beams": "3"})
        self.assertEqual(len(browser.all(".variants li")), 2)

    def test_cancel_stops_the_request_and_says_so(self):
        # So slow that the picture is still on its way.
        (self.folder / "slow.png").write_bytes(CRABS.read_bytes() + bytes(2_000_000))
        self.open(picture=self.folder / "slow.png")
        browser.network(bytes_per_second=20_000)
        self.go("caption")
        browser.until(lambda: browser.shown("#panel-caption .cancel"), "the cancel button")
        self.assertTrue(browser.shown("#panel-caption [role=progressbar]"))
        self.assertEqual(browser.find("#panel-caption .primary").get_attribute("aria-disabled"), "true")
        browser.find("#panel-caption .cancel").click()
        browser.until(lambda: browser.text("#panel-caption .stage") == "Cancelled.", "word that it is cancelled")
        self.assertFalse(browser.shown("#panel-caption .cancel"))
        self.requested()
        self.assertTrue([p for method, p in self.events if method == "Network.loadingFailed" and p.get("canceled")])
        browser.network()
        self.choose(CRABS)
        self.assertEqual(self.caption(), CRABS_CAPTION)

    def test_a_lost_service_is_an_error_in_words_and_can_be_asked_again(self):
        self.open("zh", CRABS)
        browser.network(offline=True)
        self.go("caption")
        self.assertIn("连接不上服务器", self.wait_for_error("caption"))
        browser.network()
        browser.find("#panel-caption .error button").click()
        self.wait_for_end("caption")
        self.assertEqual(browser.text("#panel-caption .text"), CRABS_CAPTION)


class Descriptions(PageTest):
    def describe(self, **choices):
        for name, value in choices.items():
            if name == "multi_round":
                box = browser.find("#panel-describe [name=multi_round]")
                if box.is_selected() != value:
                    box.click()
            else:
                browser.find(f"#panel-describe [name={name}][value={value}]").click()
        self.go("describe")
        self.wait_for_end("describe")
        return browser.text("#panel-describe .text")

    def check_counts(self, text):
        words, characters = len(text.split()), len(text)
        self.assertTrue(browser.text("#panel-describe .counts").startswith(f"{words:,} word"), (text, browser.text("#panel-describe .counts")))
        self.assertIn(f" · {characters:,} character", browser.text("#panel-describe .counts"))

    def test_text_counts_and_copy(self):
        self.open(picture=CRABS)
        self.tab("describe")
        text = self.describe(detail="low")
        self.assertGreater(len(text), 20)
        self.check_counts(text)
        browser.find("#panel-describe .copy").click()
        browser.until(lambda: browser.text("#panel-describe .copy") == "Copied", "word that it is copied")
        self.assertEqual(browser.clipboard(), text)

    def test_options_are_sent(self):
        self.open(picture=CRABS)
        self.record_fields()
        self.tab("describe")
        self.describe()
        self.describe(detail="medium", recipe="faithful")
        browser.find("#panel-describe summary").click()
        browser.find("[name=seed]").send_keys("7")
        self.describe(detail="low", recipe="classic", multi_round=False)
        self.assertEqual([dict(fields) for _, fields in self.sent()], [
            {"recipe": "classic", "detail": "high", "multi_round": "true"},
            {"recipe": "faithful", "detail": "medium"},
            {"recipe": "classic", "detail": "low", "multi_round": "false", "seed": "7"},
        ])

    def test_progress_names_rounds_and_prompts(self):
        self.open(picture=CRABS)
        self.tab("describe")
        browser.run("""window.seen = []; const stage = document.querySelector('#panel-describe .stage');
            new MutationObserver(() => seen.push(stage.innerText)).observe(stage, {childList: true, subtree: true});""")
        self.describe(detail="high")
        seen = browser.run("return window.seen")
        self.assertTrue([line for line in seen if "round 1 of 3" in line], seen)
        self.assertTrue([line for line in seen if "1 of 4" in line and "a photography of" in line], seen)
        self.assertTrue([line for line in seen if "round 2 of 3" in line and "Add more specific visual details" in line], seen)

    def test_the_faithful_recipe_says_how_sure_it_is(self):
        self.open("zh", CRABS)
        self.tab("describe")
        self.assertTrue(browser.shown("[name=multi_round]"))
        text = self.describe(recipe="faithful")
        self.assertFalse(browser.shown("[name=multi_round]"))  # it does not work in rounds
        rows = [element.text.splitlines() for element in browser.all(".sentences li")]
        self.assertTrue(rows)
        for sentence, confidence in rows:
            self.assertIn(sentence.rstrip("."), text)
            self.assertRegex(confidence, r"^\d+(\.\d)?%$")
        self.photograph("faithful-zh")


class HeatMaps(PageTest):
    def painted(self):
        """How much of the overlay is seen, 0 where it is hidden."""
        return browser.run("""const c = document.querySelector('#heat'); if (!c.checkVisibility()) return 0;
            const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
            for (let i = 3; i < d.length; i += 4) n += d[i] > 100; return n / (c.width * c.height);""")

    def covers_picture(self):
        return browser.run("""const [a, b] = ['#heat', '#image'].map((s) => document.querySelector(s).getBoundingClientRect());
            return ['x', 'y', 'width', 'height'].every((k) => Math.abs(a[k] - b[k]) < 1)""")

    def test_a_word_of_the_caption_is_clicked(self):
        self.open(picture=CRABS)
        self.caption()
        (lemon,) = [e for e in browser.all("#panel-caption .word") if e.text == "lemon"]
        lemon.click()
        self.wait_for_end("heatmap")
        self.assertEqual(browser.find("#tab-heatmap").get_attribute("aria-selected"), "true")
        self.assertEqual(browser.text(".chips [aria-pressed=true]"), "lemon")
        self.assertRegex(browser.text("#panel-heatmap .place"), "“lemon” is strongest (at|on|in) the ")
        self.assertTrue(0 < self.painted() < 0.9, self.painted())
        self.assertTrue(self.covers_picture())
        self.photograph("heatmap")
        first = browser.run("return document.querySelector('#heat').toDataURL()")
        (blue,) = [e for e in browser.all(".chips button") if e.text == "blue"]
        blue.click()
        browser.until(lambda: browser.text(".chips [aria-pressed=true]") == "blue", "the map of blue")
        self.assertNotEqual(browser.run("return document.querySelector('#heat').toDataURL()"), first)
        self.tab("caption")
        self.assertEqual(self.painted(), 0)

    def test_without_a_text_the_caption_is_taken(self):
        self.open("zh", CRABS)
        self.tab("heatmap")
        self.go("heatmap")
        self.wait_for_end("heatmap")
        self.assertEqual([e.text for e in browser.all(".chips button")], [*dict.fromkeys(CRABS_CAPTION.split()), "整句"])
        self.assertEqual(browser.text(".chips [aria-pressed=true]"), "整句")
        self.assertGreater(self.painted(), 0)

    def test_the_strength_of_the_overlay(self):
        self.open(picture=CRABS)
        self.tab("heatmap")
        self.go("heatmap")
        self.wait_for_end("heatmap")
        browser.find(".strength input").send_keys(Keys.HOME)
        self.assertEqual(browser.find("#heat").value_of_css_property("opacity"), "0.2")


class AllTasks(PageTest):
    """Questions, matches and search, with small checkpoints: what they answer means nothing."""

    @classmethod
    def setUpClass(cls):
        models = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, models)
        make_models(models)
        (models / "photos").mkdir()
        for picture in CRABS.parent.glob("*.png"):
            shutil.copy(picture, models / "photos")
        index = ("index", "build", models / "photos", "-o", models / "photos.index", "--model", models / "retrieval")
        subprocess.run([*BLIP, *map(str, index)], check=True, capture_output=True, timeout=300)
        cls.arguments = ("--model", models / "vqa", "--add-model", models / "retrieval", "--index", models / "photos.index")
        super().setUpClass()

    def test_several_questions_stay_in_a_list(self):
        self.open("zh", CRABS)
        self.tab("vqa")
        self.go("vqa")
        self.assertEqual(self.wait_for_error("vqa"), "请先写下一个问题。")
        field = browser.find("[name=question]")
        for count, question in enumerate(("what is it?", "how many crabs?"), 1):
            field.clear()
            field.send_keys(question, Keys.ENTER)
            browser.until(lambda: len(browser.all(".answers li")) == count, "an answer")
        self.assertEqual([e.text for e in browser.all(".asked")], ["how many crabs?", "what is it?"])
        for answer in browser.all(".answer"):
            self.assertRegex(answer.text, r"\d%$")
        self.photograph("questions-zh")
        browser.find("#panel-vqa .under button").click()
        self.assertFalse(browser.all(".answers"))

    def test_an_answer_among_those_given(self):
        self.open(picture=CRABS)
        self.tab("vqa")
        browser.find("[name=question]").send_keys("what is it?")
        browser.find("#panel-vqa summary").click()
        browser.find("[name=candidates]").send_keys("a lemon\na crab\n")
        self.go("vqa")
        self.wait_for_end("vqa")
        self.assertRegex(browser.text(".answer"), "^a (lemon|crab)")

    def test_without_a_model_that_writes_a_heat_map_needs_a_text(self):
        self.open("zh", CRABS)
        self.assertEqual(browser.find("#tab-vqa").get_attribute("aria-selected"), "true")  # the first that is offered
        self.tab("heatmap")
        self.go("heatmap")
        self.assertEqual(self.wait_for_error("heatmap"), "请先写下一个句子。")
        browser.find("[name=sentence]").send_keys("two crabs", Keys.ENTER)
        self.wait_for_end("heatmap")
        self.assertEqual([e.text for e in browser.all(".chips button")], ["two", "crabs", "整句"])

    def test_texts_are_compared_best_first(self):
        self.open(picture=CRABS)
        self.tab("match")
        texts = ("two crabs", "a rocket launch at night", "a cat")
        browser.find("[name=texts]").send_keys("\n".join(texts) + "\n\n")
        self.go("match")
        self.wait_for_end("match")
        rows = [e.text.splitlines() for e in browser.all(".matches li")]
        self.assertEqual(sorted(row[0] for row in rows), sorted(texts))
        shares = [float(row[2].rstrip("%")) for row in rows]
        self.assertEqual(shares, sorted(shares, reverse=True))
        self.assertEqual(len(browser.all(".matches .meter")), 6)
        self.photograph("match")

    def test_search_by_text_and_by_picture(self):
        self.open("zh", CRABS)
        self.tab("search")
        self.assertIn("14", browser.text("#search-lead"))
        self.go("search")
        self.assertEqual(self.wait_for_error("search"), "请先写下要找的内容。")
        browser.find("[name=query]").send_keys("two crabs")
        Select(browser.find("[name=k]")).select_by_visible_text("5")
        self.go("search")
        self.wait_for_end("search")
        self.assertEqual(len(browser.all(".found li")), 5)
        browser.find("#panel-search [name=by][value=image]").click()
        self.assertFalse(browser.shown("[name=query]"))
        self.go("search")
        self.wait_for_end("search")
        self.assertEqual(len(browser.all(".found li")), 5)
        self.photograph("search-zh")


if __name__ == "__main__":
    page_case.main()
