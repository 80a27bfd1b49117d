"""``python -m cai`` is ``cai``."""

from cai.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
