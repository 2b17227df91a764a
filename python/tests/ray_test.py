"""Ray Data on a local cluster of several processes, one of which is killed in the middle."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
import time

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.data", reason="Ray is there without Ray Data")
import pairs  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from blip_cpp import BlipError, CapFilter, arrow, ray_data, shards  # noqa: E402


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # Workers find the package and the tests' helpers as this process does.
    path = os.pathsep.join([str(pathlib.Path(arrow.__file__).parents[1]), str(pathlib.Path(__file__).parent)])
    ray.init(
        num_cpus=4,  # the workers take two; reading takes some too
        include_dashboard=False,
        object_store_memory=100 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}},
        log_to_driver=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


class DyingActor(ray_data.CapFiltActor):
    """Kills its process, once in all, in the middle of a batch."""

    def __init__(self, options, columns, marker):
        super().__init__(options, columns)
        self.marker = marker
        self.batches = 0

    def __call__(self, table):
        found = super().__call__(table)
        self.batches += 1
        if self.batches == 2:
            pairs.die_once(self.marker)
        return found


def test_a_dataset_survives_a_killed_worker(cluster, capfilt_options, tmp_path):
    source = tmp_path / "pairs"
    source.mkdir()
    for number in range(4):
        pairs.write_parquet(source / f"{number}.parquet", 20, 20 * number)
    marker = tmp_path / "killed"
    dataset = ray.data.read_parquet(str(source), override_num_blocks=4).map_batches(
        DyingActor,
        fn_constructor_args=(capfilt_options, arrow.Columns(), str(marker)),
        batch_format="pyarrow",
        batch_size=5,
        **ray_data._actors(capfilt_options, 2),
    )
    rows = dataset.take_all()
    assert marker.exists()
    assert sorted(row["key"] for row in rows) == [f"{n:05}" for n in range(80)]
    alone = arrow.capfilt_table(pairs.table(80), CapFilter(capfilt_options)).column("capfilt").to_pylist()
    assert [row["capfilt"] for row in sorted(rows, key=lambda row: row["key"])] == alone


def workers_of_this_test():
    """Processes below this one that run a shard's actor."""
    parents, found = {}, []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if b"ShardActor" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            pass

    def is_below(process):
        while process in parents:
            process = parents[process]
            if process == os.getpid():
                return True
        return False

    return [process for process in found if is_below(process)]


def kill_one_after(output, killed):
    """Kills a worker when the first shard is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not killed:
        if list(output.glob("*_stats.json")):
            for process in workers_of_this_test()[:1]:
                os.kill(process, signal.SIGKILL)
                killed.append(process)
        time.sleep(0.02)


def test_shards_in_one_call(cluster, capfilt_options, tmp_path):
    for number in range(10):
        pairs.write_tar(tmp_path / f"pairs-{number:02}.tar", 60, 60 * number)
    pairs.write_parquet(tmp_path / "last.parquet", 3, 600)
    (tmp_path / "broken.parquet").write_bytes(b"no")
    sources = [str(tmp_path / "pairs-{00..09}.tar"), str(tmp_path / "last.parquet"), str(tmp_path / "broken.parquet")]
    output, killed = tmp_path / "out", []
    killer = threading.Thread(target=kill_one_after, args=(output, killed))
    killer.start()
    found = ray_data.capfilt(sources, str(output), capfilt_options, workers=2)
    killer.join()
    assert killed
    assert found["shards"] == 11 and found["records"]["in"] == 603 and found["errors"] == {"bad_image": 86}
    assert list(found["unfinished"]) == [sources[2]]
    keys = [key for path in output.glob("*.parquet") for key in pq.read_table(path, columns=["key"])["key"].to_pylist()]
    assert sorted(keys) == [f"{n:05}" for n in range(603)]
    assert not list(output.glob(".*"))
    # What one process makes of a shard is what the cluster made of it.
    (alone,) = shards.plan(str(tmp_path / "pairs-04.tar"), str(tmp_path / "alone"))
    shards.run_shard(alone, CapFilter(capfilt_options))
    assert (tmp_path / "alone/pairs-04.parquet").read_bytes() == (output / "pairs-04.parquet").read_bytes()
    # The next run has only what is left to do.
    pairs.write_parquet(tmp_path / "broken.parquet", 2, 603)
    again = ray_data.capfilt(sources, str(output), capfilt_options)
    assert again["records"]["in"] == 605 and not again["unfinished"]


def test_mistakes_are_told_before_any_worker_starts(cluster, capfilt_options, tmp_path):
    with pytest.raises(BlipError):
        ray_data.capfilt([], str(tmp_path), capfilt_options)
