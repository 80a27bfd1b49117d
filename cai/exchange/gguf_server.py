"""llama.cpp in a process of its own, as it takes over signals and may abort: until standard input ends.

``python -m cai.exchange.gguf_server model.gguf socket positions``. Answers HTTP at the socket, a file.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

ERRORS = 1
"""How much llama.cpp says on standard error."""


def serve(path: str, socket: str, positions: int) -> None:
    """All in fp32, on one thread, so that nothing is lost but by the file itself."""
    llama: Any = import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = path
    params.hostnames = [socket]
    params.n_ctx = positions  # all that a large model has would fill the memory
    params.n_parallel = params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = llama.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = llama.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.n_gpu_layers = params.cache_ram_mib = 0
    params.fit_params = params.warmup = params.ui = False
    params.offline = True
    params.verbosity = ERRORS
    try:
        server = llama.Server(params)
    except RuntimeError:  # what is wrong stands on standard error
        raise SystemExit(1) from None
    sys.stdin.read()
    del server


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
