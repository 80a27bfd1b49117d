"""``cai <verb> --help``: examples first, then every option as its YAML documents it. Reads text, imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from cai.config.comments import sheets_for
from cai.resources import conf_folder

VERB_EXAMPLES = {
    "train": """\
Train a small GPT. Without arguments: the embedded corpus, minutes on two CPU cores.

  cai train
  cai train trainer=smoke                                 seconds, to see that everything runs
  cai train data=text data.path=my.txt                    your own text: a file, a folder or a glob
  cai train model=modern_mini optimizer.lr=0.01 trainer.max_steps=2000
  cai train experiment=cai_m4 data=text data.path=my/     a recipe
  cai train trainer.init_from=outputs/run/2026-01-01_00-00-00 data=text data.path=my.txt   goes on from that run's weights
  cai train model=from_pretrained model.path=hf_folder model.block_size=256   fine-tunes a GPT-2, Llama or Qwen3
  cai train -m model.n_layer=4,6 optimizer.lr=0.01,0.04   a sweep: one run for each combination
  cai train --config-dir my_conf model=mine trust=my_package   your own YAML and class

A group is chosen by name (group=choice), an option set by its path (group.option=value); below are those of what is chosen
here. All of them: docs/configuration.md""",
    "generate": """\
Write on from a question or a prompt with a trained run.

  cai generate run=last question="가온솔병원 전화번호 알려줘" doc="가온솔병원 전화 02-2345-6789"
  cai generate run=outputs/run/2026-01-01_00-00-00 prompt="[QUESTION]" generation=creative
  cai generate run=last prompt="태초에" generation.temperature=0 generation.max_new_tokens=100
  cai generate run=last prompt="태초에" samples=3                    three texts, under headings
  cai generate run=last prompt="태초에" generation.show=top5         each token with the five likeliest
  cai generate run=last file=questions.jsonl out=answers.jsonl     in batches; after a kill the same command goes on
  cai generate run=last interactive=true                           questions at the terminal; /help there tells more

question= and doc= build the training prompt; prompt= is taken as it stands, tags included. A line of file= is an object
with "prompt", or with "question" and perhaps "doc". What helps when a text repeats itself, wanders or is cut off is said
after it. All of it: docs/generate.md""",
    "evaluate": """\
How good is a run? Likelihood of the validation text, and scores of its answers to questions, field by field.

  cai evaluate run=last
  cai evaluate run=last data=text data.path=other.txt              other data: its validation part
  cai evaluate run=last file=questions.jsonl                       questions of your own: question, context, answers
  cai evaluate run=last answers=0 stride=64                        likelihood alone, in a window that slides by 64 tokens
  cai evaluate run=last checkpoint=last likelihood=false answers=1000 batch_size=64

A table goes to standard output; everything, every answer with its judgement included, to evaluations/<date_time>.json in the
run, or to out=. What each figure means and how it is counted: docs/evaluate.md""",
    "compare": """\
Runs side by side: what they differ in and what it came to, the best first; runs that differ only in seed as their mean.

  cai compare outputs/run/2026-01-01_00-00-00                     the jobs of a sweep, finished or not
  cai compare outputs                                              every run there is
  cai compare outputs/run/one outputs/run/other sort=tokens_per_sec
  cai compare 'outputs/depth/*' out=comparison                     a glob; where the files go
  cai compare outputs/run/2026-01-01_00-00-00 record=experiments/depth   what was learnt, to be kept

The table shows only options that differ. All runs with all options and figures are in compare.csv and compare.json, curves
and samples in report.html, which opens offline. It says where the comparison is not fair. All of it: docs/compare.md""",
    "resume": """\
Go on with a run in its own directory, from its last whole checkpoint, as if it had never stopped.

  cai resume outputs/run/2026-01-01_00-00-00
  cai resume last
  cai resume outputs/run/2026-01-01_00-00-00 trainer.max_steps=2000   more steps; the schedule is computed anew from there
  cai resume copied_run data.path=elsewhere/my.txt                    the same text in another place

