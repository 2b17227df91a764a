"""CapFilt: the rule, and the same of Arrow tables and of shards."""

from __future__ import annotations

import json
import pathlib
import subprocess
import tarfile
from dataclasses import replace

import pytest

from blip_cpp import BlipError, CapFilter, CapFiltOptions, Model, Record, default_model

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pairs  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from conftest import GOLDEN  # noqa: E402

from blip_cpp import arrow, shards, webdataset  # noqa: E402

#: Writes and judges; its words mean nothing.
AUTHORS_MODEL = GOLDEN / "E_original/pretrain/model_pretrain.pth"


@pytest.fixture(scope="module")
def capfilter(capfilt_options):
    return CapFilter(capfilt_options)


def records(count):
    return [Record(key, image, [text]) for key, image, text in map(pairs.pair, range(count))]


def records_of_the_command(command, tar, models, options):
    output = pathlib.Path(tar).parent / "command"
    arguments = [tar, output, "--captioner", models[0], "--filter", models[1], "--num-threads", "1", *options]
    subprocess.run([command, "capfilt", *arguments], check=True, capture_output=True)
    rows = [json.loads(line) for line in (output / (pathlib.Path(tar).stem + "_records.jsonl")).read_text().splitlines()]
    return [comparable(row["key"], row["status"], row["texts"], row.get("error")) for row in rows]


def records_of_a_tar(capfilter, tar):
    with open(tar, "rb") as stream:
        judged = capfilter(webdataset.tar_records(stream, "a.tar"))
    rows = [arrow.result_row(record) for record in judged]
    return [comparable(record.key, row["status"], row["texts"], row["error"]) for record, row in zip(judged, rows)]


def comparable(key, status, texts, error):
    """A record without what does not apply, and without the words of its error."""
    kept = [{name: value for name, value in text.items() if value not in (None, False)} for text in texts]
    return key, status, kept, error and error["code"]


