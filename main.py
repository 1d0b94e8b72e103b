"""Remove noise from speech, and train the networks that do it.

python main.py                      denoise the recordings of demo_data/
python main.py my.wav folder/       denoise recordings
python main.py --help               list the modes
python main.py --mode MODE --help   list the options of a mode
"""

if __name__ == "__main__":
    # Ctrl-C ends the process in silence from here on, until the program can answer it. What
    # `signal` is made of is at hand, while importing `signal` takes as long as Python's start.
    from _signal import SIG_DFL, SIGINT, signal

    signal(SIGINT, SIG_DFL)

from speech_enhancement.__main__ import run

__all__ = ["run"]

if __name__ == "__main__":
    run()
