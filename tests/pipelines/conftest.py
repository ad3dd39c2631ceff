"""The fabricated report, once for each file of tests that looks at it."""

from typing import Any

import pytest
from fabricated_report import Outputs, fabricate


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    return fabricate()


@pytest.fixture(scope="module")
def outputs(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return Outputs(inputs, tmp_path_factory.mktemp("report"))
