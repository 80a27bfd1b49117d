"""What nobody needs any more, and how to delete it: failed runs, and caches that no run has been trained on.

What lies there may be another program's or a stranger's: only what CAI has made is taken, and no link is followed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from cai.cache import PROGRESS
from cai.entry import BAD, Entry, size_of
from cai.errors import RunError
from cai.files import told
from cai.listing import CACHE, find_entries, in_use, links_out_of
from cai.runs import STATUS, SWEEP, lock_of, read_facts

TOKENIZERS, TOKENS, REMOTE = "tokenizers", "tokens", "remote"
WHOLE = {TOKENIZERS: "tokenizer.json", TOKENS: "meta.json", REMOTE: "manifest.json"}
"""Kind of cache → a file that each of them has when it is finished."""
FINISHED, UNFINISHED = re.compile(r"[0-9a-f]{16}"), re.compile(r"\.[0-9a-f]{16}\.unfinished")
"""The names of caches."""


@dataclass(frozen=True)
class Leftover:
    """One folder that can be deleted."""

    folder: Path
    size: int
    """Bytes."""
    why: str
    warning: str = ""
    """What would be lost with it."""
    outputs: Path | None = None
    """Of a cache: the folder whose runs could use it; of a run, none."""


def failed_runs(entries: Sequence[Entry]) -> list[Leftover]:
    """Every run, jobs of sweeps included, that failed, and that nobody is writing or about to try again."""
    found = []
    for run in (run for entry in entries for run in entry.runs()):
        sweep = _sweep_of(run.folder)
        if run.status == "failed" and not in_use(run.folder) and not (sweep and in_use(sweep)):
            why = f"failed: {run.error.splitlines()[0]}" if run.error else "failed"
            found.append(Leftover(run.folder, run.size, why, _loses(run)))
    return found


def _sweep_of(folder: Path) -> Path | None:
    """The sweep that a run is a job of: while it runs, it may try a failed job again."""
    return folder.parent if (folder.parent / SWEEP).is_file() else None


def _loses(run: Entry) -> str:
    """A failed run that has saved something can still be gone on with."""
    if not any(run.folder.glob("checkpoints/*.safetensors")):
        return ""
    step = f" of step {run.saved_step:,}" if run.saved_step else ""
    return f"holds a checkpoint{step} of an unfinished run: cai resume {run.folder} would go on from it"


def unused_caches(folder: Path, entries: Sequence[Entry]) -> tuple[list[Leftover], str]:
    """Tokenizers and token shards in ``folder``/cache that no run in ``folder`` was trained on, and unfinished ones that
    nobody is at work on. And why there are none to be had, if nobody can tell what is used.
    """
    try:
        caches = _caches(folder)
        if caches and (doubt := _doubt(folder, entries)):
            return [], f"caches are kept, as {doubt}"
        used = _used(entries)
        return [_leftover(cache, folder) for cache in caches if _fingerprint(cache) not in used and _is_free(cache)], ""
    except OSError as error:
        return [], f"caches are kept, as {error.filename} cannot be looked at ({error.strerror})"


def _caches(folder: Path) -> list[Path]:
    """What CAI has made there, finished or not. Raises ``OSError``."""
    found = []
    for kind, mark in WHOLE.items():
        there = folder / CACHE / kind
        for cache in sorted(there.iterdir() if there.is_dir() else ()):
            ours = UNFINISHED.fullmatch(cache.name) or (FINISHED.fullmatch(cache.name) and (cache / mark).is_file())
            if ours and cache.is_dir() and not cache.is_symlink():
                found.append(cache)
    return found


def _doubt(folder: Path, entries: Sequence[Entry]) -> str:
    """Why nobody can tell which caches are used; nothing if one can. Raises ``OSError``."""
    for cache in (folder / CACHE, *(folder / CACHE / kind for kind in WHOLE)):
        if cache.is_symlink():
            return f"{cache} is a link, and runs in other folders may use what is there"
    for entry in (one for listed in entries for one in (listed, *listed.jobs)):
        if entry.status == "unreadable":
            return f"nobody can tell what {entry.folder} uses ({entry.error})"
        if entry.status == "sweep" and in_use(entry.folder):
            return f"{entry.folder} is running, and has jobs that may use any"
        # A run that resumes says that it is running, and on what data, only once it has them.
        known = entry.status == "running" and entry.fingerprints
        if not known and (entry.status == "running" or in_use(entry.folder)):
            return f"{entry.folder} is still preparing its data"
    link = next(links_out_of(folder), None)
    return "" if link is None else f"{link} is a link, behind which there may be runs that use any"


def _used(entries: Sequence[Entry]) -> frozenset[str]:
    return frozenset().union(*(run.fingerprints for entry in entries for run in entry.runs()))


def _leftover(cache: Path, outputs: Path) -> Leftover:
    unfinished = cache.name.startswith(".")
    why = "left unfinished" if unfinished else f"no run in {outputs} uses it"
    far = unfinished and (cache / PROGRESS).is_file()
    warning = "holds a preparation that the same cai prepare or cai train would go on with" * far
    return Leftover(cache, size_of(cache), f"{cache.parent.name}, {why}", warning, outputs)


def _fingerprint(cache: Path) -> str:
    """As ``run.json`` has it: shards go by it, tokenizers by what they were learned from. Unfinished ones have none."""
    if cache.name.startswith(".") or cache.parent.name != TOKENIZERS:
        return cache.name
    from cai.tokenizer.base import Tokenizer  # takes a while

    try:
        return Tokenizer.load(cache / WHOLE[TOKENIZERS]).fingerprint
    except RunError:  # damaged: of no use to anyone
        return ""


def _lock_of_cache(cache: Path) -> FileLock:
    """That under which it is made."""
    unfinished = cache.name.startswith(".")
    return FileLock(cache.with_suffix(".lock") if unfinished else cache.with_name(f".{cache.name}.lock"))


def _is_free(cache: Path) -> bool:
    try:
        with _lock_of_cache(cache).acquire(timeout=0):
            return True
    except Timeout:
        return False


def delete(leftover: Leftover) -> bool:
    """Whether it was deleted: it may be gone, or somebody may have begun to use it meanwhile. Raises ``OutputError``."""
    folder = leftover.folder
    with told(folder):
        if folder.is_symlink() or not folder.is_dir():  # a lock would make it again
            return False
        try:
            return _delete_run(folder) if leftover.outputs is None else _delete_cache(folder, leftover.outputs)
        except Timeout:
            return False


def _delete_run(folder: Path) -> bool:
    """All of it while its lock is held, so that nobody can go on with it meanwhile; nor can its sweep."""
    with ExitStack() as held:
        if (sweep := _sweep_of(folder)) is not None:
            held.enter_context(lock_of(sweep).acquire(timeout=0))
        held.enter_context(lock_of(folder).acquire(timeout=0))
        if failed := _has_failed(folder):
            _empty(folder)
        _remove_empty(folder)  # also if it was gone, and the lock has made it again
    if os.name == "nt":  # where nobody can remove an open file, neither this lock before nor another's now
        _remove_empty(folder)
    return failed


def _has_failed(folder: Path) -> bool:
    try:
        return bool(read_facts(folder)["status"] == "failed")
    except BAD:
        return False


def _empty(folder: Path) -> None:
    """All but the lock; ``run.json`` last, so that a deletion that is killed can be seen and done again."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == STATUS):
        if path.name == ".lock":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _remove_empty(folder: Path) -> None:
    """The folder, if nothing but its lock is in it."""
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [".lock"]:
            (folder / ".lock").unlink()
            folder.rmdir()


def _delete_cache(cache: Path, outputs: Path) -> bool:
    """Only while nobody makes it, and no run uses it: caches are used without a lock.

    First its name goes, as whoever looks must find all of it or nothing. Whoever looks from then on waits for its lock and
    makes it anew; a run that found it an instant before is seen now, and gets it back.
    """
    fingerprint = _fingerprint(cache)
    with _lock_of_cache(cache).acquire(timeout=0):
        if not _is_unused(fingerprint, outputs):
            return False
        doomed = cache
        if not cache.name.startswith("."):
            doomed = cache.with_name(f".{cache.name}.unfinished")  # what a kill leaves of it, the next build sweeps
            shutil.rmtree(doomed, ignore_errors=True)
            os.replace(cache, doomed)
            if not _is_unused(fingerprint, outputs):
                os.replace(doomed, cache)
                return False
        shutil.rmtree(doomed)
    return True


def _is_unused(fingerprint: str, outputs: Path) -> bool:
    """As ``unused_caches`` finds it, now."""
    entries = find_entries(outputs)
    return not _doubt(outputs, entries) and fingerprint not in _used(entries)
