"""A CAI run as a model of lm-eval: ``--model cai --model_args run=...``."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from pydantic import ValidationError
from tqdm import tqdm

from cai.device import Device, DeviceConfig
from cai.errors import ConfigError
from cai.generation import GenerationConfig
from cai.harness.scoring import Pair, Score, score_pairs
from cai.markup import Part, Tag, parse_tags
from cai.runs import find_run
from cai.trained import load_trained

log = logging.getLogger(__name__)

GREEDY: Final[Mapping[str, object]] = {
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "no_repeat_ngram": 0,
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "lookup_tokens": 0,
    "show": None,
}
"""What a task gets that says nothing of how to choose: the likeliest token, and nothing that changes what is likely."""

BATCH_SIZE: Final = 32


@register_model("cai")
class CaiLM(LM):  # type: ignore[misc]
    """The model, tokenizer and generator of a run directory.

    Every text begins behind ``<eos>``, as documents did in training; a prompt stands at its own beginning, as in
    ``cai generate``. Ids are NFC's, so what a task gives is scored in NFC.
    """

    def __init__(
        self,
        run: str = "last",
        output_dir: str = "outputs",
        checkpoint: str = "best",
        parse_tags: bool = False,
        max_gen_toks: int = 256,
        seed: int = 1337,
        batch_size: int | str = BATCH_SIZE,
        device: str = "auto",
        precision: str = "fp32",
        threads: int = 0,
        trust: str = "",
        max_batch_size: object = None,
    ) -> None:
        """``parse_tags``: tags that a task's texts spell are tags, which whoever wrote the task must be trusted with.

        ``run``, ``checkpoint``, ``device``, ``precision``, ``threads`` and ``seed`` are those of ``cai generate``; ``trust``
        names packages of own components, with ``+`` between them. ``max_batch_size`` is lm-eval's, and not used. Raises
        ``ConfigError`` and ``RunError``.
        """
        super().__init__()
        self._parse_tags = parse_tags
        self._max_gen_toks = max_gen_toks
        self._seed = seed
        self._batch_size = batch_size if isinstance(batch_size, int) else BATCH_SIZE  # lm-eval's "auto"
        if self._batch_size < 1:
            raise ConfigError(f"batch_size must be positive, but is {batch_size}. Leave it out: {BATCH_SIZE}.")
        self._place = _device(device, precision, threads)
        self._place.set_up()
        self._device = self._place.torch_device
        self.directory = find_run(str(run), Path(output_dir).expanduser(), checkpoint)
        self.trained = load_trained(self.directory, checkpoint, self._place, [name for name in trust.split("+") if name])
        self.trained.model.to(self._place.parameter_dtype)
        self._warned = False

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """How likely each continuation is behind its context, and whether each token of it is the likeliest."""
        pairs = [self._pair(*request.args) for request in requests]
        return list(self._scores(pairs, disable_tqdm))

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """How likely each whole text is as a document of its own. Each of its tokens counts once."""
        begin = [self.trained.tokenizer.eos_id]
        pairs = [Pair(begin, self._encode(request.args[0])) for request in requests]
        return [score.log_probability for score in self._scores(pairs, disable_tqdm)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What is written on from each context: ``[/ANSWER]``, the end of the document or a text of ``until`` ends it."""
        texts: dict[int, str] = {}
        with tqdm(total=len(requests), desc="generate_until", disable=disable_tqdm) as bar:
            for options, alike in itertools.groupby(enumerate(requests), key=lambda pair: pair[1].args[1]):
                numbered = dict(alike)
                config, tags = self._generation(options)
                prompts = [self._parts(request.args[0], tags) for request in numbered.values()]
                generator = config.build(self.trained.model, self.trained.tokenizer)
                # A request's number among all decides its draws: repeats of one differ.
                for completion in generator.complete(prompts, self._seed, batch_size=self._batch_size, first=min(numbered)):
                    texts[completion.prompt] = completion.text
                    self.cache_hook.add_partial("generate_until", numbered[completion.prompt].args, completion.text)
                    bar.update()
        return [texts[number] for number in range(len(requests))]

    def get_model_info(self) -> dict[str, object]:
        """What lm-eval notes beside the results."""
        return {
            "run": str(self.directory),
            "checkpoint": self.trained.checkpoint,
            "tokenizer": self.trained.tokenizer.fingerprint,
            "block_size": self.trained.config.model.block_size,
            "precision": self._place.precision,
            "parse_tags": self._parse_tags,
        }

    def _scores(self, pairs: Sequence[Pair], disable_tqdm: bool) -> list[Score]:
        with tqdm(desc="loglikelihood", unit=" windows", disable=disable_tqdm) as bar:
            return score_pairs(self.trained.model, pairs, self._place, self._batch_size, bar.update)

    def _pair(self, context: str, continuation: str) -> Pair:
        """The ids of both, as one text has them where that can be cut between the two.

        lm-eval's rule: white space at the end of the context belongs to the continuation. It cuts the ids of the whole text
        after as many as the context alone has; where those are others (a token goes across, as it may from a Korean noun
        into its particle), each part is encoded alone, so that just the continuation is scored.
        """
        end = len(context.rstrip())
        context, continuation = context[:end], context[end:] + continuation
        before, whole = self._encode(context), self._encode(context + continuation)
        cut = len(before)
        targets = whole[cut:] if whole[:cut] == before else self._encode(continuation)
        return Pair(before or [self.trained.tokenizer.eos_id], targets)

    def _encode(self, text: str) -> list[int]:
        return self.trained.tokenizer.encode_parts(self._parts(text, self._parse_tags))

    def _parts(self, text: str, tags: bool) -> tuple[Part, ...]:
        read = parse_tags(text)
        if tags:
            return read
        if not self._warned and any(isinstance(part, Tag) for part in read):
            self._warned = True
            log.warning(
                "a text of the task spells a tag such as [QUESTION], which is read as ordinary text; if the task is"
                " to be trusted with tags, add parse_tags=true to the model's arguments"
            )
        return (text,)

    def _generation(self, options: Mapping[str, Any]) -> tuple[GenerationConfig, bool]:
        """lm-eval's ``generation_kwargs`` as CAI's own options, and whether tags are read."""
        rest = dict(options)
        tags = bool(rest.pop("parse_tags", self._parse_tags))
        until = rest.pop("until", None) or []
        lengths = [rest.pop(name, None) for name in ("max_gen_toks", "max_new_tokens", "max_tokens")]
        given = [length for length in lengths if length is not None]
        samples = rest.pop("do_sample", None)
        temperature = rest.pop("temperature", None)
        if samples is False or temperature is None:
            temperature = 1.0 if samples else 0.0
        changes = {
            "temperature": float(temperature),
            "stop": tuple(text for text in ([until] if isinstance(until, str) else until) if text),
            "max_new_tokens": given[0] if given else self._max_gen_toks,
        }
        try:
            return GenerationConfig.model_validate({**GREEDY, **rest, **changes}), tags
        except ValidationError as error:
            raise ConfigError(
                f"generation_kwargs of the task must be options of CAI, but are not: {_told(error)}."
            ) from None


def _device(kind: str, precision: str, threads: int) -> Device:
    # lm-eval's own program says cuda:0, whatever there is.
    options = {"type": kind.partition(":")[0], "precision": precision, "threads": threads}
    never: dict[str, object] = {"compile": False, "compile_optimizer": False, "deterministic": True, "self_test": False}
    never |= {"processes": 1, "strategy": "ddp", "cpu_offload": False}
    try:
        return DeviceConfig.model_validate(options | never).build()
    except ValidationError as error:
        raise ConfigError(f"the model's arguments must be those of cai generate, but are not: {_told(error)}.") from None


def _told(error: ValidationError) -> str:
    """Each option that is wrong, why, and its value."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} ({e['input']!r})" for e in error.errors())
