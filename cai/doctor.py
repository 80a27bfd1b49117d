"""``cai doctor``: what a machine can do, whether it computes rightly, how long a config takes; what is wrong with a run."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("doctor"))

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from cai.columns import one_line, pad, width
from cai.composition import HydraSession
from cai.config.looking import InspectRunConfig
from cai.config.roots import DoctorConfig, TrainConfig
from cai.device import Device
from cai.diagnosis import advice
from cai.diagnosis.expected import size_up, try_out
from cai.diagnosis.machine import Machine, Speed, look_at, measure
from cai.diagnosis.telling import rows_of_machine, rows_of_size, rows_of_speed, rows_of_trial
from cai.errors import ConfigError
from cai.inspection.lines import NAMES, named
from cai.overrides import Arguments, parse_arguments, refuse_sweep
from cai.symptoms.table import Told

OF_A_RUN = ("run", "output_dir")
"""Options that ``run=`` goes with."""

FAILED = (
    "this device does not compute what its precision allows: a model that is trained on it may learn wrongly without a"
    " sign. Try device.precision=fp32, another version of PyTorch, or device=cpu. `cai doctor verify=true` writes a file for"
    " a report."
)


def main(words: Sequence[str]) -> int:
    """The ``doctor`` verb. Returns the exit code: 1 if a test has failed or the config takes more memory than is free."""
    arguments = parse_arguments(words)
    refuse_sweep(arguments, "doctor")
    with HydraSession("doctor", arguments) as session:
        options = session.jobs(DoctorConfig)[0].config
    if options.run is not None:
        return look_at_run(options.run, options.output_dir, arguments)
    asked, config = options.of_a_run(), options.of_one_process()
    machine, device, speed = look_at_machine(config)
    if options.verify:
        from cai.verify import verify

        facts = asdict(machine) | {"speed": asdict(speed)}
        code: int = verify(asked, facts, Path(options.out or "verify.json").expanduser(), arguments.trusted)
        return code
    found = [*advice.of_machine(machine), *advice.of_speed(device, machine, speed)]
    passed = tested(device)
    several = asked.device.processes > 1
    print(f"\nthis config{', in one process alone' * several}", flush=True)
    try:
        fits = look_at_config(config, machine, device, speed, found)
    finally:  # a trial may run out of memory
        if options.gpus or several:
            look_at_gpus(asked)
        show_advice(found)
    return 0 if passed and fits else 1


def look_at_machine(config: TrainConfig) -> tuple[Machine, Device, Speed]:
    """Show what is there. Raises ``ConfigError``, after that, if the device asked for is not."""
    output_dir = Path(config.output_dir).expanduser()
    print("machine")
    try:
        device = config.device.build()
    except ConfigError:
        machine = look_at(config.device, output_dir)
        show(rows_of_machine(machine))
        show_advice(advice.of_machine(machine))
        raise
    device.set_up()
    machine = look_at(config.device, output_dir)
    show(rows_of_machine(machine))
    speed = measure(device)
    show(rows_of_speed(speed))
    return machine, device, speed


def tested(device: Device) -> bool:
    """Show the self-test of the device. Whether all of it passed."""
    from cai.diagnosis.numerics import self_test

    print(f"\nself-test of {device.type} against float64 on the CPU", flush=True)
    checks = self_test(device)
    room = max(width(check.name) for check in checks)
    for check in checks:
        print(f"  {'passed' if check.passed else 'FAILED':<{NAMES - 2}}{pad(check.name, room)}  {check.detail}")
    passed = all(check.passed for check in checks)
    if not passed:
        show([("means", FAILED)])
    return passed


def look_at_config(config: TrainConfig, machine: Machine, device: Device, speed: Speed, found: list[Told]) -> bool:
    """Show what a config takes, by trial steps if there is the memory for them. Adds what is to be said of it to ``found``.

    Whether there is.
    """
    size = size_up(config, device)
    show(rows_of_size(config, device, size))
    found += advice.of_size(config, device, machine, size)
    if not size.fits:
        show([("trial", "none, as there is not the memory for it")])
        return False
    trial = try_out(config, device, size)
    show(rows_of_trial(config, device, size, trial, speed))
    found += advice.of_trial(device, size, trial, speed)
    return True


def look_at_gpus(config: TrainConfig) -> None:
    """Show what a config would take on GPUs that are not at hand, as many as ``device.processes``."""
    from cai.diagnosis.scaling import Workload
    from cai.diagnosis.telling_gpus import lines_of_gpus, rows_of_assumptions

    processes = config.device.processes
    print(f"\non {processes} GPU{'s of a kind' * (processes > 1)} (estimates: nothing was run there)", flush=True)
    work = Workload(config)
    print(*lines_of_gpus(work, processes), sep="\n")
    show(rows_of_assumptions(work, processes))


def look_at_run(name: str, output_dir: str, arguments: Arguments) -> int:
    """Show what can be seen to be wrong with a run."""
    keys = [word.lstrip("+").partition("=")[0] for word in arguments.typed]
    if others := [key for key in keys if key not in OF_A_RUN]:
        raise ConfigError(
            [f"`{key}` must be left out with run=..., which has a config of its own, but is given." for key in others]
        )
    from cai.entry import read_entry
    from cai.inspect_run import directory_of, symptoms
    from cai.list import state

    directory = directory_of(InspectRunConfig(run=name, output_dir=output_dir))
    print(one_line(f"{directory}: {state(read_entry(directory))}"))
    print("\n".join(symptoms(directory)))
    return 0


def show_advice(found: Iterable[Told]) -> None:
    sentences = list(dict.fromkeys(told.sentence for told in found))
    print()
    show([("advice", sentence) for sentence in sentences or ["none: nothing wrong was seen"]])


def show(rows: Iterable[tuple[str, str]]) -> None:
    """Names and values in two columns, as soon as they are known."""
    for name, value in rows:
        print(*named([(name, value)]), sep="\n", flush=True)
