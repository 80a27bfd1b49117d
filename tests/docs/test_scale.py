"""docs/scale.md and its Korean twin: scripts that begin or go on with a run, options that are there, estimates of today."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import cai
from cai.config.roots import TrainConfig
from cai.diagnosis import gpus
from cai.diagnosis.scaling import Workload
from cai.model.base import ModelConfig
from cai.trainer.update import refuse_undivided
from tests.conftest import train_tiny
from tests.docs.pages import DOCS, blocks, dead_links, headings

PAGE, KOREAN = DOCS / "scale.md", DOCS / "ko" / "scale.md"
ROOT = DOCS.parent
ADDED = "Corpora that do not fit one disk"
"""A section that the Korean page may not have yet."""


def sbatch() -> str:
    (script,) = blocks(PAGE, "bash")
    return script


def kubernetes() -> list[dict[str, Any]]:
    (text,) = blocks(PAGE, "yaml")
    return list(yaml.safe_load_all(text))


def in_the_pod() -> str:
    (container,) = kubernetes()[1]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["bash", "-c"]
    (script,) = container["args"]
    return str(script)


# The scripts.

FAKES = {
    "srun": 'while [[ $1 == --* ]]; do shift; done\nexec "$@"',
    "scontrol": 'if [ "$1" = show ]; then printf "node1\\nnode2\\n"; else echo "scontrol $*" >> calls; fi',
    "torchrun": 'echo "torchrun $*" >> calls; echo "$TORCH_ELASTIC_SHUTDOWN_TIMEOUT" > patience; ./ends',
    "cai": 'echo "cai $*" >> calls; ./ends',
}
"""In the place of the programs that a script calls; what becomes of the run, `ends` decides."""


def run_script(script: str, folder: Path, ends: str = "", **environment: str) -> tuple[int, list[str]]:
    """Exit code, and the calls that matter, of a script in ``folder``, where the run ends in a status or not at all."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    begins = "outputs/${RUN}/2026-01-01_00-00-00"
    facts = json.dumps({"status": ends, "started": "x", "nested": {"status": "other"}}, indent=2)
    saves = f"; sleep 0.02; touch {begins}/checkpoints/last.safetensors" * bool(environment.pop("SAVES", ""))
    writes = (
        f"mkdir -p {begins}/checkpoints; touch {begins}/config.yaml{saves}; cat > {begins}/run.json <<'END'\n{facts}\nEND\n"
    )
    fakes = FAKES | {"../ends": (writes if ends else "") + f"exit {0 if ends == 'finished' else 1}"}
    for name, text in fakes.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    (folder / "calls").write_text("")
    base = {"PATH": f"{programs}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=base | environment, check=False, capture_output=True)
    return done.returncode, (folder / "calls").read_text().splitlines()


def test_a_slurm_job_begins_goes_on_and_is_queued_again_until_its_run_has_ended(tmp_path: Path) -> None:
    code, calls = run_script(sbatch(), tmp_path, "interrupted", RUN="job_7")
    assert code == 0
    begin, again = calls
    assert begin.startswith("torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint node1:29500")
    assert " --rdzv-id 7.0 -m cai.train name=job_7 data=text " in begin
    assert again == "scontrol requeue 7"
    assert int((tmp_path / "patience").read_text()) > 30
    # Killed before it could say so; then finished.
    code, calls = run_script(sbatch(), tmp_path, "running", RUN="job_7", SLURM_RESTART_COUNT="1")
    assert (code, calls[1:]) == (0, ["scontrol requeue 7"])
    assert calls[0].endswith("--rdzv-id 7.1 -m cai.resume outputs/job_7/2026-01-01_00-00-00")
    code, calls = run_script(sbatch(), tmp_path, "finished", RUN="job_7", SLURM_RESTART_COUNT="2")
    assert (code, len(calls)) == (0, 1)


@pytest.mark.parametrize(("ends", "environment"), [("failed", {}), ("", {}), ("interrupted", {"SLURM_RESTART_COUNT": "50"})])
def test_a_slurm_job_that_gets_nowhere_is_not_queued_again(tmp_path: Path, ends: str, environment: dict[str, str]) -> None:
    code, calls = run_script(sbatch(), tmp_path, ends, RUN="job_7", **environment)
    assert code == 1
    assert len(calls) == 1


def test_a_run_that_failed_is_tried_again_if_it_had_come_further(tmp_path: Path) -> None:
    code, calls = run_script(sbatch(), tmp_path, "failed", RUN="job_7", SAVES="1")
    assert (code, calls[1:]) == (0, ["scontrol requeue 7"])
    code, calls = run_script(sbatch(), tmp_path, "failed", RUN="job_7", SLURM_RESTART_COUNT="1")
    assert (code, len(calls)) == (1, 1)


def test_the_script_reads_what_a_run_really_writes(scratch: Path) -> None:
    train_tiny("name=job_7", "trainer.max_steps=2", "trainer.eval_every=0")
    (directory,) = Path("outputs/job_7").iterdir()
    facts = json.loads((directory / "run.json").read_text())
    assert facts["status"] == "finished"
    code, calls = run_script(sbatch(), scratch, "")  # says nothing new: the run has ended
    assert code == 0
    assert calls == [call for call in calls if call.endswith(f"-m cai.resume {directory}")]
    assert len(calls) == 1


def test_a_pod_begins_or_goes_on(tmp_path: Path) -> None:
    code, (begin,) = run_script(in_the_pod(), tmp_path, "interrupted", RUN="big")
    assert code == 1  # what the program says
    assert begin.startswith("cai train name=big data=text ")
    assert "device.processes=8" in begin
    code, calls = run_script(in_the_pod(), tmp_path, "finished", RUN="big")
    assert (code, calls) == (0, ["cai resume outputs/big/2026-01-01_00-00-00"])


@pytest.mark.parametrize("script", [sbatch(), in_the_pod()], ids=["slurm", "kubernetes"])
def test_scripts_can_be_parsed_and_a_broken_one_cannot(script: str) -> None:
    def code(text: str) -> int:
        return subprocess.run(["bash", "-n"], input=text, text=True, check=False, capture_output=True).returncode

    assert code(script) == 0
    assert code(script.replace("fi\n", "\n", 1)) != 0


def test_what_a_job_of_kubernetes_names_is_there() -> None:
    claim, job = kubernetes()
    assert (claim["kind"], job["kind"], job["apiVersion"]) == ("PersistentVolumeClaim", "Job", "batch/v1")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["work"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    mistake = spec["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert (mistake["containerName"], mistake["values"]) == (container["name"], [2])  # with which a user's mistake ends
    assert pod["restartPolicy"] == "Never"  # which a podFailurePolicy demands
    (patience,) = [int(each["value"]) for each in container["env"]]
    assert 30 < patience < pod["terminationGracePeriodSeconds"]


# The options.


def commands_that_train() -> list[list[str]]:
    """The options of every training that the page has one start, as a shell would pass them on."""
    texts = [*blocks(PAGE, "console"), sbatch(), in_the_pod()]
    joined = [re.sub(r"\\\n\s*", " ", text) for text in texts]
    lines = [line for text in joined for line in text.splitlines()]
    found = [re.search(r"(?:cai\.train|cai train|cai doctor) (?!-m)(.*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in found if match]


def test_every_training_on_the_page_can_be_composed_and_shared() -> None:
    commands = commands_that_train()
    assert len(commands) >= 6
    for words in commands:
        config: TrainConfig = cai.compose([word for word in words if word != "name=$name"])
        assert isinstance(config.model, ModelConfig)
        if any(word.startswith("trainer.batch_size=") for word in words):
            for processes in (8, 16):
                refuse_undivided(config.trainer, processes)


# The figures.


def script_of_the_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale_table", ROOT / "benchmarks" / "scale_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return script_of_the_table()


def rows(page: Path) -> list[str]:
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]


def test_the_table_is_what_the_functions_give_now(table: ModuleType) -> None:
    """Of the model that is measured quickest; of the others, that they are there, and as large."""
    there = rows(PAGE)
    for name, options in table.MODELS:
        if name == "`llama_cai`":
            work = table.workload(options)
            assert [table.row(name, work, count) for count in table.COUNTS] == [
                row for row in there if row.startswith(f"| {name} ")
            ]
        else:
            config = cai.compose(["tokenizer=bpe", *options.split()])
            parameters = f"{Workload(config).parameters / 1e6:,.0f} M"
            own = [row for row in there if row.startswith(f"| {name} | {parameters} |")]
            assert [row.split(" | ")[2] for row in own] == ["1", "8"]
    heads = [row for row in there if row.startswith("| model ")]
    assert heads[0].split(" | ")[3:] == [kind.name for kind in gpus.KINDS[:-1]] + [f"{gpus.KINDS[-1].name} |"]


def test_cells_are_rounded_and_marked(table: ModuleType) -> None:
    assert [table.rounded(n) for n in (4.2, 98, 994, 996, 12_345, 99_600, 1_234_567, 23e6)] == [
        *("4", "98", "990", "1.0 k", "12 k", "100 k", "1.2 M", "23 M"),
    ]
    assert table.cell(None) == "-"


def test_what_the_estimates_rest_on_is_on_the_page() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    shares = (gpus.OF_PEAK, gpus.OF_MEMORY, gpus.OF_BANDWIDTH, gpus.OF_BANDWIDTH)
    assert "{:.0f} %, {:.0f} %, {:.0f} % and {:.0f} %".format(*(100 * share for share in shares)) in text
    assert f"{1e6 * gpus.LAUNCH:.0f} us for an operation" in text


# Both languages.


def sections(page: Path) -> list[str]:
    return re.split(r"^## .+\n", page.read_text(encoding="utf-8"), flags=re.M)


def code(section: str) -> list[str]:
    return re.findall(r"^```.*?^```", section, flags=re.M | re.S)


def test_both_pages_have_the_same_code_and_figures() -> None:
    english, korean = sections(PAGE), sections(KOREAN)
    if len(english) > len(korean):
        titles = [title for depth, title in headings(PAGE) if depth == 2]
        del english[1 + titles.index(ADDED)]
    assert [code(section) for section in english] == [code(section) for section in korean]
    assert sum(map(len, map(code, english))) >= 6
    table = [row for row in rows(PAGE) if " · " in row]
    assert len(table) >= 8
    assert table == [row for row in rows(KOREAN) if " · " in row]
    assert [section.count("\n| ") for section in english] == [section.count("\n| ") for section in korean]
    assert dead_links(PAGE) == dead_links(KOREAN) == []


def test_readmes_lead_to_both() -> None:
    assert "](docs/scale.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](docs/ko/scale.md)" in (ROOT / "README.ko.md").read_text(encoding="utf-8")
