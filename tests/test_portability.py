"""Without what only POSIX systems have, the package can be imported, locks, mixes and trains."""

import subprocess
import sys
from pathlib import Path

import soundfile

REPOSITORY = Path(__file__).resolve().parent.parent
# What Windows lacks, as far as this package could use it.
MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "syslog", "posix_ipc")
NAMES = {
    "os": "pread pwrite posix_fallocate getuid sched_getaffinity O_DIRECTORY O_NOFOLLOW O_NONBLOCK",
    "signal": "pthread_sigmask setitimer SIGALRM SIGKILL SIGHUP SIGCHLD",
}
WITHOUT_POSIX = f"""
import importlib, os, shutil, sys, warnings
sys.modules.update(dict.fromkeys({MODULES}))
for module, names in {NAMES}.items():
    module = importlib.import_module(module)
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
warnings.filterwarnings("ignore", "only soft file lock")
open_anything = os.open
def open_file(path, *arguments, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return open_anything(path, *arguments, **options)
os.open = open_file
shutil._use_fd_functions = False  # as it is where folders cannot be opened
"""
SERVE = """
from pathlib import Path
from speech_enhancement.web import server
with server.locked(Path(sys.argv[1])):
    server.remove_remains()
    print("served")
"""
IMPORT_ALL = """
import pkgutil, speech_enhancement
for module in pkgutil.walk_packages(speech_enhancement.__path__, "speech_enhancement."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(len(sys.modules))
"""
LOCK_TWICE = """
from pathlib import Path
from speech_enhancement.datasets import store
from speech_enhancement.files import locks
lock = Path(sys.argv[1]) / store.LOCK
with locks.holding(lock, "The data set"):
    try:
        with locks.holding(lock, "The data set"):
            print("locked twice")
    except locks.BusyError as error:
        print(error)
with locks.holding(lock, "The data set"):
    print("free")
"""
DOWNLOAD_TWICE = """
import hashlib
from pathlib import Path
from speech_enhancement.errors import UserError
from speech_enhancement.files import downloads
source, target = Path(sys.argv[1], "source"), Path(sys.argv[1], "target")
source.write_bytes(b"sound")
request = [source.as_uri()], target, ["md5:" + hashlib.md5(b"sound").hexdigest()]
transfer = downloads._transfer_from_any
def download_twice(*arguments):
    try:
        downloads.fetch(*request)
        print("downloaded twice")
    except UserError as error:
        print(error)
    transfer(*arguments)
downloads._transfer_from_any = download_twice
downloads.fetch(*request)
print(target.read_text())
"""
RUN = """
if __name__ == "__main__":
    from speech_enhancement.__main__ import run
    run()
"""


def run(program, *arguments):
    """Run a program in the repository; a file, so that its worker processes lack the same."""
    command = [sys.executable, program, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def program(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text(f"{WITHOUT_POSIX}\nsys.path.insert(0, {str(REPOSITORY)!r})\n{text}")
    return path


def test_every_module_can_be_imported(tmp_path):
    assert int(run(program(tmp_path, IMPORT_ALL))) > 100


def test_a_data_set_is_locked(tmp_path):
    refused, free = run(program(tmp_path, LOCK_TWICE), tmp_path).splitlines()
    assert refused.startswith("The data set is in use by process ")
    assert free == "free"


def test_a_download_is_locked(tmp_path):
    refused, sound = run(program(tmp_path, DOWNLOAD_TWICE), tmp_path).splitlines()
    assert refused == f"Another process is downloading {tmp_path / 'target'}"
    assert sound == "sound"


def test_the_server_of_the_page_does_not_need_locks(tmp_path):
    assert run(program(tmp_path, SERVE), tmp_path) == "served\n"


def test_a_network_is_trained_and_denoises(tmp_path):
    command = program(tmp_path, RUN)
    windows = ("--path_save_spectrogram", tmp_path / "spectrogram")
    demo = REPOSITORY / "demo_data"
    run(
        command,
        *(
            "--mode",
            "data_creation",
            "--voice_dir",
            demo / "voices",
            "--noise_dir",
            demo / "noises",
        ),
        *("--nb_samples", 20, *windows, "--path_save_time_serie", tmp_path / "time_serie"),
        *("--path_save_sound", tmp_path / "sound", "--cache_dir", tmp_path / "cache"),
    )
    weights = ("--weights_folder", tmp_path / "weights", "--name_model", "mine")
    run(
        command,
        *("--mode", "training", "--model", "dncnn", "--hyperparameter", "filters=16", "depth=3"),
        *("--epochs", 1, *windows, *weights, "--run_dir", tmp_path / "runs"),
    )
    result = tmp_path / "alarm.wav"
    recording = demo / "noisy" / "alarm.wav"
    run(command, recording, *weights, "--audio_output_prediction", result)
    assert soundfile.info(result).frames == soundfile.info(recording).frames
