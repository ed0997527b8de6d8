"""Which models a server serves, and which of their versions: `models.config`.

The file is the one that TF Serving takes as `--model_config_file`: the text of the
protobuf message `ModelServerConfig`. What TF Serving refuses is refused here, in the
same words.
"""

import dataclasses
import os
from collections.abc import Mapping

from tfembed.serving.status import StatusError, invalid_argument

_PLATFORM = "tensorflow"


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions in a model's folder are served.

    Attributes:
        kind: `"latest"`, `"all"` or `"specific"`.
        num_versions: How many of the highest, for `"latest"`.
        versions: Which, for `"specific"`.
    """

    kind: str = "latest"
    num_versions: int = 1
    versions: tuple = ()

    def choose(self, found):
        """Returns the set of those versions among `found` that are to be served."""
        if self.kind == "all":
            return set(found)
        if self.kind == "specific":
            return set(found) & set(self.versions)
        return set(sorted(found)[-max(self.num_versions, 1) :])


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model of a server.

    Attributes:
        name: Its name in requests.
        base_path: Absolute path of the folder whose children are versions, named by
            numbers.
        policy: The `VersionPolicy`.
        labels: Mapping of a label, such as `"stable"`, to a version.
    """

    name: str
    base_path: str
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping = dataclasses.field(default_factory=dict)


def read_model_config(path):
    """Reads a model config file.

    Args:
        path: A file with the text of a `ModelServerConfig`.

    Returns:
        List of `ModelConfig`.

    Raises:
        ValueError: If it cannot be read, or says something that cannot be served.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    allowed = "The model config file must be the text of a ModelServerConfig"
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        message = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        return model_configs(message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        reason = error
    except StatusError as error:
        reason = error.message
    raise ValueError(
        f'{allowed}, such as `model_config_list {{ config {{ name: "m" base_path: '
        f'"/models/m" model_platform: "tensorflow" }} }}`. Received: {str(path)!r} '
        f"({reason}). Correct it."
    )


def model_configs(message):
    """Reads a `ModelServerConfig`.

    Args:
        message: The protobuf message.

    Returns:
        List of `ModelConfig`.

    Raises:
        StatusError: With the code and text TF Serving would answer.
    """
    if message.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    configs = list(message.model_config_list.config)
    _check_names(configs)
    for config in configs:
        if not os.path.isabs(config.base_path):
            raise invalid_argument(
                f"Expected model {config.name} to have an absolute path or URI; "
                f"got base_path()={config.base_path}"
            )
        _check_platform(config)
    return [
        ModelConfig(
            config.name,
            config.base_path,
            _policy(config.model_version_policy),
            dict(config.version_labels),
        )
        for config in configs
    ]


def _check_names(configs):
    seen = set()
    for config in configs:
        if not config.name:
            raise invalid_argument("ModelConfig has no name specified.")
        if config.name in seen:
            raise invalid_argument(
                f"Illegal to list model {config.name} multiple times in config list"
            )
        seen.add(config.name)


def _check_platform(config):
    platform = config.model_platform
    if config.model_type:  # the deprecated way to say it
        if platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                f"ModelServerConfig::model_platform, model name is {config.name}"
            )
        if config.model_type != 1:
            raise invalid_argument(
                f"ModelServerConfig::model_type choice {config.model_type} "
                "not supported."
            )
        platform = _PLATFORM
    if not platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {config.name}"
        )
    if platform != _PLATFORM:
        raise invalid_argument(
            f"Model {config.name} requests unsupported platform {platform}"
        )


def _policy(message):
    kind = message.WhichOneof("policy_choice") or "latest"
    return VersionPolicy(
        kind,
        message.latest.num_versions or 1,
        tuple(message.specific.versions),
    )
