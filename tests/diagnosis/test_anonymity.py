"""What is sent to others has no names of people and no places on their disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cai.diagnosis import anonymity
from cai.diagnosis.anonymity import anonymous


def test_places_and_names_become_placeholders_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in (("HOME", "/data/chulsoo"), ("USER", "chulsoo"), ("LOGNAME", "chulsoo")):
        monkeypatch.setenv(key, value)
    elsewhere = Path("/scratch/run_7")
    linux, mac = (f"/{folder}" for folder in ("home", "Users"))
    tree = {
        "one": "File /data/chulsoo/code/x.py, -I/data/chulsoo and /data/chulsoo2",
        "many": [
            f"in {elsewhere}/a",
            f"PATH={linux}/younghee/bin:{mac}/min-ji/x",
            r"C:\Users\Jin Soo\x 'C:\\Users\\jin\\y'",
        ],
        "who": "chulsoo@host, chulsoos",
        "python": sys.prefix + "/lib",
        "kept": (1, None, True, 0.5),
        "chulsoo": "a key",
    }
    assert anonymous(tree, {elsewhere: "<temporary>"}) == {
        "one": "File ~/code/x.py, -I~ and /data/chulsoo2",
        "many": [
            "in <temporary>/a",
            f"PATH={linux}/<user>/bin:{mac}/<user>/x",
            r"C:\Users\<user>\x 'C:\\Users\\<user>\\y'",
        ],
        "who": "<user>@host, chulsoos",
        "python": "<python>/lib",
        "kept": [1, None, True, 0.5],
        "chulsoo": "a key",
    }


def test_a_short_name_and_that_of_root_stay_as_they_are_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("root", "ai", ""):
        monkeypatch.setattr(anonymity, "_user", lambda name=name: name)
        assert anonymous("root mean square of ai", {}) == "root mean square of ai"