May change: device.*, trainer.micro_batch_size, trainer.*_every, trainer.keep, trainer.answers, trainer.on_nonfinite, paths
of the same content; more trainer.max_steps or max_epochs. Anything else would make it another run and is refused.
Exit code 0: the run is finished, by now or already. 143 or 130: stopped by SIGTERM or Ctrl-C, after a save.""",
    "reproduce": """\
Run a saved config again in a new directory and compare config, data, code, environment and every loss.

  cai reproduce outputs/run/2026-01-01_00-00-00
  cai reproduce last reproduce.check_only=true                    config, data, code and environment, without training
  cai reproduce copied_run data.path=elsewhere/my.txt             the same text in another place
  PYTHONPATH=copied_run/code cai reproduce copied_run trust=my_package   with the components it was trained with

Exit code 0: all losses are equal to the bit. 3: within reproduce.tolerance. 4: they part; it says where and how far.""",
    "list": """\
Runs and sweeps, newest first: status, step, best validation loss, size on disk.

  cai list
  cai list outputs/my_runs                                a folder of runs
  cai list outputs/run/2026-01-01_00-00-00                a sweep: its jobs one by one
  cai list clean=true                                     offers to delete failed runs and unused caches, and asks first

A run that no process is writing any more is `interrupted`, whatever it said last. clean=true names all that it would delete;
never a run that is running, and what holds a checkpoint to go on from is said. Without a terminal nothing is deleted.""",
    "board": """\
TensorBoard over the outputs: curves, samples, hyperparameters, histograms. Ctrl-C ends it.

  cai board
  cai board outputs/run/2026-01-01_00-00-00               one run, or one sweep
  cai board port=6007 open=true                           another port, and a browser

Which tab shows what: docs/tensorboard.md""",
    "tune": """\
Search over options: Optuna proposes values, every trial is an ordinary run, those that do badly are pruned.

  cai tune 'optimizer.lr=tag(log,interval(1e-3,1e-1))' 'model.n_layer=choice(4,6,8)'
  cai tune 'schedule.warmup_steps=range(0,100,20)' schedule=cosine,linear tune.trials=50 tune.jobs=2
  cai tune 'model.n_layer=interval(2,8)' tune.study=depth             the folder is outputs/run/tune_depth
  cai tune --config-dir my_conf experiment=my_search                  what is searched stands in a YAML, as tune.space
  cai tune 'optimizer.lr=interval(0.001,0.1)' tune.metric=answers/tel  judged by answers instead of bits per byte

After a kill, Ctrl-C or with a larger tune.trials the same command goes on. Takes all groups and options of `cai train`; what
has several values is searched. Exit code 0: all trials have ended, one of them well. All of it: docs/tune.md""",
    "export": """\
A trained run for other programs, in a folder of its own, compared with the original before it is there.

  cai export run=last to=huggingface                      transformers, offline; gpt2, llama and qwen3 without code of ours
  cai export run=last to=safetensors out=my_model         for CAI itself: cai generate run=my_model question="..."
  cai export run=last to=onnx                             ONNX Runtime, with and without a cache (pip install "cai[onnx]")
  cai export run=last to=gguf precision=q8_0              llama.cpp (pip install "cai[gguf]")
  cai export run=last to=torch_export checkpoint=average:3   the mean of the three newest checkpoints

Compared are the tokens of texts, the logits, and what is written greedily; an export that differs is not kept. How each is
used: docs/deploy.md""",
    "prepare": """\
