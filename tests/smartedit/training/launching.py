"""What `accelerate launch` makes of the configuration files that ship."""

import os
from importlib import resources
from typing import Any

from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

FOLDER = resources.files("smartedit.presets") / "accelerate"


def launched(name: str) -> Any:
    """Its arguments."""
    words = ["--config_file", str(FOLDER / f"{name}.yaml"), "--main_process_port", "0", "train.py"]
    return _validate_launch_command(launch_command_parser().parse_args(words))[0]


def variables(name: str) -> dict[str, str]:
    """What the processes that it starts find in their environment beside what everybody finds there."""
    return {k: v for k, v in prepare_multi_gpu_env(launched(name)).items() if os.environ.get(k) != v}
