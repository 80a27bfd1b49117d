"""Rows of the table: checkpoints, prompts, and the texts that are written."""

from __future__ import annotations

from typing import Final

from cai.symptoms.symptom import Symptom

OF_TEXTS: Final[dict[str, Symptom]] = {
    # -- a checkpoint
    "other_shape": Symptom(
        "{source} must hold weights of the configured model, but does not: {differing}.",
        "Take the checkpoint and config.yaml from the same run.",
        "A checkpoint does not load",
    ),
    # -- a prompt, a text
    "long_prompt": Symptom(
        "the prompt has {length} tokens, but the model sees {block_size} (model.block_size): all but its last {kept} are"
        " cut off.",
        "Shorten doc=.",
        "The text wanders",
    ),
    "no_questions": Symptom(
        "this run's text had no questions; it does not know their form.", "Try prompt=...", "The text wanders"
    ),
    "untrained": Symptom(
        "this run's val/loss is {loss:.2f}, and to know no more than how frequent each token is gives {floor:.2f}: its texts"
        " will wander.",
        "Train longer (trainer.max_steps), or see with `cai inspect run run=...` what is wrong.",
        "The text wanders",
    ),
    "repeats": Symptom("the text repeats itself ({fact}).", "Try {remedy}.", "The text repeats itself"),
    "unfinished": Symptom(
        "the answer was cut off at generation.max_new_tokens={limit}, before its [/ANSWER].",
        "Try generation.max_new_tokens={more}.",
        "[ANSWER] is not closed",
    ),
    "broken": Symptom("the text has {count} characters that are none (�).", "{remedy}", "The text wanders"),
    "sections": Symptom(
        "the answer has not all its sections, once and in order, but {found}.", "{remedy}", "The text wanders"
    ),
    "invented": Symptom("the answer gives what stands nowhere in the document: {values}.", "{remedy}", "The text wanders"),
    "surprising": Symptom(
        "the text wanders: its tokens are less likely to the model itself ({drawn:.1f} nats each) than those of the"
        " validation text ({usual:.1f}).",
        "{remedy}",
        "The text wanders",
    ),
}
"""By name."""
