"""What comes before any ``kedro`` command, in the project or elsewhere."""

import os
import sys
from typing import Any

from kedro.framework.cli.hooks import cli_hook_impl

NEED_A_PROJECT = ("run", "viz")


class CommandHooks:
    """Keep Kedro's telemetry off, and say where there is no project for a command."""

    @cli_hook_impl(tryfirst=True)
    def before_command_run(self, project_metadata: Any, command_args: list[str]) -> None:
        """Act before Kedro's own plugins: outside the project its ``.telemetry`` tells nothing."""
        os.environ.setdefault("DO_NOT_TRACK", "1")
        if project_metadata is None and command_args and command_args[0] in NEED_A_PROJECT:
            sys.exit(
                "Error: This folder is not in the project: go to the one with its pyproject.toml "
                f"and conf/, then kedro {command_args[0]} again."
            )


commands = CommandHooks()
