"""Rows of the table: the tokenizer, the text, and the curve of a training."""

from __future__ import annotations

from typing import Final

from cai.symptoms.symptom import Symptom

OF_TRAINING: Final[dict[str, Symptom]] = {
    # -- the tokenizer
    "split": Symptom(
        "{share:.0%} of the Hangul syllables are split into bytes: Korean takes more tokens than it should and is harder to"
        " learn.",
        "{remedy}",
        "Korean falls into pieces",
    ),
    "unknown": Symptom(
        "{share:.2%} of the characters are outside the tokenizer's alphabet and become unknown tokens.",
        "Use tokenizer=bpe, which knows every text, or train on text that has them.",
        "Many unknown tokens",
    ),
    "unknown_in_val": Symptom(
        "{share:.2%} of the validation text is outside the alphabet of the train text and became <unk>.",
        "Use tokenizer=bpe, which knows every text, or more text.",
        "Many unknown tokens",
    ),
    "tokenizer_missing": Symptom(
        "{option} must name a tokenizer.json, but {path} cannot be read ({reason}). Paths count from {folder};",
        "give the file of another run or program, or train one: tokenizer=bpe.",
        "The tokenizer is missing",
    ),
    "run_without_tokenizer": Symptom(
        "the tokenizer must lie at {path}, but there is no such file.",
        "Copy the whole run directory, that file with it: without it the weights mean nothing. Or train anew: cai train",
        "The tokenizer is missing",
    ),
    # -- the text
    "large_model": Symptom(
        "{parameters:.1f} M parameters are many for {tokens:.2f} M tokens, which they will learn by heart:",
        "a smaller model (model=..._nano), model.dropout=0.1, or more text",
        "Too little data",
    ),
    "few_epochs": Symptom(
        "{usual} usual for {tokens:.1f} M tokens:",
        "trainer.max_epochs={least}, if there is time",
        "Too little data",
    ),
    "many_epochs": Symptom(
        "{usual} usual for {tokens:.1f} M tokens;",
        "beyond that watch val/loss, which rises when text is learned by heart",
        "Too little data",
    ),
    "one_form": Symptom(
        "{share:.0%} of the {count:,} {what} looked at {how} {form!r}: in other forms the model will be worse.",
        "{remedy}",
        "Only one form comes out well",
    ),
    "absent": Symptom(
        "{share:.0%} of the {count:,} answers looked at say «{label}: {value}»: the model will say nothing else.",
        "Use records that have it (their field is data.fields), or text that has, weighed with data=mix and data.weights.",
        "Only one form comes out well",
    ),
    # -- the curve of a training
    "never_warm": Symptom(
        "schedule.warmup_steps ({warmup}) is not below the number of steps ({steps}): the learning rate never gets past its"
        " warmup.",
        "Try schedule.warmup_steps={less}.",
        "The loss does not fall",
    ),
    "stuck": Symptom(
        "step {step}: train/loss is {loss:.3f}, and to know no more than how frequent each token is gives {floor:.3f}:"
        " nothing else has been learned.",
        "{remedy}",
        "The loss does not fall",
    ),
    "nonfinite": Symptom(
        "{which} must be a finite number, but is {value} {when}.{more}",
        "{remedy} trainer.detect_anomaly=true names the operation that it begins in. Checkpoints saved before are intact.",
        "The loss is NaN or infinite",
    ),
    "spike": Symptom(
        "step {step}: train/loss {loss:.4f} is a spike: the last {recent} were {mean:.4f} ± {deviation:.4f}.",
        "If spikes come often, lower optimizer.lr or trainer.grad_clip.",
        "The loss is NaN or infinite",
    ),
    "spikes": Symptom(
        "{count} logged losses stood far above those before them: spikes at step {steps}.",
        "Lower optimizer.lr or trainer.grad_clip if they come often.",
        "The loss is NaN or infinite",
    ),
    "skipped": Symptom(
        "{count} updates were passed over, as their loss or gradient was no finite number (trainer.on_nonfinite=skip).",
        "{remedy}",
        "The loss is NaN or infinite",
    ),
    "overfitting": Symptom(
        "step {step}: val/loss has risen to {val:.4f} from {best:.4f} (step {best_step}), while train/loss is {train:.4f}:"
        " the text is being learned by heart.",
        "Try model.dropout=0.1, a larger optimizer.weight_decay, more text, or a smaller model; trainer.patience=3 stops in"
        " time. The best weights are kept as `best`.",
        "Too little data",
    ),
    "stopped_early": Symptom(
        "stopped at step {step:,} of {steps:,}, as val/loss improved no more after step {best_step:,} (trainer.patience).",
        "The best weights are kept as `best`; more text, model.dropout=0.1 or a larger trainer.patience may get further.",
        "Too little data",
    ),
    "failed": Symptom("the run failed: {error}", "Its train.log has the traceback.", "A run fails"),
    # -- looks at the learning: one batch by heart, a range of rates
    "not_by_heart": Symptom(
        "the loss of {what}, learned again and again for {steps:,} steps, must come near zero (below {near:g}), but is"
        " {loss:.4f}.",
        "{remedy}",
        "The loss does not fall",
    ),
    "rate_too_low": Symptom(
        "optimizer.lr={lr:g} is below the useful range, {lowest:.2g} to {highest:.2g}: the loss would hardly fall.",
        "Try optimizer.lr={better:.2g}.",
        "The loss does not fall",
    ),
    "rate_too_high": Symptom(
        "optimizer.lr={lr:g} is above the useful range, {lowest:.2g} to {highest:.2g}: the loss would not settle.",
        "Try optimizer.lr={better:.2g}.",
        "The loss does not fall",
    ),
    "no_rate": Symptom(
        "at no rate from {lowest:.2g} to {highest:.2g} did the loss fall by more than {share:.1%}: it was {start:.3f} and"
        " came to {least:.3f}.",
        "{remedy}",
        "The loss does not fall",
    ),
    "rate_beyond": Symptom(
        "the loss was still falling at the highest rate, {highest:.2g}.",
        "Ask again with highest={more:.2g}.",
        "The loss does not fall",
    ),
}
"""By name."""
