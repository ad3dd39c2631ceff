"""The project's own forms of ``kedro run`` and ``kedro viz``.

They read parameters written ``key:value`` as well as ``key=value``, and tell errors in a sentence.
"""

import copy
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.io.core import DatasetError
from kedro.validation.exceptions import ParameterValidationError
from kedro_viz.launchers.cli.main import viz as kedro_viz

from vesselrl.errors import VesselrlError
from vesselrl.overrides import QUICK_FOLDER

logger = logging.getLogger(__name__)


@click.group(name="vesselrl")
def cli() -> None:
    """Commands of the vesselrl project."""


def colons_to_equals(text: str) -> str:
    """Rewrite ``key:value`` items as ``key=value``; a value may itself hold colons and equals.

    >>> colons_to_equals("quick:true,raw_dir=C:\\\\data,url=s3://x?a=b")
    'quick=true,raw_dir=C:\\\\data,url=s3://x?a=b'
    """
    return ",".join(re.sub(r"^(\s*[\w.]+):", r"\1=", item) for item in text.split(","))


def _with_colon_params(
    command: click.Command, then: Callable[[dict[str, Any]], dict[str, Any]] = lambda params: params
) -> click.Command:
    command = copy.copy(command)
    command.params = [copy.copy(parameter) for parameter in command.params]
    option = next(parameter for parameter in command.params if parameter.name == "params")
    read = option.callback
    assert read is not None
    option.callback = lambda context, parameter, value: then(
        read(context, parameter, colons_to_equals(value) if isinstance(value, str) else value)
    )
    return command


def _run_with_plain_errors(**options: Any) -> Any:
    try:
        assert kedro_run.callback is not None
        return kedro_run.callback(**options)
    except click.ClickException:
        raise
    except Exception as error:
        logger.debug("Traceback", exc_info=error)
        raise click.ClickException(explain(error)) from error


def explain(error: BaseException) -> str:
    """One sentence for a person: what was found, where, and what to do."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, VesselrlError):
            return str(cause)
        if isinstance(cause, ParameterValidationError):
            return _explain_parameters(str(cause))
        cause = cause.__cause__ or cause.__context__
    text = str(error).strip().splitlines()
    first = text[0] if text else "no message"
    kind = "" if isinstance(error, DatasetError | ValueError) else f"{type(error).__name__}: "
    return f"{kind}{first} (the traceback is in the run's log file)"


def _explain_parameters(text: str) -> str:
    """Shorten pydantic's account to the parameter, what is wrong with it and what it was."""
    group = ""
    findings = []
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if match := re.match(r"- Parameter '([\w.]+)'", line):
            group = match.group(1)
        # pydantic names a field on a line of its own, then says what is wrong, indented
        if re.fullmatch(r"[\w.\[\]-]+", line) and following.startswith("  "):
            complaint = re.sub(
                r" \[type=.*?input_value=(.*), input_type=.*", r" (got \1)", following
            )
            findings.append(f"parameter '{group}.{line}': {complaint.strip()}")
    return "; ".join(findings) or text


run = _with_colon_params(kedro_run)
run.callback = _run_with_plain_errors
cli.add_command(run)


def _show_what_exists(params: dict[str, Any]) -> dict[str, Any]:
    """Let kedro viz preview the quick run's results when asked for, or when there are no others."""
    quick = params.pop("quick", None)
    out_dir = Path(params.get("out_dir", "data"))
    if quick or (quick is None and not (out_dir / "08_reporting").exists()):
        params["out_dir"] = str(out_dir / QUICK_FOLDER)
        click.echo(f"Previews come from {params['out_dir']}")
    return params


class _VizCommands(type(kedro_viz)):  # type: ignore[misc] - a group that loads its commands late
    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        command: click.Command | None = super().get_command(context, name)
        if command is None or not any(option.name == "params" for option in command.params):
            return command
        return _with_colon_params(command, _show_what_exists)


viz = copy.copy(kedro_viz)
viz.__class__ = _VizCommands
cli.add_command(viz, name="viz")
