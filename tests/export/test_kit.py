"""The files that a deployment reads."""

import re
import shlex
from pathlib import Path

import pytest

KIT = Path(__file__).parents[2] / "export"


def test_models_config_is_what_the_server_parses():
    pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format

    config = pb2.ModelServerConfig()
    text_format.Parse((KIT / "models.config").read_text(), config)
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("demo", "/models/demo")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 2


def commands():
    blocks = re.findall(r"```bash\n(.*?)```", (KIT / "README.md").read_text(), re.S)
    return [shlex.split(block) for block in blocks]


def test_the_export_command_of_the_readme_parses():
    from tfembed.export.__main__ import _parser

    (command,) = [words for words in commands() if "tfembed.export" in words]
    args = _parser().parse_args(command[command.index("tfembed.export") + 1 :])
    assert (args.run_dir, args.model_base, args.k) == ("runs/demo", "models/demo", 10)


def test_docker_mounts_what_the_configuration_names():
    one, several = [words for words in commands() if words[0] == "docker"]
    assert "$PWD/models/demo:/models/demo:ro" in one
    assert "$PWD/models:/models:ro" in several  # the base path of models.config
    assert "$PWD/export:/config:ro" in several
    assert several[-1] == "--model_config_file=/config/models.config"
    assert (KIT / "models.config").is_file()


def test_the_readme_names_every_output(exported):
    readme = (KIT / "README.md").read_text()
    import tensorflow as tf

    for function in tf.saved_model.load(str(exported.path)).signatures.values():
        for name in function.structured_outputs:
            assert f"`{name}`" in readme
