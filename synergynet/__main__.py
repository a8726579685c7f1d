"""`python -m synergynet`: the command `synergynet`."""

import sys

from synergynet.command.main import command

if __name__ == "__main__":
    sys.exit(command())