def test_web_and_synthetic_texts_are_judged(capfilter, capfilt_options):
    judged = capfilter(records(10))
    assert [record.key for record in judged] == [f"{n:05}" for n in range(10)]
    assert [record.status == "failed" for record in judged] == [pairs.is_damaged(record.key) for record in judged]
    whole = judged[0]
    assert [text.origin for text in whole.texts] == ["web", "synthetic"]
    assert whole.texts[0].text == "web text 0" and whole.texts[1].text
    assert judged[3].error.code == "bad_image" and judged[3].kept == []
    # Its own median as the threshold: what is at least that stays, and the rest says why not.
    scores = sorted(text.itm for record in judged for text in record.texts if text.itm is not None)
    middle = scores[len(scores) // 2]
    strict = CapFilter(replace(capfilt_options, itm_threshold=middle))(records(10))
    texts = [text for record in strict for text in record.texts if text.itm is not None]
    assert all(text.kept == (text.itm >= middle) and (text.reason is None) == text.kept for text in texts)
    assert {text.kept for text in texts} == {True, False}


@pytest.mark.parametrize("prompt", [None, "", "a picture of "])
def test_records_are_those_of_the_command(command, tmp_path, prompt):
    tar, models = pairs.write_tar(tmp_path / "a.tar", 10), [str(default_model())] * 2
    expected = records_of_the_command(command, tar, models, [] if prompt is None else ["--prompt", prompt])
    assert records_of_a_tar(CapFilter(CapFiltOptions(*models, prompt=prompt, threads=1)), tar) == expected


def test_an_authors_checkpoint_is_given_its_prompt(command, tmp_path):
    class FourHeads(CapFiltOptions):
        def model(self, path):
            return Model(path, threads=1, vision_heads=4)

    tar, models = pairs.write_tar(tmp_path / "a.tar", 5), [str(AUTHORS_MODEL)] * 2
    capfilter = CapFilter(FourHeads(*models))
    assert capfilter.prompt == "a picture of "
    assert records_of_a_tar(capfilter, tar) == records_of_the_command(command, tar, models, ["--vision-heads", "4"])


def test_a_record_does_not_depend_on_its_neighbours(capfilter, capfilt_options):
    together = capfilter(records(10))
    alone = [judged for record in records(10) for judged in capfilter([record])]
    assert [repr(record) for record in alone] == [repr(record) for record in together]
    other = CapFilter(replace(capfilt_options, seed=1))(records(10))
    assert [record.texts for record in other] != [record.texts for record in together]


def test_texts_that_are_not_judged(capfilter):
    image = pairs.pair(0)[1]
    blank, twice, human, broken, *lost = capfilter(
        [
            Record("a", image, ["\u200b"]),
            Record("b", image, ["a cat", "a cat"]),
            Record("c", b"", ["people wrote this"], human=True),
            Record("d", image, ["a cat", 7]),
            Record("e", None, ["people wrote this"], human=True),
            Record("f", BlipError("no picture", "not_found"), ["people wrote this"], human=True),
        ]
    )
    assert blank.texts[0].reason == "no words" and blank.texts[0].itm is None
    assert [text.reason == "repeated" for text in twice.texts] == [False, True, False]
    assert human.status == "kept" and human.kept == ["people wrote this"] and human.texts[0].itm is None
    assert broken.status == "failed" and broken.error.code == "usage"
    assert [(record.status, record.error.code, record.kept) for record in lost] == [
        ("failed", "usage", []),
        ("failed", "not_found", []),
    ]


def test_mistakes_before_the_first_record(capfilt_options, checkpoints):
    with pytest.raises(BlipError) as raised:
        CapFilter(replace(capfilt_options, filter=str(checkpoints / "vqa")))
    assert raised.value.code == "unsupported"
    for wrong in ({"itm_threshold": 2}, {"itc_threshold": -2}, {"itc": False, "itc_threshold": 0.1}):
        with pytest.raises(BlipError):
            replace(capfilt_options, **wrong)
    with pytest.raises(BlipError):
        CapFilter(replace(capfilt_options, generation=(("top_q", 1),)))


def test_tables(capfilter):
    table = pairs.table(10).append_column("url", [[str(n) for n in range(10)]])
    found = arrow.capfilt_table(table, capfilter)
    assert found.schema.names == ["key", "text", "url", "capfilt"] and len(found) == 10
    statuses = [row["status"] for row in found.column("capfilt").to_pylist()]
    assert [status == "failed" for status in statuses] == [pairs.is_damaged(f"{n}") for n in range(10)]
    with_image = arrow.capfilt_table(table, capfilter, arrow.Columns(keep_image=True, result="judged"))
    assert with_image.column("image").equals(table.column("image"))
    assert with_image.column("judged").equals(found.column("capfilt"))
    lists = table.set_column(2, "text", pa.array([["a cat", " ", None]] * 9 + [None]))
    rows = arrow.capfilt_table(lists, capfilter).column("capfilt").to_pylist()
    assert len(rows[0]["texts"]) == 2 and len(rows[9]["texts"]) == 1
    nulls = table.set_column(1, "image", pa.nulls(10, pa.binary()))
    assert {row["error"]["code"] for row in arrow.capfilt_table(nulls, capfilter).column("capfilt").to_pylist()} == {"usage"}
    table = table.append_column("number", [range(10)])
    for wrong in (arrow.Columns(key="no"), arrow.Columns(key="number"), arrow.Columns(result="url")):
        with pytest.raises(BlipError):
            arrow.capfilt_table(table, capfilter, wrong)


def test_shards_of_either_kind_give_the_same(capfilter, tmp_path):
    tar, parquet = pairs.write_tar(tmp_path / "a.tar", 10), pairs.write_parquet(tmp_path / "b.parquet", 10)
    output = str(tmp_path / "out")
    planned = shards.plan([tar, parquet], output)
    statistics = [shards.run_shard(shard, capfilter) for shard in planned]
    a, b = (pq.read_table(shard.target(".parquet")) for shard in planned)
    assert a.column("capfilt").equals(b.column("capfilt")) and a.column("key").equals(b.column("key"))
    whole = shards.total(statistics)
    assert whole["records"]["in"] == 20 and whole["records"]["failed"] == 2 and whole["errors"] == {"bad_image": 2}
    # Finished shards are left alone.
    before = (tmp_path / "out/a.parquet").stat().st_mtime_ns
    assert shards.run_shard(planned[0], capfilter) == statistics[0]
    assert (tmp_path / "out/a.parquet").stat().st_mtime_ns == before
    (tmp_path / "out/a_stats.json").unlink()
    content = (tmp_path / "out/a.parquet").read_bytes()
    shards.run_shard(planned[0], capfilter)
    assert (tmp_path / "out/a.parquet").read_bytes() == content


def test_shards_that_cannot_be_read(capfilter, tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    for name in ("x.parquet", "y.parquet", "z.tar"):
        (shard,) = shards.plan(str(tmp_path / name), str(tmp_path / "out"))
        with pytest.raises(BlipError) as raised:
            shards.run_shard(shard, capfilter)
        assert raised.value.code == "io" and shard.statistics() is None
    shards.sweep([shard])
    assert not list((tmp_path / "out").glob(".*"))


class Interrupted:
    """A stream whose file system fails after some bytes."""

    def __init__(self, stream, left):
        self.stream, self.left = stream, left

    def read(self, count):
        if self.left < count:
            raise TimeoutError("the file system does not answer")
        self.left -= count
        return self.stream.read(count)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_read_that_fails_leaves_the_shard_unfinished(capfilter, tmp_path, monkeypatch, mode):
    tar = pairs.write_tar(tmp_path / "a.tar", 10, mode=mode)
    (shard,) = shards.plan(tar, str(tmp_path / "out"))
    with monkeypatch.context() as patch:
        patch.setattr(shards, "tar_records", lambda stream, name: webdataset.tar_records(Interrupted(stream, 10240), name))
        with pytest.raises(BlipError, match="does not answer") as raised:
            shards.run_shard(shard, capfilter)
    assert raised.value.code == "io" and shard.statistics() is None
    assert shards.run_shard(shard, capfilter)["records"]["in"] == 10
    # What is compressed and damaged is no failure of the stream: it is the same the next time.
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[: len(whole) // 2] + b"x" * 2000)
    (damaged,) = shards.plan(str(tmp_path / "b.tar"), str(tmp_path / "out"))
    assert shards.run_shard(damaged, capfilter)["errors"]["io"] == 1


def test_plans(tmp_path):
    names = [shard.source for shard in shards.plan("s3://b/p-{08..11}.{a,b}.tar".replace(".{a,b}", ""), "out")]
    assert names == [f"s3://b/p-{n:02}.tar" for n in range(8, 12)]
    for wrong in ([], str(tmp_path / "*.tar"), ["a/x.tar", "b/x.parquet"]):
        with pytest.raises(BlipError):
            shards.plan(wrong, "out")


def test_tars_from_strangers(tmp_path):
    path = tmp_path / "strange.tar"
    image = pairs.pair(0)[1]
    with tarfile.open(path, "w") as tar:
        pairs.add(tar, "dir/one.jpg", image)  # a wrong ending
        pairs.add(tar, "dir/one.txt", b"first\n \nsecond \xff\n")
        pairs.add(tar, "two.json", b"{}")
        pairs.add(tar, "three.png", b"")
        pairs.add(tar, "three.json", b'{"text": ["a", 1, "b"], "human": true}')
        pairs.add(tar, "four.png", image)
        pairs.add(tar, "four.json", b"[" * 100_000)
        pairs.add(tar, "five.png", image)
    with open(path, "rb") as stream:
        one, two, three, four, five = webdataset.tar_records(stream, "strange.tar")
    assert (one.key, one.texts) == ("dir/one", ["first", "second \ufffd"])
    assert [record.image.code for record in (two, three, four)] == ["not_found", "io", "io"]
    assert five.key == "five" and five.image == image
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"five.png") + 600])
    with open(path, "rb") as stream:
        last = list(webdataset.tar_records(stream, "strange.tar"))[-1]
    assert last.image.code == "io" and "strange.tar" in last.key
    path.write_bytes(b"no tar at all" * 100)
    with open(path, "rb") as stream:
        assert [record.image.code for record in webdataset.tar_records(stream, "strange.tar")] == ["io"]