Learn the tokenizer and write the token shards that `cai train` with the same words would, and print a report.

  cai prepare data=text data.path=my/ tokenizer=bpe tokenizer.vocab_size=8000
  cai prepare -m data=text data.path=my/ tokenizer=bpe tokenizer.vocab_size=4000,8000
  cai prepare data=text data.path=my/ prepare.out=s3://bucket/corpus                       for data=prepared, anywhere
  cai prepare data=text data.path=my/ prepare.out=s3://bucket/corpus prepare.shard=3/64    a part, on each of 64 machines

Takes all groups and options of `cai train`. A preparation that is killed goes on where it was. All of it: docs/scale.md""",
    "inspect": """\
A look inside: at what goes into a run, and at what came of it.

  cai inspect tokenizer run=last text="가온솔병원 전화 02-2345-6789"        a run's, over its validation text
  cai inspect tokenizer path=tokenizer.json text="안녕하세요" ids=true     a file's, also of another program
  cai inspect tokenizer -m tokenizer.vocab_size=2000,8000 tokenizer=bpe data=text data.path=my.txt   a table
  cai inspect data data=text data.path=my.txt stage=rows count=5          stages: read, cleaned, varied, tokens, rows
  cai inspect model model=gpt2_cai                                        shapes, parameters, FLOPs, memory of training
  cai inspect lr data=text data.path=my.txt tokenizer=bpe                 which learning rates work: a plot, and one advised
  cai inspect gradients run=last                                          by parameter, with update-to-weight ratios
  cai inspect attention run=last prompt="옛날에"                            maps of all heads, as a page and a picture
  cai inspect checkpoint run=last checkpoint=best                         what is inside
  cai inspect run run=last                                                how it went
  cai inspect options out=docs                                            every option, and schemas for an editor

Without run= and path=, tokenizer, data, model and lr take all groups and options of `cai train`; what is learned is found
again by `cai train`. cai inspect <subject> --help has the options of one.""",
    "doctor": """\
What this machine can do, whether it computes rightly, and how long a config takes on it. Or what is wrong with a run.

  cai doctor                                              machine, self-test of attention, update and cache; the default run
  cai doctor model=gpt2_cai trainer.max_steps=20000       how long that would take, in what memory
  cai doctor device=mps                                   another device
  cai doctor run=last                                     what went wrong in a run, and which option helps
  cai doctor verify=true                                  everything, and a short train, kill, resume, generate and export:
                                                          verify.json is a file to send back from a GPU or a Mac

Takes all groups and options of `cai train`. Exit code 0: all is well; 1: a test has failed, or the config takes more
memory than is free.""",
}


def verb_help(verb: str, words: Sequence[str] = ()) -> str:
    """What ``cai <verb> --help`` prints. Other words may stand beside it: what ``cai inspect`` looks at, choices, and where
    YAMLs of one's own lie; what is chosen is shown in the place of what would be."""
    parts = [VERB_EXAMPLES[verb]]
    sheets, subject = sheets_for(words), words[0] if verb == "inspect" and words else ""
    root = f"{verb}_{subject}" if sheets.find(f"{verb}_{subject}") else verb
    if sheet := sheets.find(root):
        groups = {group: choice for group, choice in sheet.groups.items() if "/" not in group}
        choices = "\n".join(f"  {group:<12}{', '.join(sheets.choices(group))}" for group in groups)
        parts += [f"Groups and their choices:\n\n{choices}"] * bool(groups)
        text = (conf_folder() / f"{root}.yaml").read_text(encoding="utf-8")
        parts.append("Options:\n\n" + "\n".join(f"  {line}" for line in text.rpartition("\n\n")[2].splitlines()))
        chosen = (word.partition("=")[::2] for word in words)
        groups |= {group: choice for group, choice in chosen if group in groups and sheets.find(f"{group}/{choice}")}
        for group, choice in groups.items():
            if choice != "null":
                options = sheets.options(f"{group}/{choice}").values()
                lines = (f"  {option.line}" for option in options if option.path != "_target_")
                parts.append(f"{group}={choice}\n\n" + "\n".join(lines))
    return "\n\n".join(parts)
