"""The node of the pipeline ``sample``."""

from typing import Any

from vesselrl.synthetic.parameters import SampleParameters


def draw_sample(sample: SampleParameters) -> tuple[dict[str, Any], list[Any]]:
    """Images by name and their annotations; see ``vesselrl.synthetic.sample.draw_sample``."""
    from vesselrl.synthetic import sample as synthetic

    return synthetic.draw_sample(sample)
