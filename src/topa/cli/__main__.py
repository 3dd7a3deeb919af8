"""`python -m topa.cli`."""

from . import main

main()
