"""What a test needs and is not there: a skip with its reason, but a failure in CI.

`.ci/run` installs the components, and names in CI_WITHOUT, with spaces between, those that can't be had.
"""

import os
from typing import NoReturn

import pytest


def missing(component: str, why: str) -> NoReturn:
    """Skip the test; fail it in CI, unless CI_WITHOUT names the component."""
    without = os.environ.get("CI_WITHOUT", "").split()
    assert os.environ.get("CI") != "true" or component in without, f"{component}: {why}"
    pytest.skip(why)
