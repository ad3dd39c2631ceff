"""The project's own forms of ``kedro run`` and ``kedro viz``.

They read parameters written ``key:value`` as well as ``key=value``, and tell errors in a sentence.
"""

import copy
import errno
import logging
import re
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from kedro import KedroDeprecationWarning
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.io.core import DatasetError
from kedro.validation.exceptions import ParameterValidationError
from kedro_viz.launchers.cli.main import viz as kedro_viz
from kedro_viz.launchers.cli.main import viz_cli

from vesselrl import overrides
from vesselrl.errors import VesselrlError
from vesselrl.hooks.interrupts import listening

logger = logging.getLogger(__name__)

INTERRUPTED = 130  # the exit code that shells give a command stopped by Ctrl-C
TORCH_HAS_NO_MEMORY = (
    "DefaultCPUAllocator",
    "could not create a primitive",
    "could not execute a primitive",
)
GPU_HAS_NO_MEMORY = ("CUDA out of memory", "ALLOC_FAILED")
COMPLAINT = r"  (?:Value error, )?(.*?) \[type=\w+, input_value=(.*), input_type="  # of pydantic
PLAINER = {
    "Extra inputs are not permitted": "there is no such setting",
    "Field required": "this setting is missing",
}
"""What pydantic says → what a person who edits conf needs to know."""


@click.group(name="vesselrl")
def cli() -> None:
    """Commands of the vesselrl project."""


def _with_colon_params(
    command: click.Command, then: Callable[[dict[str, Any]], dict[str, Any]] = lambda params: params
) -> click.Command:
    """The same command, its option ``--params`` read by `overrides.parse`."""

    def read(_context: click.Context, _option: click.Parameter, value: Any) -> dict[str, Any]:
        try:
            # a file given by --config has them as a mapping
            return then(dict(value) if isinstance(value, Mapping) else overrides.parse(value or ""))
        except VesselrlError as error:
            raise click.ClickException(str(error)) from error

    command = copy.copy(command)
    command.params = [copy.copy(parameter) for parameter in command.params]
    option = next(parameter for parameter in command.params if parameter.name == "params")
    option.callback = read
    return command


