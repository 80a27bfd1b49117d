"""``sweep.json``: written and read back, and believed in nothing that leads out of the sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cai.errors import RunError
from cai.sweeps import Sweep, SweepJob, is_folder_name


def sweep_in(directory: Path) -> Sweep:
    jobs = tuple(SweepJob(f"{number}_seed-{number}", (f"seed={number}",), {"seed": number}) for number in range(2))
    return Sweep(directory, ("seed=0,1", "name=견줌"), jobs, at_once=2, threads=3, config_dir="my conf")


def edited(directory: Path, **changes: Any) -> Path:
    sweep_in(directory).save()
    path = directory / "sweep.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return directory


def test_a_sweep_comes_back_as_it_was_and_grows(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path)
    sweep.save()
    assert Sweep.load(tmp_path) == sweep
    more = sweep.with_jobs([SweepJob("2_seed-2", ("seed=2",), {"seed": 2})])
    more.save()
    assert [job.folder for job in Sweep.load(tmp_path).jobs] == ["0_seed-0", "1_seed-1", "2_seed-2"]
    assert (sweep.folder(1), sweep.status(1)) == (tmp_path / "1_seed-1", "waiting")


def test_a_sweep_of_an_older_cai_has_configs_of_format_5(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('{"overrides": [], "jobs": [{"folder": "0", "overrides": [], "config": {}}]}')
    sweep = Sweep.load(tmp_path)
    assert (sweep.format, sweep.at_once, sweep.threads, sweep.config_dir) == (5, 1, 0, None)


JOB = {"folder": "0", "overrides": [], "config": {}}


@pytest.mark.parametrize(
    "changes",
    [
        *({"jobs": [JOB | {"folder": name}]} for name in ("../mine", "/etc", "a/b", "a\\b", "..", ".git", "", 3, None)),
        {"jobs": [JOB, JOB]},
        {"jobs": None},
        {"jobs": [JOB | {"config": None}]},
        {"jobs": [JOB | {"config": []}]},
        *({"at_once": value} for value in (0, -1, "2", True, 1.5)),
        {"threads": -1},
        *({"format": value} for value in (0, "6", None)),
    ],
    ids=str,
)
def test_what_leads_out_of_it_or_makes_no_sense_is_refused_in_a_sentence(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=r"sweep.json must list the jobs of a sweep, but cannot be read"):
        Sweep.load(edited(tmp_path, **changes))


def test_no_sweep_and_none_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must be a sweep, but has no"):
        Sweep.load(tmp_path)
    (tmp_path / "sweep.json").mkdir()
    with pytest.raises(RunError, match="cannot be read"):
        Sweep.load(tmp_path)


def test_names_of_folders() -> None:
    assert all(map(is_folder_name, ("0_a-b", "견줌", "a b", "a..b")))
    assert not any(map(is_folder_name, ("a\0b", "..", ".", "/", "a/", 1)))
