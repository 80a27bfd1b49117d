"""What nobody needs any more, and how to delete it: failed runs, and caches that no run has been trained on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from cai.errors import RunError
from cai.files import told
from cai.listing import CACHE, Entry, size_of
from cai.runs import STATUS, is_locked, lock_of, read_facts

TOKENIZERS, TOKENS = "tokenizers", "tokens"
UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Leftover:
    """One folder that can be deleted."""

    folder: Path
    size: int
    """Bytes."""
    why: str
    warning: str = ""
    """What would be lost with it."""
    lock: Path | None = None
    """Of a cache; a run has its own."""


def failed_runs(entries: Sequence[Entry]) -> list[Leftover]:
    """Every run, jobs of sweeps included, that failed and that nobody is writing."""
    found = []
    for run in (run for entry in entries for run in entry.runs()):
        if run.status == "failed" and not is_locked(run.folder):
            why = f"failed: {run.error.splitlines()[0]}" if run.error else "failed"
            found.append(Leftover(run.folder, run.size, why, _loses(run)))
    return found


def _loses(run: Entry) -> str:
    """A failed run that has saved something can still be gone on with."""
    if not any(run.folder.glob("checkpoints/*.safetensors")):
        return ""
    step = f" of step {run.saved_step:,}" if run.saved_step else ""
    return f"holds a checkpoint{step} of an unfinished run: cai resume {run.folder} would go on from it"


def unused_caches(folder: Path, entries: Sequence[Entry]) -> tuple[list[Leftover], str]:
    """Tokenizers and token shards in ``folder``/cache that no run in ``folder`` was trained on, and unfinished ones that
    nobody is at work on. And why there are none to be had, if a run does not know yet what it will use.
    """
    caches = [Path(entry.path) for kind in (TOKENIZERS, TOKENS) for entry in _folders(folder / CACHE / kind)]
    runs = [run for entry in entries for run in entry.runs()]
    preparing = [run.folder for run in runs if run.status == "running" and not run.fingerprints]
    if caches and preparing:
        return [], f"caches are kept, as {preparing[0]} is still preparing its data"
    used = frozenset().union(*(run.fingerprints for run in runs))
    found = []
    for cache in caches:
        unfinished = cache.name.startswith(".")
        lock = cache.with_suffix(".lock") if unfinished else cache.with_name(f".{cache.name}.lock")
        if not _is_free(lock) or (not unfinished and _fingerprint(cache) in used):
            continue
        why = "left unfinished" if unfinished else f"no run in {folder} uses it"
        found.append(Leftover(cache, size_of(cache), f"{cache.parent.name}, {why}", lock=lock))
    return found, ""


def _folders(kind: Path) -> list[os.DirEntry[str]]:
    """Finished ones, and unfinished ones whose name begins with a dot."""
    entries = sorted(os.scandir(kind), key=lambda entry: entry.name) if kind.is_dir() else []
    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [entry for entry in folders if entry.name.endswith(UNFINISHED) or not entry.name.startswith(".")]


def _fingerprint(cache: Path) -> str:
    """As ``run.json`` has it: shards go by it, tokenizers by what they were learned from."""
    if cache.parent.name == TOKENS:
        return cache.name
    from cai.tokenizer.base import Tokenizer  # takes a while

    try:
        return Tokenizer.load(cache / "tokenizer.json").fingerprint
    except RunError:  # damaged: of no use to anyone
        return ""


def _is_free(path: Path) -> bool:
    lock = FileLock(path)
    try:
        with lock.acquire(timeout=0):
            return True
    except Timeout:
        return False


def delete(leftover: Leftover) -> bool:
    """Whether it could be deleted: somebody may have begun to use it meanwhile. Raises ``OutputError``."""
    lock = lock_of(leftover.folder) if leftover.lock is None else FileLock(leftover.lock)
    try:
        with lock.acquire(timeout=0), told(leftover.folder):
            if leftover.lock is not None:
                _delete_cache(leftover.folder)
                return True
            if read_facts(leftover.folder)["status"] != "failed":
                return False
            _empty(leftover.folder)
    except Timeout:
        return False
    with told(leftover.folder):
        shutil.rmtree(leftover.folder)  # what is left is its lock
    return True


def _delete_cache(folder: Path) -> None:
    """First its name goes, as whoever looks must find all of it or nothing; what a kill leaves, the next build sweeps."""
    doomed = folder
    if not folder.name.startswith("."):
        doomed = folder.with_name(f".{folder.name}{UNFINISHED}")
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(folder, doomed)
    shutil.rmtree(doomed)


def _empty(folder: Path) -> None:
    """All but the lock; ``run.json`` last, so that a deletion that is killed can be seen and done again."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == STATUS):
        if path.name == ".lock":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
