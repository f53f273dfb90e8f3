"""`experiments.train` with a network that compiles in seconds, for tests of what happens around it.

python -m tests.faults.small_train --smoke --workdir=FOLDER ...
"""

import runpy

from skinjax.models import registry
from tests.fitting import Small

if __name__ == "__main__":
    registry.create = lambda name, num_classes, **settings: Small(num_classes)
    runpy.run_module("experiments.train", run_name="__main__", alter_sys=True)