def test_records_of_strange_tars_are_those_of_the_command(command, tmp_path):
    tar, models = str(tmp_path / "a.tar"), [str(default_model())] * 2
    first, second = pairs.pair(0)[1], pairs.pair(1)[1]
    several = {"text": ["a tent", " two tents "], "human": True}
    files = [
        *(("a.png", first), ("a.json", b"no JSON"), ("a.txt", b"a tent")),
        *(("b.png", first), ("b.json", b'{"caption": 7, "human": true}'), ("b.caption", b"a tent\n\n two tents")),
        *(("c.png", first), ("c.json", b'{"caption": null}')),
        *(("d.png", first), ("d.png", second), ("d.txt", b"a tent")),
        *(("e.png", second), ("e.jpg", first)),
        *(("f.PNG", first), ("f.TXT", b"a tent"), ("f.seg.png", second)),
        *(("g.png", first), ("g.json", json.dumps(several).encode())),
        *(("h.json", json.dumps(several).encode()), ("h.txt", b"a tent")),
        *(("i.png", first), ("i.json", b'{"similarity": NaN, "text": "a tent"}')),
        *(("j.png", first), ("j.json", b'{"text": "\\ud800"}')),
        *(("k\udcff.png", first), ("k\udcfe.png", second)),
        *((f"l.{n}", b"") for n in range(64)),
        *(("l.png", first), ("a.png", second)),
    ]
    with tarfile.open(tar, "w", format=tarfile.GNU_FORMAT) as writer:
        for name, content in files:
            pairs.add(writer, name, content)
    expected = records_of_the_command(command, tar, models, [])
    assert records_of_a_tar(CapFilter(CapFiltOptions(*models, threads=1)), tar) == expected
    assert [key for key, *_ in expected] == [*"abcddefghij", "k\ufffd", "k\ufffd", "l", "l", "a"]


def test_statistics_that_do_not_add_up():
    with pytest.raises(BlipError) as raised:
        shards.total([{"records": {"in": 3, "kept": 1, "dropped": 1, "failed": 0}, "errors": {}}])
    assert raised.value.code == "internal"
    assert json.dumps(shards.total([]))
