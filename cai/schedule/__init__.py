"""Learning-rate schedules: pure functions of the step, so a resumed run needs no state of theirs."""
