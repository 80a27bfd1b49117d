"""``data=prepared``: training on a corpus where it lies gives the losses of training on the text itself."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cai import store as store_module
from cai.cli import main
from cai.errors import DataError
from cai.runs import read_run
from cai.tokenizer.byte import ByteConfig
from cai.tokens import prepared as prepared_module
from cai.tokens.prepared import Prepared
from tests.conftest import run_directories
from tests.data.test_text import write

URL = "memory://bucket/corpus"
RUN = (
    *("device=cpu", "device.precision=fp32", "device.threads=1", "model.n_layer=1", "model.n_head=2", "model.n_embd=16"),
    *("model.block_size=32", "trainer=smoke", "trainer.max_steps=6", "trainer.eval_every=3", "trainer.log_every=1"),
    *("schedule.warmup_steps=2", "generation.max_new_tokens=4", "trainer.answers=0", "trainer.batch_size=4"),
)
COPY = ("prepare", "data=prepared", "device=cpu")
"""Takes a corpus into the cache, and reports."""
DATA = ("data=jsonl", "data.template=question_answer", "data.val_ratio=0.3", "tokenizer=bpe", "tokenizer.vocab_size=300")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions with answers, prepared into a folder in three parts, and a run on the text itself."""
    folder = tmp_path_factory.mktemp("made")
    for file in range(4):
        records = ({"question": f"{file}-{n}번 전화?", "answer": f"02-{file}{n:03}"} for n in range(20 + 5 * file))
        write(folder / f"corpus/{file}.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    path, outputs = f"data.path={folder}/corpus", f"output_dir={folder}/outputs"
    for number in (1, 2, 3):
        assert main(["prepare", *DATA, path, outputs, f"prepare.out={folder}/store", f"prepare.shard={number}/3"]) == 0
    assert main(["train", *RUN, *DATA, path, outputs, "data.loss=answer"]) == 0
    return folder


@pytest.fixture
def bucket(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same corpus behind a URL."""
    monkeypatch.setattr(store_module, "PAUSES", (0.0, 0.0, 0.0))
    files = fsspec.filesystem("memory")
    for file in (made / "store").rglob("*"):
        if file.is_file():
            files.pipe_file(f"/bucket/corpus/{file.relative_to(made / 'store').as_posix()}", file.read_bytes())
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def train(*words: str, code: int = 0) -> Path | None:
    before = set(run_directories(Path()))
    assert main(["train", *RUN, "data=prepared", "data.loss=answer", *words]) == code
    return next(iter(set(run_directories(Path())) - before), None)


def losses(run: Path | None) -> list[tuple[Any, ...]]:
    assert run is not None
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    tags = ("step", "train/loss", "val/loss", "train/grad_norm")
    return [tuple(entry.get(tag) for tag in tags) for entry in entries]


def of_text(made: Path) -> list[tuple[Any, ...]]:
    (run,) = run_directories(made / "outputs")
    return losses(run)


def test_from_a_folder_as_from_the_text(made: Path, scratch: Path) -> None:
    run = train(f"data.path={made}/store", "output_dir=outputs")
    assert losses(run) == of_text(made)
    assert len(losses(run)) >= 6
    assert not list(Path("outputs/cache").rglob("*.bin")), "it is read in place"
    assert losses(train(f"data.path=file://{made}/store")) == of_text(made)


@pytest.mark.parametrize("room", ["null", "0", "0.000005"], ids=["all", "none", "some"])
def test_from_a_store_as_from_the_text(made: Path, bucket: Any, scratch: Path, room: str) -> None:
    run = train(f"data.path={URL}", f"data.cache_gb={room}")
    assert losses(run) == of_text(made)
    copied = len(list(Path("outputs/cache/remote").rglob("*.bin")))
    assert copied == {"0": 0, "0.000005": copied}.get(room, 6)
    assert room != "0.000005" or 0 < copied < 6
    assert len(list(Path("outputs/cache/remote").rglob("*.index"))) == 2


def test_what_is_copied_is_not_asked_for_again(bucket: Any, scratch: Path) -> None:
    def ids() -> list[int]:
        prepared = Prepared(URL, None)
        shards = prepared.shards(prepared.tokenizer, scratch)
        assert shards.documents("val")[0].tolist()[0] == 0
        ids: list[int] = shards.read("train", 0, shards.train.tokens).tolist()
        return ids

    before = ids()
    for name in bucket.find("/bucket/corpus"):
        if name.endswith((".bin", ".index")):
            bucket.rm(name)
    assert ids() == before
    next(scratch.rglob("val.bin")).unlink()
    with pytest.raises(DataError, match=r"val.bin is gone"):
        ids()


def test_jobs_that_begin_at_once_share_one_copy(bucket: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = bucket.get_file, []

    def slowly(path: str, *args: Any, **options: Any) -> Any:
        asked.append(path)
        time.sleep(0.01)
        return answer(path, *args, **options)

    monkeypatch.setattr(bucket, "get_file", slowly)
    jobs = [Prepared(URL, None) for _ in range(4)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        found = list(pool.map(lambda job: job.shards(job.tokenizer, scratch), jobs))
    assert len({tuple(shards.read("val", 0, shards.val.tokens).tolist()) for shards in found}) == 1
    assert len(asked) == len(set(asked)) == 6 + 6, "files of ids and of places"


def test_a_store_that_fails_for_a_moment_is_survived(
    made: Path, bucket: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("cat_file", "get_file"):
        answer, asked = getattr(bucket, method), []

        def flaky(*args: Any, answer: Any = answer, asked: list[int] = asked, **options: Any) -> Any:
            asked.append(1)
            if len(asked) % 3:
                raise OSError("reset by peer")
            return answer(*args, **options)

        monkeypatch.setattr(bucket, method, flaky)
    assert losses(train(f"data.path={URL}", "data.cache_gb=0.000005")) == of_text(made)


def test_a_store_that_stays_away_ends_a_run_that_can_be_resumed(
    made: Path, bucket: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = bucket.cat_file
    steps = 3

    def away(path: str, *args: Any, **options: Any) -> Any:
        runs = run_directories(Path("outputs"))
        if path.endswith(".bin") and runs and list(runs[0].glob("checkpoints/last.safetensors")):
            raise OSError("no route to host")
        return answer(path, *args, **options)

    monkeypatch.setattr(bucket, "cat_file", away)
    run = train(f"data.path={URL}", "data.cache_gb=0", f"trainer.save_every={steps}", code=1)
    said = capsys.readouterr().err
    assert "could not be read (no route to host)" in said
    assert "resume the run when the store answers" in said
    assert run is not None
    assert read_run(run)["status"] == "failed"
    monkeypatch.setattr(bucket, "cat_file", answer)
    assert main(["resume", str(run), "data.cache_gb=1"]) == 0
    assert [entry[:2] for entry in losses(run)] == [entry[:2] for entry in of_text(made)]
    assert read_run(run)["resumed"][0]["step"] == steps


@pytest.mark.parametrize("name", ["parts/0002-of-0003/train.bin", "parts/0001-of-0003/val.index", "tokenizer.json"])
def test_a_changed_byte_is_caught(bucket: Any, scratch: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COPY, f"data.path={URL}", "output_dir=before"]) == 0
    raw = bytearray(bucket.cat_file(f"/bucket/corpus/{name}"))
    raw[7] ^= 1
    bucket.pipe_file(f"/bucket/corpus/{name}", bytes(raw))
    assert main([*COPY, f"data.path={URL}"]) == 2
    said = capsys.readouterr().err
    assert f"{URL} must be as it was prepared, but {name} is" in said
    assert "Put back the file as it was" in said
    assert [path for path in Path("outputs").rglob("*") if str(path).endswith((name, ".unfinished"))] == []


def test_a_file_that_is_gone_or_short_is_caught(
    made: Path, bucket: Any, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.rm("/bucket/corpus/parts/0003-of-0003/train.bin")
    assert main([*COPY, f"data.path={URL}"]) == 2
    assert "parts/0003-of-0003/train.bin is gone" in capsys.readouterr().err
    shutil.copytree(made / "store", "store")
    (file := Path("store/parts/0001-of-0003/train.bin")).write_bytes(file.read_bytes()[:-2])
    train("data.path=store", code=1)
    said = capsys.readouterr().err
    assert f"the token shard {file} must stay as it is" in said
    assert "Put it back as it was, and resume the run; or prepare the corpus again." in said
    Path("store/parts/0002-of-0003/val.index").unlink()
    assert main([*COPY, "data.path=store", "output_dir=others"]) == 2
    assert "parts/0002-of-0003/val.index is gone" in capsys.readouterr().err


def test_a_run_on_it_is_resumed_reproduced_evaluated_and_told_from_others(
    made: Path, bucket: Any, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(f"data.path={URL}", "trainer.max_steps=3", "schedule=constant", "schedule.warmup_steps=0")
    assert main(["resume", str(run), "trainer.max_steps=6"]) == 0
    assert len(losses(run)) >= 6
    capsys.readouterr()
    assert main(["reproduce", str(run)]) == 0
    assert "losses are equal to the bit" in capsys.readouterr().out
    assert main(["evaluate", f"run={run}", "answers=4", "device=cpu"]) == 0
    said = capsys.readouterr().out
    assert "warning" not in said
    assert "4 " in said
    assert main(["resume", str(run), "data.path=elsewhere", "trainer.max_steps=9"]) == 2
    other = Prepared(f"{made}/store", None).manifest.text().replace('"note": ""', '"note": "another"')
    bucket.pipe_file("/bucket/corpus/manifest.json", other.encode())
    assert main(["resume", str(run), "trainer.max_steps=9"]) == 0, "the ids decide"


@pytest.mark.parametrize("together", [1, 7, 256])
def test_its_validation_documents_are_those_of_the_text(
    made: Path, bucket: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(prepared_module, "TOGETHER", together)
    from cai.composition import compose

    text, prepared = (
        compose(words).data.build()
        for words in ([*DATA, f"data.path={made}/corpus"], ["data=prepared", f"data.path={URL}", "data.cache_gb=0"])
    )
    expected = [document.parts for document in text.select("val")]
    assert [document.parts for document in prepared.select("val")] == expected
    assert len(expected) > 20
    assert list(prepared.select("train")) == []
    assert [case.prompt for case in prepared.cases(5)] == [case.prompt for case in text.cases(5)]
    prepared.prepared.shards(prepared.prepared.tokenizer, scratch)
    assert [document.parts for document in prepared.select("val")] == expected, "from the copies too"
    assert prepared.prompts(1)[0].parts == text.prompts(1)[0].parts


def test_its_tokenizer_is_its_own(made: Path, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = {
        ("data=prepared", f"data.path={made}/store", "tokenizer=byte"): "tokenizer=from_data",
        ("tokenizer=from_data",): "Try data=prepared data.path=..., or tokenizer=bpe.",
        ("data=mix", "+data@data.sources.a=prepared", "data.sources.a.path=x", "data.weights.a=1"): "Mix the texts",
    }
    for words, remedy in refused.items():
        assert main(["train", *words]) == 2
        said = capsys.readouterr().err
        assert said.strip().count("\n") == 0
        assert remedy in said
    assert main(["prepare", "data=prepared", f"data.path={made}/store", "prepare.out=again"]) == 2
    assert "takes a corpus that is not prepared yet" in capsys.readouterr().err
    assert not Path("outputs").exists()
    (text_run,) = run_directories(made / "outputs")
    begun = ("optimizer=adamw", f"trainer.init_from={text_run}", f"data.path={made}/store")
    assert train(*begun), "a model of the same tokenizer may go on with it"
    prepared = Prepared(f"{made}/store", None)
    with pytest.raises(DataError, match=r"was prepared with another .*tokenizer=pretrained tokenizer.path="):
        prepared.shards(ByteConfig().build([]), scratch)


def test_copies_that_no_run_uses_are_offered_for_deletion(
    bucket: Any, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COPY, f"data.path={URL}"]) == 0
    (copies,) = (path for path in Path("outputs/cache/remote").iterdir() if path.is_dir())
    capsys.readouterr()
    assert main(["list", "clean=true"]) == 2  # nobody is there to answer
    assert f"{copies}  " in capsys.readouterr().out
    train(f"data.path={URL}")
    main(["list", "clean=true"])
    assert str(copies) not in capsys.readouterr().out
