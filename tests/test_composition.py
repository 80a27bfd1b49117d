"""From the words of a command line to one typed config, or to one message with every problem."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import cai
from cai.composition import compose
from cai.errors import ConfigError
from cai.resources import conf_folder


def refuse(*overrides: str, root: str = "train") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compose(overrides, root=root)
    return list(caught.value.problems)


def at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def test_without_overrides_the_config_is_what_the_yamls_say() -> None:
    config = compose()
    kinds = {name: type(getattr(config, name)).__name__ for name in ("model", "data", "tokenizer", "optimizer", "schedule")}
    assert kinds == {
        "model": "ModernConfig",
        "data": "ContactsConfig",
        "tokenizer": "BPEConfig",
        "optimizer": "MuonConfig",
        "schedule": "LinearConfig",
    }
    assert (config.name, config.seed, config.output_dir) == ("run", 1337, "outputs")
    assert isinstance(config.optimizer.betas, tuple)


@pytest.mark.parametrize(
    "text",
    [
        "서울시청 전화번호, 주소",
        "[QUESTION]",
        "~/a.txt",
        "a=b=c",
        "../데이터/a (1).txt",
        "${seed}",
        "${nope}",
        "${",
        "\\${x}",
        "it's",
        "a\\",
        "null",
        "???",
        "1e-4",
        "{a: 1}",
        "choice(1,2)",
        "줄\n줄",
    ],
)
@pytest.mark.parametrize(("root", "key"), [("generate", "question"), ("train", "data.path")])
def test_a_text_reaches_the_config_as_it_was_typed(root: str, key: str, text: str) -> None:
    group = ["data=text"] if root == "train" else []
    assert at(compose([*group, f"{key}={text}"], root=root), key) == text


@pytest.mark.parametrize("name", ["실험1", "a=b", "lr 3e-4", "a,b", "1e-4", "null", "true"])
def test_a_name_is_a_text_too(name: str) -> None:
    assert compose([f"name={name}"]).name == name


@pytest.mark.parametrize(
    ("overrides", "path", "value"),
    [
        ("optimizer.lr=3e-4", "optimizer.lr", 3e-4),
        ("optimizer.eps=1e-8", "optimizer.eps", 1e-8),
        ("optimizer.betas=[0.8,0.9]", "optimizer.betas", (0.8, 0.9)),
        ("optimizer.betas=[0.8,0.9] optimizer.betas.1=0.99", "optimizer.betas", (0.8, 0.99)),
        ("trainer.eval_max_tokens=100", "trainer.eval_max_tokens", 100),
        ("trainer.micro_batch_size=auto", "trainer.micro_batch_size", "auto"),
        ("+seed=3", "seed", 3),
        ("++seed=3", "seed", 3),
        ("model.block_size=64 model.n_embd=${model.block_size}", "model.n_embd", 64),
        ("trainer.grad_clip=1", "trainer.grad_clip", 1.0),
        ("~experiment", "name", "run"),
    ],
)
def test_an_override_sets_its_option(overrides: str, path: str, value: object) -> None:
    assert at(compose(overrides.split()), path) == value


def test_order_does_not_decide_between_a_choice_and_an_option() -> None:
    mini = compose(["model=gpt2_mini"]).model
    for words in (["model.n_layer=2", "model=gpt2_mini"], ["model=gpt2_mini", "model.n_layer=2"]):
        assert compose(words).model == mini.model_copy(update={"n_layer": 2})


def test_of_two_values_for_one_option_the_last_counts() -> None:
    assert compose(["seed=1", "seed=2"]).seed == 2


def test_what_is_typed_is_stronger_than_an_experiment() -> None:
    config = compose(["experiment=cai_m4", "model=gpt2_mini", "optimizer.lr=1e-3", "name=mine"])
    assert (config.model, config.optimizer.lr, config.name) == (compose(["model=gpt2_mini"]).model, 1e-3, "mine")
    assert config.trainer.max_steps == 20_000


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("trainer.max_step=3", ["`trainer.max_step`", "TrainerConfig", "Did you mean trainer.max_steps?"]),
        ("model=gpt2 model.n_layers=3", ["`model.n_layers`", "GPT2Config", "Did you mean model.n_layer?"]),
        ("++model.n_layers=3", ["`model.n_layers`", "Did you mean model.n_layer?"]),
        ("n_layer=3", ["`n_layer`", "Did you mean model.n_layer?"]),
        ("modle.n_layer=3", ["`modle", "Did you mean model"]),
        ("optimiser.lr=1", ["`optimiser", "Did you mean optimizer"]),
        ("x=3", ["`x`", "There are: name, seed"]),
        ("model=gtp2", ["`model`", "gpt2_mini", "but is gtp2", "Did you mean gpt2?"]),
        ("experiment=cai_m3", ["`experiment`", "but is cai_m3", "Did you mean cai_m4?"]),
        ("model.n_layer=4.5", ["`model.n_layer`", "a whole number", "but is 4.5"]),
        ("model.n_layer=4.0", ["`model.n_layer`", "a whole number", "but is 4.0", "Try 4."]),
        ("model.n_layer=true", ["`model.n_layer`", "a whole number", "but is True"]),
        ("optimizer.lr=fast", ["`optimizer.lr`", "a number", "but is 'fast'"]),
        ("optimizer.lr=nan", ["`optimizer.lr`", "finite", "but is nan"]),
        ("optimizer.lr=-inf", ["`optimizer.lr`", "finite", "but is -inf"]),
        ("optimizer.betas=[0.9]", ["`optimizer.betas`", "more values", "[0.9]"]),
        ("optimizer.betas.1=2", ["`optimizer.betas.1`", "less than 1", "but is 2"]),
        ("optimizer.betas.x=2", ["`optimizer.betas"]),
        ("optimizer.betas.5=0.5", ["`optimizer.betas"]),
        ("seed.x=2", ["`seed`", "a whole number"]),
        ("data.split=hsh", ["`data.split`", "'hash' or 'tail'", "but is 'hsh'", "Did you mean hash?"]),
        ("seed=-1", ["`seed`", "at least 0", "but is -1"]),
        ("~model.n_layer", ["`model.n_layer`", "must be given", "model.n_layer=<value>"]),
        ("~model", ["`model`", "model="]),
        ("model=null", ["`model`", "gpt2_mini"]),
        ("experiment=null", ["`experiment`", "cai_m4"]),
        ("model={n_layer:1}", ["`model`", "gpt2_mini"]),
        ("name=${seed}", ["`name`", "one folder", "but is '${seed}'"]),
        ("data=text", ["`data.path`", "must be given", "data.path=<value>"]),
        ("name=a/b", ["`name`", "one folder", "but is 'a/b'", "Try name=my_run"]),
        ("model.n_layer=${nope}", ["model.n_layer", "nope"]),
        ("model.n_layer=[1,2", ["`model.n_layer=[1,2`", "cannot be read", "quotes"]),
        ("optimizer.lr=1e-3,3e-3", ["`optimizer.lr`", "one value", "1e-3,3e-3", "add -m", "[1e-3,3e-3]"]),
        ("model=gpt2,gpt2_mini", ["`model`", "one value", "gpt2,gpt2_mini", "add -m"]),
        ("seed=range(1,4)", ["`seed`", "one value", "range(1,4)", "add -m"]),
        (
            "model=gpt2 model.n_head=4 model.n_embd=101",
            ["model.n_embd", "a multiple of model.n_head (4)", "but is 101", "Try 100 or 104."],
        ),
        ("trainer.max_steps=9 trainer.max_epochs=2", ["trainer.max_steps and trainer.max_epochs", "9 and 2.0", "to null"]),
        ("hydra.job.chdr=true", ["`hydra.job.chdr`", "Did you mean hydra.job.chdir?"]),
        ("hydra/launcher=joblib", ["hydra/launcher", "joblib", "basic"]),
        ("hydra=x", ["hydra"]),
    ],
)
def test_a_mistake_is_one_problem_with_path_rule_value_and_remedy(overrides: str, parts: list[str]) -> None:
    (problem,) = refuse(*overrides.split())
    for part in parts:
        assert part in problem


def test_an_option_of_a_component_without_options_is_not_answered_with_an_empty_list() -> None:
    (problem,) = refuse("tokenizer=char", "tokenizer.vocab_size=300")
    assert "`tokenizer.vocab_size`" in problem
    assert "CharConfig" in problem
    assert "There are: ." not in problem


@pytest.mark.parametrize("path", ["grad_accum_steps", "trainer.grad_accum_steps", "model.grad_accum_steps"])
def test_a_derived_quantity_is_explained_wherever_it_is_typed(path: str) -> None:
    (problem,) = refuse(f"{path}=4")
    for part in (f"`{path}`", "derived", "trainer.batch_size", "trainer.micro_batch_size"):
        assert part in problem


def test_all_problems_are_told_at_once() -> None:
    text = "\n".join(
        refuse(
            *("model=gtp2", "optimizer.lr=fast", "trainer.max_step=3", "trainer.batch_size=true", "seed=-1"),
            *("data.val_ratio=2", "device.type=gpu", "schedule.warmup=3", "x=1", "word", "[", "generation.top_k=1,2"),
        )
    )
    for path in (
        *("`model`", "`optimizer.lr`", "`trainer.max_step`", "`trainer.batch_size`", "`seed`", "`data.val_ratio`"),
        *("`device.type`", "`schedule.warmup`", "`x`", "`word`", "`[`", "`generation.top_k`"),
    ):
        assert text.count(path) == 1


def test_a_wrong_value_does_not_hide_an_impossible_combination() -> None:
    text = "\n".join(
        refuse(
            "model.n_layer=x",
            "model.n_embd=101",
            "model.n_head=4",
            "trainer.keep=-1",
            "trainer.patience=3",
            "trainer.eval_every=0",
        )
    )
    for part in ("`model.n_layer`", "model.n_embd must be a multiple", "`trainer.keep`", "trainer.patience"):
        assert part in text


def test_a_wrong_choice_does_not_make_its_options_wrong() -> None:
    assert len(refuse("data=txt", "data.path=x.txt")) == 1
    assert len(refuse("schedule=constnt", "schedule.min_lr_ratio=0.1", "seed=-1")) == 2


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ([], ["exactly one of question, prompt, file", "there is none", "cai generate"]),
        (["question=a", "prompt=b"], ["exactly one of question, prompt, file", "there are question and prompt"]),
        (["prompt=a", "doc=b"], ["doc goes with question"]),
        (["question=a", "checkpoint=newest"], ["`checkpoint`", "best|last", "but is 'newest'"]),
        (["question=a", "generation.temprature=1"], ["`generation.temprature`", "Did you mean generation.temperature?"]),
        (["question=a", "model.n_layer=1"], ["`model", "no such option"]),
    ],
)
def test_generate_has_rules_of_its_own(overrides: list[str], parts: list[str]) -> None:
    text = "\n".join(refuse(*overrides, root="generate"))
    for part in parts:
        assert part in text


def test_a_composed_config_cannot_be_changed() -> None:
    config = compose()
    for target, name in ((config, "seed"), (config.model, "n_layer"), (config.trainer, "max_steps")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(target, name, 1)


@pytest.mark.slow
def test_it_can_be_called_again_and_again_from_the_package() -> None:
    code = "import cai, cai.train; a, b = cai.compose(['seed=1']), cai.compose(['seed=2']); print(a.seed, b.seed)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("1 2\n", 0), done.stderr
    assert cai.compose(["seed=3"]).seed == 3


def test_a_notebook_that_uses_hydra_itself_does_not_disturb() -> None:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert compose(["seed=1"]).seed == 1
    assert not GlobalHydra.instance().is_initialized()
