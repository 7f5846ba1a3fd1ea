"""Tests of the event writer's import."""

import subprocess
import sys


def test_torch_is_neither_imported_nor_kept_from_others():
    code = (
        "import sys, jaxgan.training.event_log\n"
        "assert 'torch' not in sys.modules\n"
        "assert jaxgan.training.event_log.SummaryWriter.__name__ == 'SummaryWriter'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
