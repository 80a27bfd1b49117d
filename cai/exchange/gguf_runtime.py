"""A ``model.gguf`` opened by llama.cpp, as the package xllamacpp carries it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unicodedata import normalize

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cai.exchange.base import Reopened
from cai.exchange.check import CONTINUATION, LENGTH
from cai.model.gpt2 import GPT2, MLP

START, ANSWER, PATIENCE = 120.0, 60.0, 20.0
"""Seconds that loading a file, one answer, and ending may take."""


def has_llama_cpp() -> bool:
    """Whether there is one here that can be asked without opening a port."""
    return hasattr(socket, "AF_UNIX") and find_spec("xllamacpp") is not None


class LlamaCpp(Reopened):
    """It runs in a process of its own, which ends with this object.

    What it tells of the next token are the log-probabilities of all. Raises ``ValueError`` if it cannot load the file.
    """

    log_probabilities = True
    process: subprocess.Popen[bytes]
    socket: Path

    def __init__(self, path: Path) -> None:
        self.by = f"llama.cpp of xllamacpp {version('xllamacpp')}"
        folder = Path(mkdtemp(prefix="cai_"))
        self.socket, log = folder / "llama.sock", folder / "log"
        command = [sys.executable, "-P", "-m", "cai.exchange.gguf_server", str(path.resolve()), str(self.socket)]
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                [*command, str(LENGTH + CONTINUATION)],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,  # an interrupt is for us, who end it
            )
        self.close = weakref.finalize(self, _end, self.process, folder)
        if not self._answers():
            text = log.read_text(encoding="utf-8", errors="replace")
            self.close()
            errors = re.findall(r"^[\d.]+ E (.+)", text, re.MULTILINE)  # the first is the cause
            raise ValueError(f"llama.cpp cannot load it ({errors[0] if errors else text[-600:]})")
        self._size: int = self.ask("/v1/models")["data"][0]["meta"]["n_vocab"]
        (self._letter,) = self.encode("a")

    def _answers(self) -> bool:
        """Whether the model is loaded in time."""
        end = time.monotonic() + START
        while self.process.poll() is None and time.monotonic() < end:
            with suppress(ValueError):  # nobody is there yet, or it is loading
                self.ask("/health")
                return True
            time.sleep(0.005)
        return False

    def ask(self, path: str, question: Mapping[str, Any] | None = None) -> Any:
        """The answer of llama.cpp's own server. Raises ``ValueError`` if there is none, or it is that something is wrong."""
        try:
            with closing(_Connection(self.socket)) as connection:
                connection.request("POST" if question else "GET", path, json.dumps(question) if question else None)
                answer = connection.getresponse()
                text = answer.read()
        except (OSError, HTTPException) as error:
            raise ValueError(f"llama.cpp does not answer ({error!r})") from error
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"llama.cpp says of {path}: {text[:600].decode(errors='replace')}")
        return json.loads(text)

    def encode(self, text: str) -> list[int]:
        """llama.cpp does not bring text to NFC, which is for whoever calls it to do, and so done here."""
        question = {"content": normalize("NFC", text), "add_special": False, "parse_special": False}
        ids: list[int] = self.ask("/tokenize", question)["tokens"]
        return ids

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Log-probabilities, token by token through llama.cpp's cache."""
        found = torch.empty(len(ids), self._size)
        for place in range(len(ids)):
            best = self._next(ids[: place + 1], self._size)
            found[place, [each["id"] for each in best]] = torch.tensor([each["logprob"] for each in best])
        return found

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        written: list[int] = []
        for _ in range(count):
            written.append(self._next([*ids, *written], 1)[0]["id"])
        return written

    def _next(self, ids: Sequence[int], count: int) -> list[dict[str, Any]]:
        """The ``count`` most probable next tokens, the best first.

        What is written is always the letter a: llama.cpp tells no probabilities with a token that ends inside a character.
        The bias that makes it so comes after the probabilities.
        """
        question = {
            "prompt": list(ids),
            "n_predict": 1,
            "n_probs": count,
            "temperature": 0,
            "logit_bias": [[self._letter, 1e6]],
            "cache_prompt": True,
        }
        best: list[dict[str, Any]] = self.ask("/completion", question)["completion_probabilities"][0]["top_logprobs"]
        return best

    @torch.no_grad()
    def coarseness(self, model: nn.Module, ids: Sequence[int]) -> float:
        """llama.cpp looks GELU up in a table, on a CPU: what goes in and what comes out are rounded to fp16.

        How far that moves a log-probability of ``model`` is measured, and twice as much allowed for: a sum that is
        otherwise the same to the last digit but one may be rounded the other way.
        """
        if not isinstance(model, GPT2):
            return 0.0
        exact = model(torch.tensor([list(ids)])).log_softmax(-1)
        hooks = [hook for block in model.h for hook in _rounded(block.get_submodule("mlp"))]
        try:
            rounded = model(torch.tensor([list(ids)])).log_softmax(-1)
        finally:
            for hook in hooks:
                hook.remove()
        return 2 * float((rounded - exact).abs().max())


def _rounded(mlp: nn.Module) -> list[RemovableHandle]:
    """GELU between two roundings to fp16."""
    assert isinstance(mlp, MLP)
    return [
        mlp.c_fc.register_forward_hook(lambda _module, _inputs, x: x.half().float()),
        mlp.c_proj.register_forward_pre_hook(lambda _module, inputs: inputs[0].half().float()),
    ]


class _Connection(HTTPConnection):
    """To a socket that is a file."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
