"""What an exception says, in a sentence for a person. Who has it keeps its traceback elsewhere."""

from __future__ import annotations

import os
import re
from typing import Final

from cai.errors import CaiError, is_full
from cai.symptoms.table import Told, tell

MEMORY: Final = {
    "CUDA out of memory": "cuda_memory",
    "CUDA error: out of memory": "cuda_memory",
    "MPS backend out of memory": "mps_memory",
    "Invalid buffer size": "mps_memory",
    "DefaultCPUAllocator: can't allocate memory": "host_memory",
    "DefaultCPUAllocator: not enough memory": "host_memory",
}
"""What PyTorch's errors say when memory has run out, and which memory that is. The last two: Linux and others."""

TOLD_BEFORE: Final = {
    "must have memory for": "host_memory",
    "must be a finite number": "nonfinite",
    "No space left on device": "disk_full",
    "no space left on the disk": "disk_full",
    "must hold weights of the configured model": "other_shape",
}
"""What CAI's own errors say, of which a run did not yet note the row."""

FALLBACK: Final = "PYTORCH_ENABLE_MPS_FALLBACK"


def memory_of(error: BaseException) -> str | None:
    """The row of the table for an error that says that memory has run out; ``None`` for any other error."""
    if isinstance(error, MemoryError):
        return "host_memory"
    if not isinstance(error, RuntimeError) or isinstance(error, CaiError):
        return None
    text = str(error)
    known = next((name for said, name in MEMORY.items() if said in text), None)
    return known or ("cuda_memory" if type(error).__name__ == "OutOfMemoryError" else None)


def first_line(error: BaseException) -> str:
    """What an error says, as a sentence; its class if it says nothing."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def symptom_of(error: BaseException, against_memory: str = "less") -> Told | None:
    """What went wrong and what helps, if ``error`` is one of the known ones. ``against_memory``: the remedy for too little.

    Its text may come from any version of PyTorch: it is recognised by the words that have stayed the same.
    """
    if isinstance(error, CaiError):
        cause = error.__cause__
        name = "disk_full" if isinstance(cause, OSError) and is_full(cause) else error.symptom
        return Told(name, str(error)) if name else None
    if memory := memory_of(error):
        return tell(memory, against_memory, what="what is computed", reason=first_line(error))
    if isinstance(error, OSError) and is_full(error):
        return tell("disk_full", where=error.filename or "a file")
    text = str(error)
    if isinstance(error, NotImplementedError) and "not currently implemented for the MPS device" in text:
        operator = re.search(r"operator '([\w:.]+)'", text)
        name = operator[1] if operator else "that was needed"
        return tell("mps_operator", operator=name, fallback=os.environ.get(FALLBACK, "not set"))
    if isinstance(error, RuntimeError) and "loading state_dict for" in text:
        return tell("other_shape", source="the checkpoint", differing=first_difference(text))
    return None


def symptom_of_text(text: str) -> Told | None:
    """The symptom of an error of which a run keeps one line: its class, if it is not CAI's, and its words."""
    kinds = {"NotImplementedError": NotImplementedError, "MemoryError": MemoryError}
    kind, _, words = text.partition(": ")
    if kind.rpartition(".")[2].endswith("Error") and (told := symptom_of(kinds.get(kind, RuntimeError)(words))):
        return told
    name = next((name for said, name in TOLD_BEFORE.items() if said in text), None)
    return Told(name, text) if name else None


def message_of(error: BaseException) -> str:
    """What is to be said of ``error``: its symptom; or else its own words, with its class if CAI did not raise it."""
    told = symptom_of(error)
    return told.sentence if told else str(error) if isinstance(error, CaiError) else f"{type(error).__name__}: {error}"


def first_difference(text: str) -> str:
    """The first of the tensors that PyTorch found not to fit."""
    lines = [line.strip().rstrip(".") for line in text.splitlines()[1:] if line.strip()]
    return lines[0] if lines else text.strip().rstrip(".")
