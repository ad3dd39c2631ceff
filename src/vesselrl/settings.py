"""Project settings that Kedro reads; see https://docs.kedro.org/en/stable/configure/."""

from vesselrl.config_loader import ConfigLoader
from vesselrl.hooks.exclusion import ExclusionHooks
from vesselrl.hooks.failures import FailureHooks
from vesselrl.hooks.interrupts import InterruptHooks
from vesselrl.hooks.privacy import PrivacyHooks
from vesselrl.hooks.publishing import PublishHooks
from vesselrl.hooks.resolving import ParameterHooks
from vesselrl.hooks.run_log import RunLogHooks
from vesselrl.hooks.stages import ProvenanceHooks

# A run that lacks something, or that another one keeps out, leaves no log and moves nothing. The
# log file opens after older ones were put away, and before the provenance hook, so that what that
# one runs beforehand is logged too. An interrupt stops a run before any of them acts, so that what
# was written under it does not count as finished.
# (pluggy calls the hook registered last first.)
HOOKS = (
    ProvenanceHooks(),
    RunLogHooks(),
    PrivacyHooks(),
    ExclusionHooks(),
    PublishHooks(),
    ParameterHooks(),
    FailureHooks(),
    InterruptHooks(),
)

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment such as conf/gpu names only what it changes within a group of parameters.
    "merge_strategy": {"parameters": "soft"},
}
