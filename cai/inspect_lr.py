"""``cai inspect lr``: which learning rates a config can be trained with, and one that is advised. (Command layer.)"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from cai.composition import HydraSession
from cai.config.looking import InspectLRConfig
from cai.config.roots import TrainConfig
from cai.inspect import divide
from cai.inspection.lr_page import write_page
from cai.inspection.lr_plot import marks, table, text_plot
from cai.inspection.lr_range import Curve, range_test, suggest, symptoms
from cai.model.base import IGNORE_INDEX
from cai.overrides import Arguments, refuse_sweep
from cai.plan import wrapped
from cai.randomness import seed_everything
from cai.tokens.batches import dataset_of
from cai.tokens.learned import learn_tokenizer
from cai.tokens.shards import build_shards
from cai.train import check_surroundings
from cai.trainer.update import Updater

log = logging.getLogger(__name__)

BELOW, ABOVE = 1e-3, 1e2
"""Of ``optimizer.lr``: where the rates begin and end, unless said otherwise."""


def main(words: Sequence[str]) -> int:
    """Raise the rate of what the words compose, as for ``train``, and print and draw what comes of it. Returns the exit
    code."""
    options, arguments = divide(words, "inspect_lr", InspectLRConfig)
    refuse_sweep(arguments, "inspect lr")
    with HydraSession("train", arguments) as session:
        config = session.jobs(TrainConfig)[0].config
    check_surroundings([config])
    updater = updater_of(config)
    lr = config.optimizer.lr
    lowest, highest = options.lowest or BELOW * lr, options.highest or ABOVE * lr
    with tqdm(total=options.steps, unit="step", disable=None, dynamic_ncols=True) as bar:

        def show(rate: float, loss: float) -> None:
            bar.set_postfix_str(f"rate {rate:.2g}, loss {loss:.3f}")
            bar.update()

        curve = range_test(updater, lr, lowest, highest, options.steps, show)
    out = Path(options.out or Path(config.output_dir) / config.name / "lr.html").expanduser()
    print(told(curve, lr, arguments, out))
    return 0


def updater_of(config: TrainConfig) -> Updater:
    """What ``train`` would update the model of ``config`` by, put together in memory. Tokenizer and shards come from the
    cache that it uses, or are left there.
    """
    device = config.device.build()
    device.set_up()
    cache = Path(config.output_dir).expanduser() / "cache"
    corpus = config.data.build()
    tokenizer = learn_tokenizer(config.tokenizer, corpus, cache)
    shards = build_shards(corpus, tokenizer, cache)
    dataset = dataset_of(corpus, shards, config.model.block_size, config.seed, IGNORE_INDEX)
    seed_everything(config.seed)
    model = config.model.build(vocab_size=tokenizer.vocab_size)
    if config.trainer.init_from is not None:
        from cai.exchange.initial import take_initial  # takes time to import, and few runs need it

        take_initial(model, config)
    model = model.to(device.torch_device, device.parameter_dtype)
    # The first number that is none ends the test, and it is no news.
    trainer = config.trainer.model_copy(update={"on_nonfinite": "stop", "detect_anomaly": False, "ema_decay": 0.0})
    schedule = config.schedule.build(config.trainer.steps(dataset.n_windows))
    return Updater(trainer, model, config.optimizer.build(model), schedule, dataset, device, seed=config.seed)


def told(curve: Curve, lr: float, arguments: Arguments, out: Path) -> str:
    """All that is said, the page at ``out`` written."""
    if not curve.losses:
        return f"the loss is no number after the first update already, at a rate of {curve.rates or 'the lowest'}."
    suggestion = suggest(curve)
    found = marks(curve, suggestion, lr)
    said = [symptom.sentence for symptom in symptoms(curve, suggestion, lr)]
    commands = []
    if (rate := suggestion.rate) is not None:
        again = arguments.again(without="optimizer.lr")
        commands = [f"cai train{again} optimizer.lr={rate:.2g}"]
        commands += [f"cai train -m{again} optimizer.lr={','.join(f'{factor * rate:.2g}' for factor in (1 / 3, 1, 3))}"]
        said.append(
            f"A short test, of {len(curve.losses)} updates: it tells the rates that work, not the best of a whole run, which"
            " may be three times lower or higher. The second command compares them."
        )
    write_page(curve, found, said, commands, out)
    lines = [f"loss after each of {len(curve.losses)} updates, by the rate of the update (optimizer.lr):", ""]
    lines += [text_plot(curve, found), "", table(found), ""]
    lines += [wrapped("note", sentence) for sentence in said]
    lines += ["", f"page       {shlex.quote(str(out))}", *["", "Go on with:"] * bool(commands)]
    return "\n".join([*lines, *(f"  {command}" for command in commands)])


if __name__ == "__main__":
    from cai.cli import run_verb

    raise SystemExit(run_verb("inspect", ["lr", *sys.argv[1:]]))
