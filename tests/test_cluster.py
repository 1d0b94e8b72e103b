"""Recordings and windows that the nodes of a Ray cluster share out, one of which is lost."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import soundfile

from speech_enhancement.errors import UserError
from speech_enhancement.files import cluster, workers
from speech_enhancement.files.atomic import PARTIAL
from speech_enhancement.prediction.jobs import LOG_NAME

REPOSITORY = Path(__file__).resolve().parent.parent
RAY = Path(sys.executable).with_name("ray")
LIMIT_S = 60.0
SIZE = ("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block")
# By default, a node that is silent is given up after some 12 s.
IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "200",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def wait_until(holds, process=None):
    """Wait, within a limit, until something holds; a process must not end before."""
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.02)


class Node:
    """One node of a cluster on this machine, in processes of its own."""

    def __init__(self, log, *arguments):
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [RAY, "start", *arguments, *SIZE],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | IMPATIENT,
            )
        try:
            wait_until(lambda: "Ray runtime started" in log.read_text(), self.process)
        except AssertionError:
            self.kill()
            raise AssertionError(log.read_text()) from None

    def kill(self):
        """End all of its processes at once, as when a machine is lost."""
        with contextlib.suppress(psutil.NoSuchProcess):
            node = psutil.Process(self.process.pid)
            for process in (*node.children(recursive=True), node):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def head():
    """Address of a cluster of one node."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # sockets allow for short paths only
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = (f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
    node = Node(folder / "head.log", "--head", *place)
    yield f"127.0.0.1:{port}"
    node.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def second(head, tmp_path):
    """Another node of it."""
    node = Node(tmp_path / "node.log", f"--address={head}")
    yield node
    node.kill()


@contextlib.contextmanager
def started(*arguments):
    """The command line in a process of its own, killed if it does not end."""
    command = [sys.executable, "main.py", *map(str, arguments)]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=REPOSITORY, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


def contents(folder, *but):
    """Every file below a folder, by its path."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in but
    }


def recordings(folder, number, seconds):
    """A folder of noise, each recording with its own."""
    folder.mkdir()
    for seed in range(number):
        noise = 0.05 * np.random.default_rng(seed).standard_normal(8000 * seconds)
        soundfile.write(folder / f"{seed}.wav", noise, 8000)
    return folder


def log_of(folder):
    path = folder / LOG_NAME
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def running(folder):
    """Results that have been begun and are not there."""
    last = {record["output"]: record["status"] for record in log_of(folder)}
    return [name for name, status in last.items() if status == "started"]


def timeless(records):
    """The last record of each result, without what differs from run to run."""
    last = {record["output"]: record for record in records}
    times = ("seconds", "finished")
    return {
        name: {key: value for key, value in record.items() if key not in times}
        for name, record in last.items()
    }


def test_recordings_outlive_a_node(head, second, tmp_path, run_main):
    source = recordings(tmp_path / "in", 4, seconds=12)
    far, here = tmp_path / "far", tmp_path / "here"
    with started(source, "--cluster", head, "--dir_save_prediction", far) as process:
        wait_until(lambda: len(running(far)) == 2, process)
        second.kill()
        _, told = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert "a worker of the cluster was lost" in told
    assert len([record for record in log_of(far) if record["status"] == "started"]) > 4
    assert run_main(source, "--dir_save_prediction", here).code == 0
    assert contents(far, LOG_NAME, "summary.json") == contents(here, LOG_NAME, "summary.json")
    assert timeless(log_of(far)) == timeless(log_of(here))
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (far, here)]
    assert timeless(summaries[0]) == timeless(summaries[1])
    assert [record["output"] for record in summaries[0]] == [f"{n}.wav" for n in range(4)]


def test_windows_outlive_a_node(head, second, tmp_path, run_main, monkeypatch):
    folders = ("--voice_dir=demo_data/voices", "--noise_dir=demo_data/noises")
    places = ("path_save_spectrogram", "path_save_time_serie", "path_save_sound", "cache_dir")
    create = ["--mode=data_creation", *folders, "--nb_samples=400"]
    create += [f"--{name}={tmp_path / 'data' / name}" for name in places]
    monkeypatch.chdir(REPOSITORY)
    assert run_main(*create, "--workers=1").code == 0
    here = contents(tmp_path / "data")
    shutil.rmtree(tmp_path / "data")
    journal = tmp_path / "data" / places[0] / "manifest.json.unfinished"
    with started(*create, "--cluster", head) as process:
        wait_until(lambda: journal.exists() and journal.read_text().count("\n") > 1, process)
        second.kill()
        assert process.poll() is None
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert contents(tmp_path / "data").keys() == here.keys()
    assert contents(tmp_path / "data") == here


def test_ctrl_c_leaves_nothing_half_written(head, tmp_path):
    source = recordings(tmp_path / "in", 2, seconds=60)
    with started(source, "--cluster", head, "--dir_save_prediction", tmp_path / "out") as process:
        wait_until(lambda: running(tmp_path / "out"), process)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LOG_NAME]


TASKS = """
import signal, sys
from speech_enhancement.files.cluster import each_on_cluster
tasks = {"a": (signal.SIGCHLD,), "b": (signal.SIGKILL,), "c": (signal.SIGCHLD,)}
print(sorted(each_on_cluster(signal.raise_signal, tasks, sys.argv[1], [], print), key=str))
"""


def test_a_task_that_ends_every_process_costs_only_itself(head):
    command = [sys.executable, "-c", TASKS, head]
    outcome = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S
    )
    wanted = f"[('a', None), ('b', {workers.DIED!r}), ('c', None)]\n"
    assert outcome.stdout == wanted, outcome.stderr


def test_what_a_worker_raises_is_told_in_a_sentence():
    known = UserError("Cannot write the windows: No space left on device")
    assert cluster._error_of(known) is known
    lacking = RuntimeError("failed to import\n\nModuleNotFoundError: No module named 'scipy'\n")
    told = str(cluster._error_of(lacking))
    assert told == "A worker of the cluster failed: ModuleNotFoundError: No module named 'scipy'"


class FakeRay:
    """A library that does nothing until it is waited for, and then the last thing first."""

    exceptions = SimpleNamespace(
        WorkerCrashedError=type("WorkerCrashedError", (Exception,), {}),
        OutOfMemoryError=type("OutOfMemoryError", (Exception,), {}),
        NodeDiedError=type("NodeDiedError", (Exception,), {}),
        ObjectLostError=type("ObjectLostError", (Exception,), {}),
        RayTaskError=type("RayTaskError", (Exception,), {}),
    )

    def __init__(self, processors, lost=()):
        self.processors = processors
        self.lost = list(lost)
        self.most_waited_for = 0
        self.tokens = []
        self.cancelled = []

    def put(self, value):
        return value

    def remote(self, **how):
        return lambda function: SimpleNamespace(remote=self.begin)

    def begin(self, token, kit, arguments):
        self.tokens.append(token)
        return arguments[0] + 1000j * len(self.tokens)  # each promise is another

    def wait(self, promises, num_returns, timeout):
        self.most_waited_for = max(self.most_waited_for, len(promises))
        return promises[-num_returns:], promises[:-num_returns]

    def get(self, promise):
        if promise.real in self.lost:
            self.lost.remove(promise.real)
            raise self.exceptions.NodeDiedError
        return promise.real

    def cluster_resources(self):
        return {"CPU": float(self.processors)}

    def cancel(self, promise, force):
        self.cancelled.append(promise.real)


def results(ray, n_tasks):
    return cluster._Crew(ray, None).results({n: (n,) for n in range(n_tasks)})


def test_no_more_is_sent_than_the_processors_can_soon_do():
    ray = FakeRay(processors=3)
    assert dict(results(ray, 100)) == {n: n for n in range(100)}
    assert ray.most_waited_for == 6


def test_what_is_lost_is_begun_again_by_a_worker_that_knows_nothing_of_it():
    ray = FakeRay(processors=2, lost=[5, 5, 7])
    assert dict(results(ray, 10)) == {n: n for n in range(10)}
    assert len(ray.tokens) == 13
    assert len(set(ray.tokens)) == 4


def test_what_is_always_lost_is_given_up():
    ray = FakeRay(processors=2, lost=[5] * 100)
    assert dict(results(ray, 10)) == {n: n for n in range(10)} | {5: workers.DIED}
    assert len(ray.tokens) == 12


def test_an_early_end_stops_what_is_being_done():
    ray = FakeRay(processors=1)
    some = results(ray, 10)
    next(some)
    some.close()
    assert ray.cancelled == [0]


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A kit, in a process that returns to its folder."""
    monkeypatch.chdir(REPOSITORY)
    seen = tmp_path / "seen.wav"
    seen.write_bytes(b"RIFF")
    return cluster.Kit(print, print, (), tmp_path, {seen: 4}, cluster.versions())


def test_a_node_that_sees_the_files_begins_in_the_folder_of_the_command(kit):
    kit.unpack()
    assert Path.cwd() == kit.folder


@pytest.mark.parametrize("change", [{"sizes": {Path("nowhere"): 4}}, {"folder": Path("nowhere")}])
def test_a_node_that_does_not_see_the_files_is_refused(change, kit):
    with pytest.raises(UserError, match=r"must see the same files.* does not see nowhere"):
        dataclasses.replace(kit, **change).unpack()


def test_a_node_that_sees_another_file_is_refused(kit):
    next(iter(kit.sizes)).write_bytes(b"RIFX.")
    with pytest.raises(UserError, match=r"does not see .*seen\.wav as it is here"):
        kit.unpack()


@pytest.mark.parametrize("name", ["speech_enhancement", "numpy"])
def test_a_node_of_another_version_is_refused(name, kit):
    other = dataclasses.replace(kit, versions=kit.versions | {name: "0.0"})
    with pytest.raises(UserError, match=rf"has {name} .*, and this machine has 0\.0"):
        other.unpack()


@pytest.fixture
def predict(run_main, tmp_path):
    """A function (address) that denoises on a cluster; gives the outcome."""
    source = recordings(tmp_path / "in", 1, seconds=1)
    return lambda address: run_main(source, f"--cluster={address}")


@pytest.mark.parametrize("address", ["", "here", "ray://head:10001", "head:", ":6379"])
def test_an_address_that_is_none_is_refused(address, predict):
    outcome = predict(address)
    assert outcome.code == 2
    assert outcome.err == f"error: `--cluster` must be auto or HOST:PORT. Received: {address}\n"


def test_a_cluster_that_is_not_there_is_told(predict, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*closed.getsockname())
        outcome = predict(address)
    assert outcome.code == 1
    assert outcome.err == f"error: No Ray cluster answers at {address}: Connection refused\n"
    assert not list((tmp_path / "in").glob(f"{PARTIAL}*"))


def test_a_server_that_never_answers_is_given_up(predict, monkeypatch):
    monkeypatch.setattr(cluster, "JOIN_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "{}:{}".format(*silent.getsockname())
        outcome = predict(address)
    assert outcome.code == 1
    assert outcome.err == f"error: No Ray cluster answers at {address} within 2 s\n"


def test_without_ray_the_command_says_what_to_install(predict, monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    outcome = predict("auto")
    assert outcome.code == 1
    assert outcome.err == (
        "error: `--cluster` needs Ray: pip install -r requirements-cluster.txt\n"
    )


def test_processes_of_this_machine_are_not_asked_for_as_well(predict, run_main):
    outcome = run_main("in", "--cluster=auto", "--jobs=2")
    assert outcome.code == 2
    assert outcome.err.startswith("error: `--jobs` only has an effect without --cluster")
