"""What helps where that depends on more than the symptom: what stands at ``{remedy}`` in a row of the table."""

from __future__ import annotations

from typing import Final

REMEDIES: Final[dict[str, str]] = {
    # against too little memory
    "fewer_at_once": "Try trainer.micro_batch_size=auto, a smaller model.block_size, model.n_embd or model.n_layer,"
    " trainer.gradient_checkpointing=true, or device.precision=bf16.",
    "less": "Try a smaller model.block_size, model.n_embd or model.n_layer, trainer.gradient_checkpointing=true, or"
    " device.precision=bf16.",
    "smaller_batch": "Try a smaller batch_size, or device=cpu.",
    # against a loss that is no number
    "calmer": "Lower optimizer.lr by 3 to 10 times, raise schedule.warmup_steps, set trainer.grad_clip=1.0.",
    "calmer_or_skip": "Lower optimizer.lr by 3 to 10 times, raise schedule.warmup_steps, set trainer.grad_clip=1.0, or pass"
    " over such updates with trainer.on_nonfinite=skip.",
    # against a loss that does not fall
    "faster": "optimizer.lr={lr:g} is probably too low, or the run too short: `cai inspect lr` finds the rates that work.",
    "slower": "optimizer.lr={lr:g} is probably too high: `cai inspect lr` finds the rates that work.",
    "another_rate": "optimizer.lr={lr:g} is probably too high or too low: `cai inspect lr` finds the rates that work. If"
    " none does, `cai inspect data stage=rows` shows what is learned, and trainer=overfit whether anything can be.",
    # against a batch that is not learned by heart
    "learn_by_heart": "Look at optimizer.lr={lr:g} (`cai inspect lr` finds the rates that work), at model.n_layer and"
    " model.n_embd (too small for so much text?), and with `cai inspect data stage=rows` at what is learned (data.loss); or"
    " take more trainer.max_steps.",
    "learn_without_dropout": "Take model.dropout=0, as what is dropped cannot be learned by heart (it is {dropout:g}); then"
    " look at optimizer.lr={lr:g} (`cai inspect lr` finds the rates that work), or take more trainer.max_steps.",
    "other_rates": "Ask again with highest={more:.2g}; if none does it, `cai inspect data stage=rows` shows what is learned,"
    " and trainer=overfit whether anything can be.",
    # against syllables in pieces
    "korean_tokenizer": "Use a tokenizer that has learned from Korean: tokenizer=bpe tokenizer.vocab_size=8000.",
    "more_korean": "Its text gave {size:,} of the {asked:,} tokens asked for: use more Korean text.",
    "larger_vocabulary": "Try a larger tokenizer.vocab_size ({twice}), or more Korean text.",
    # against text of one form
    "more_questions": "Ask in other ways too: text of more forms, weighed with data=mix and data.weights, or"
    " data.augment.copies=2, which varies how questions end.",
    "more_answers": "Use text with other answers too, weighed with data=mix and data.weights, or leave out what comes again:"
    " data.clean.duplicates=exact.",
    "more_forms": "Use text of other forms too, weighed with data=mix and data.weights, or with data.balance_by and"
    " data.max_repeats by a field of records.",
    # against loops
    "penalty": "generation.repetition_penalty=1.2",
    "no_ngram": "generation.no_repeat_ngram=4",
    "penalty_or_no_ngram": "generation.repetition_penalty=1.2 or generation.no_repeat_ngram=4",
    "bolder": "generation=creative",
    # against wandering
    "surer": "Try generation=precise or generation=greedy; if that is no better, train longer (trainer.max_steps).",
    "surest": "Try generation=greedy; if that is no better, train longer (trainer.max_steps).",
    "likeliest": "It is the likeliest text already: train longer (trainer.max_steps), or on more text.",
}
"""By name."""