def _run_with_plain_errors(**options: Any) -> Any:
    # --pipeline is a promise to our users, whatever Kedro comes to prefer
    warnings.filterwarnings("ignore", "Option '--pipeline' is deprecated", KedroDeprecationWarning)
    # Whoever waits for a thread tells its error; Python would show a traceback of its own.
    threading.excepthook = _note_error_of_thread
    try:
        _refuse_unknown_pipelines([*filter(None, [options["pipeline"]]), *options["pipelines"]])
        assert kedro_run.callback is not None
        if options["params"].get("bundle"):
            options["namespaces"] = _with_a_bundle(options)
        options["runner"] = options["runner"] or "vesselrl.runner.SparingRunner"
        with listening():
            return kedro_run.callback(**options)
    except click.ClickException:
        raise
    except (Exception, KeyboardInterrupt) as error:
        # one that came while torch saved a file is the cause of an error of torch's own
        if any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error)):
            logger.debug("Interrupted.", exc_info=True)
            click.echo("\nInterrupted. The same command goes on from what is finished.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        logger.debug("Traceback", exc_info=error)
        raise click.ClickException(explain(error)) from error


def _note_error_of_thread(error: threading.ExceptHookArgs) -> None:
    logger.debug("A thread ended.", exc_info=error.exc_value)


def _refuse_unknown_pipelines(names: Collection[str]) -> None:
    for name in names:
        if name not in pipelines:
            hint = overrides.suggestion(name, list(pipelines), f"there are {', '.join(pipelines)}.")
            raise VesselrlError(f"Unknown pipeline '{name}': {hint}")


def _with_a_bundle(options: Mapping[str, Any]) -> list[str]:
    """Which part of the pipeline is left to run: the bundle is what the rest would make."""
    if [*filter(None, [options["pipeline"]]), *options["pipelines"]] != ["predict"]:
        raise VesselrlError(
            "A bundle was given, and only predict can use one: kedro run --pipeline predict "
            "--params bundle=…,input_dir=…"
        )
    return ["predict"]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what caused it, what caused that, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def explain(error: BaseException) -> str:
    """One sentence for a person: what was found, where, and what to do."""
    for cause in _causes(error):
        if isinstance(cause, VesselrlError):
            return str(cause)
        if isinstance(cause, ParameterValidationError):
            return _explain_parameters(str(cause))
        if told := _explain_machine(cause):
            return told
    words = " ".join(str(error).split()) or "no message"
    kind = f"{type(error).__name__}: "
    if isinstance(error, OSError) and error.filename:
        kind, words = "", f"{error.filename}: {error.strerror}."
    elif isinstance(error, DatasetError | ValueError):
        kind = ""
    # where the traceback is, if a log file was open (see hooks/run_log.py)
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
    return f"{kind}{words}{notes}"


def _explain_machine(error: BaseException) -> str:
    """Where the disk or the memory was too small, whoever noticed it; else an empty text."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or error.strerror
        return (
            f"The disk is full, or the quota used up ({where}): make room there and run the "
            "command again."
        )
    words = str(error) if isinstance(error, RuntimeError) else ""
    is_of_a_gpu = any(one in words for one in GPU_HAS_NO_MEMORY)
    is_torchs = is_of_a_gpu or any(one in words for one in TORCH_HAS_NO_MEMORY)
    if isinstance(error, MemoryError) or is_torchs or getattr(error, "errno", 0) == errno.ENOMEM:
        where = " on the GPU" if is_of_a_gpu else ""
        return (
            f"There is not enough memory{where}: end other programs, or set less in conf "
            "(max_side, batch, patch), and run the command again."
        )
    return ""


def _explain_parameters(text: str) -> str:
    """Shorten pydantic's account to the parameter, what is wrong with it and what it was."""
    group = field = ""
    findings = []
    for line in text.splitlines():
        if match := re.match(r"- Parameter '([\w.]+)': (.*)", line):
            group, field = match.group(1), ""
            if "validation error" not in match.group(2):  # Kedro's own, complete on this line
                findings.append(f"'{group}': {match.group(2)}")
        elif not line.startswith(" "):  # pydantic names a field, then says what is wrong, indented
            field = f".{line}"
        elif complaint := re.match(COMPLAINT, line):
            said = PLAINER.get(complaint.group(1), complaint.group(1))
            findings.append(f"'{group}{field}': {said} (got {complaint.group(2)})")
    return "; ".join(f"Parameter {finding}" for finding in findings) or " ".join(text.split())


run = _with_colon_params(kedro_run)
run.callback = _run_with_plain_errors
cli.add_command(run)


def _show_what_exists(params: dict[str, Any]) -> dict[str, Any]:
    """Let kedro viz preview the quick run's results when asked for, or when there are no others."""
    quick = params.pop("quick", None)
    out_dir = Path(params.get("out_dir", "data"))
    quick_dir = out_dir / overrides.QUICK_FOLDER
    if quick or (
        quick is None
        and not (out_dir / "08_reporting").exists()
        and (quick_dir / "08_reporting").exists()
    ):
        params["out_dir"] = str(quick_dir)
        click.echo(f"Previews come from {quick_dir}")
    return params


class _VizCommands(type(kedro_viz)):  # type: ignore[misc]  # loads its commands late
    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        command: click.Command | None = super().get_command(context, name)
        if command is None or not any(option.name == "params" for option in command.params):
            return command
        return _with_colon_params(command, _show_what_exists)


viz = copy.copy(kedro_viz)
viz.__class__ = _VizCommands
# Kedro looks among the commands of its plugins first, so the plugin's own is replaced there.
viz_cli.add_command(viz, name="viz")
