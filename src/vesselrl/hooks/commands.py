"""What comes before any ``kedro`` command, in the project or elsewhere."""

import os
import sys
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.cli.hooks import cli_hook_impl
from kedro.framework.project import LOGGING

NEED_A_PROJECT = ("run", "viz")
BUT_WITH = ("--help", "-h", "--load-file")  # what Kedro-Viz has saved is shown anywhere
LOG_SETTINGS = Path("conf/logging.yml")


class CommandHooks:
    """Keep telemetry off and logs short, and say where there is no project for a command.

    They are asked in every project of the environment; what others do is theirs to say.
    """

    @cli_hook_impl(tryfirst=True)
    def before_command_run(self, project_metadata: Any, command_args: list[str]) -> None:
        """Act before Kedro's own plugins: outside the project its ``.telemetry`` tells nothing."""
        if project_metadata and project_metadata.package_name != "vesselrl":
            return
        os.environ.setdefault("DO_NOT_TRACK", "1")
        needed = command_args[:1] and command_args[0] in NEED_A_PROJECT
        if project_metadata is None and needed and not set(BUT_WITH).intersection(command_args):
            sys.exit(
                "Error: This folder is not in the project: go to the one with its pyproject.toml "
                f"and conf/, then kedro {command_args[0]} again."
            )
        if project_metadata and not LOG_SETTINGS.exists():
            # In a folder within the project Kedro has not found them and tells every step.
            settings = project_metadata.project_path / LOG_SETTINGS
            if settings.exists() and "KEDRO_LOGGING_CONFIG" not in os.environ:
                LOGGING.configure(yaml.safe_load(settings.read_text()))


commands = CommandHooks()
