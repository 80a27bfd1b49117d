"""``to=huggingface``: a folder that transformers 4.57 and 5 load offline."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer as Backend
from tokenizers import normalizers
from torch import Tensor

from cai.exchange.base import PRECISIONS as TYPES
from cai.exchange.base import Called, Reopened, Source
from cai.exchange.card import model_card
from cai.exchange.chat_template import CHAT_TEMPLATE
from cai.exchange.layouts import layout_named, layout_of
from cai.exchange.weights import PAGE, WEIGHTS, read_page, read_weights
from cai.files import write_whole
from cai.generation import GenerationConfig
from cai.markup import ANSWER_END, EOS, PAD
from cai.run import TOKENIZER
from cai.tokenizer.base import Tokenizer
from cai.trainer.state import take_weights

PRECISIONS = ("float32", "float16", "bfloat16")


def refuse(source: Source) -> None:
    """Raise ``ConfigError`` if transformers has no such model, or not of this shape."""
    model = source.trained.config.model
    layout_of(model).page(model, source.trained.tokenizer)


def write(source: Source, folder: Path, precision: str) -> None:
    """The weights and small files beside ``tokenizer.json``, all written by hand: no package is needed."""
    trained = source.trained
    layout = layout_of(trained.config.model)
    weights = layout.theirs(take_weights(trained.model))
    kind = TYPES[precision]
    named = {name: tensor.to(kind).contiguous() for name, tensor in weights.items()}
    (folder / WEIGHTS).write_bytes(save(named, {"format": "pt"}))  # `save_file` makes a file that nobody else may read
    page = layout.page(trained.config.model, trained.tokenizer) | {"dtype": precision}
    write_json(folder / PAGE, page)
    write_json(folder / "generation_config.json", generation_page(source))
    write_json(folder / "tokenizer_config.json", tokenizer_page(trained.tokenizer, source.block_size))
    if (alone := normalizing(trained.tokenizer)) is not None:
        write_whole(folder / TOKENIZER, alone.to_str(pretty=True))
    for name, text in layout.files().items():
        write_whole(folder / name, text)
    write_whole(folder / "README.md", model_card(source, page))


def write_json(path: Path, page: Mapping[str, Any]) -> None:
    """Readable, Korean as it is."""
    write_whole(path, json.dumps(page, indent=2, ensure_ascii=False) + "\n")


def generation_page(source: Source) -> dict[str, Any]:
    """How ``generate()`` writes if it is told nothing: as ``cai generate``, to the end of the answer or of the window.

    Left out are the penalties: of transformers', each counts what the prompt says too.
    """
    tokenizer, options = source.trained.tokenizer, source.trained.config.generation
    return {
        "bos_token_id": tokenizer.eos_id,
        "eos_token_id": [tokenizer.eos_id, tokenizer.tag_ids[ANSWER_END]],
        "pad_token_id": tokenizer.tag_ids[PAD],
        "max_length": source.block_size,
        **_sampling(options),
    }


def _sampling(options: GenerationConfig) -> dict[str, Any]:
    if options.temperature == 0:
        return {"do_sample": False}
    given = {"do_sample": True, "temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    return given | ({"min_p": options.min_p} if options.min_p else {})


def normalizing(tokenizer: Tokenizer) -> Backend | None:
    """One that brings text to NFC by itself, as CAI does before it asks the library; ``None`` if it does so already, as all
    do but files of others (GPT-2's, Llama's)."""
    page = json.loads(tokenizer.backend.to_str())["normalizer"] or {"type": "none"}
    if "NFC" in (page["type"], *(one["type"] for one in page.get("normalizers", ()))):
        return None
    alone = Backend.from_str(tokenizer.backend.to_str())
    first, then = normalizers.NFC(), alone.normalizer
    alone.normalizer = first if then is None else normalizers.Sequence([first, then])
    return alone


def tokenizer_page(tokenizer: Tokenizer, block_size: int) -> dict[str, Any]:
    """What ``tokenizer.json`` does not say. Named is the class that both majors know: they find it by another name in 5."""
    unknown = getattr(tokenizer.backend.model, "unk_token", None)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": str(EOS),
        "eos_token": str(EOS),
        "pad_token": str(PAD),
        **({"unk_token": unknown} if unknown in tokenizer.tag_ids else {}),
        "model_max_length": block_size,
        "padding_side": "left",  # so that several prompts can be written on from
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],  # GPT-2 would add embeddings of `token_type_ids`
        "chat_template": CHAT_TEMPLATE,
    }


def reopen(folder: Path, trusted: Collection[str] = ()) -> Reopened:
    """By transformers; where it cannot be imported, by CAI, which reads the same files."""
    try:
        with quiet():
            import_module("transformers")
    except ImportError:
        return _ours(folder)
    return _Theirs(folder)


class _Theirs(Reopened):
    def __init__(self, folder: Path) -> None:
        with quiet(), code_in_passing():
            transformers = import_module("transformers")
            options = {"local_files_only": True, "trust_remote_code": "auto_map" in read_page(folder)}
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
            # Weights of fewer bits are computed with in fp32: what sums lose is not the file's doing.
            self._model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options).float().eval()
            self.by = f"transformers {transformers.__version__}"

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        logits: Tensor = self._model(torch.tensor([list(ids)])).logits[0].float()
        return logits

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        prompt = torch.tensor([list(ids)])
        kind = import_module("transformers").GenerationConfig
        # A new one: that of the folder ends at the end of an answer.
        self._model.generation_config = kind(do_sample=False, max_new_tokens=count, use_cache=True)
        with quiet():
            written = self._model.generate(prompt, attention_mask=torch.ones_like(prompt))
        found: list[int] = written[0, len(ids) :].tolist()
        return found


def _ours(folder: Path) -> Reopened:
    page = read_page(folder)
    layout = layout_named(page, "to")
    config = layout.config(page, block_size=None, dropout=0.0)
    model = config.build(vocab_size=page["vocab_size"])
    model.load_state_dict(layout.ours(read_weights(folder), config))
    by = "CAI's own reader (transformers is not installed)"
    return Called(by, Tokenizer.load(folder / TOKENIZER), model.eval())


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing of what transformers says while it loads and writes: bars, advice, warnings of its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging = import_module("transformers.utils.logging")
        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()


@contextmanager
def code_in_passing() -> Iterator[None]:
    """transformers copies the code of a folder to where it imports it from: here a place that does not outlive the block,
    so that nothing is left in the user's home, and code imported there before is not taken for it."""
    there: Any = import_module("transformers.dynamic_module_utils")

    def loaded() -> dict[str, Any]:
        return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "transformers_modules"}

    before, place = loaded(), there.HF_MODULES_CACHE
    with TemporaryDirectory() as folder:
        try:
            for name in before:
                del sys.modules[name]
            there.HF_MODULES_CACHE = folder
            yield
        finally:
            there.HF_MODULES_CACHE = place
            for name in loaded():
                del sys.modules[name]
            sys.modules.update(before)
            if folder in sys.path:
                sys.path.remove(folder)
