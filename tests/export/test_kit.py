"""The files that a deployment reads."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

KIT = Path(__file__).parents[2] / "export"

# The fields of TF Serving's session_bundle_config.proto and monitoring_config.proto;
# tensorflow-serving-api ships neither. Numbers and types as there.
INT64, BOOL, STRING = "google.protobuf.Int64Value", "google.protobuf.BoolValue", 9
BATCHING_FIELDS = {
    "max_batch_size": (1, INT64),
    "batch_timeout_micros": (2, INT64),
    "max_enqueued_batches": (3, INT64),
    "num_batch_threads": (4, INT64),
    "thread_pool_name": (5, "google.protobuf.StringValue"),
    "allowed_batch_sizes": (6, "repeated"),
    "pad_variable_length_inputs": (7, 8),
    "enable_large_batch_splitting": (8, BOOL),
    "max_execution_batch_size": (9, INT64),
}
# Flags of tensorflow_model_server, as its main.cc lists them.
FLAGS = {
    "batching_parameters_file",
    "enable_batching",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "monitoring_config_file",
    "num_load_threads",
}


def message(name, fields, more=()):
    """Returns an empty message of a type made of `{field: (number, type)}`."""
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
        wrappers_pb2,
    )

    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto",
        package="kit",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for type_name, type_fields in [(name, fields), *more]:
        type_ = file.message_type.add(name=type_name)
        for field_name, (number, kind) in type_fields.items():
            field = type_.field.add(name=field_name, number=number, label=1)
            if kind == "repeated":
                field.label, field.type = 3, 3
            elif isinstance(kind, str):
                field.type, field.type_name = 11, f".{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName(f"kit.{name}")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(found)()
    return message_factory.MessageFactory(pool).GetPrototype(found)()


def parse(name, into):
    from google.protobuf import text_format

    return text_format.Parse((KIT / name).read_text(encoding="utf-8"), into)


def test_models_config_is_what_the_server_parses():
    pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    config = parse("models.config", pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("demo", "/models/demo")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 2


@pytest.fixture(scope="module")
def batching():
    return parse("batching.config", message("BatchingParameters", BATCHING_FIELDS))


def test_batching_config_is_what_the_server_accepts(batching):
    assert batching.enable_large_batch_splitting.value
    assert batching.max_execution_batch_size.value <= batching.max_batch_size.value
    assert batching.num_batch_threads.value >= 1
    assert batching.max_enqueued_batches.value >= batching.num_batch_threads.value
    # Rows of the longest request all fit into the queue, or it could never be served.
    assert _rows(batching, batching.max_enqueued_batches.value) >= (
        batching.max_batch_size.value
    )


def _rows(batching, batches):
    return batches * batching.max_execution_batch_size.value


def test_batching_config_has_nothing_that_ends_the_server_or_pads(batching):
    """One empty request ends a server that pads up to a size; zeros are an answer."""
    assert not batching.allowed_batch_sizes
    assert not batching.pad_variable_length_inputs
    text = (KIT / "batching.config").read_text(encoding="utf-8")
    for name in ("allowed_batch_sizes", "pad_variable_length_inputs"):
        assert f"# {name}, which would " in text  # the reason is said
    assert "Never set it" in text
    # Nobody is told to, either.
    for path in [*KIT.glob("*"), KIT.parent / "README.md", *KIT.parent.glob("docs/*")]:
        if path.suffix in (".md", ".yaml", ".config"):
            lines = path.read_text(encoding="utf-8").splitlines()
            found = [line for line in lines if "allowed_batch_sizes:" in line]
            found += [line for line in lines if "pad_variable_length_inputs:" in line]
            assert not found, path


def test_the_threads_of_grpc_fit_the_batching(batching):
    """Callers of one image each can fill what waits and what runs, none refused."""
    batches = batching.max_enqueued_batches.value + batching.num_batch_threads.value
    (compose,) = documents("compose.yaml")
    (deployment,) = (
        each for each in documents("kubernetes.yaml") if each["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    commands = [each["command"] for each in compose["services"].values()]
    for command in (*commands, container["args"]):
        threads = int(flags(command)["grpc_max_threads"])
        assert _rows(batching, batches) < threads < 2 * _rows(batching, batches)
        assert f"it to {threads}:" in (KIT / "batching.config").read_text()


def test_a_field_that_the_server_does_not_know_is_noticed():
    from google.protobuf import text_format

    empty = message("BatchingParameters", BATCHING_FIELDS)
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_sizes { value: 3 }", empty)


def test_every_signature_can_be_batched(exported):
    """Batch first in all inputs, of any size; no other side is the caller's choice.

    Or there is a twin that takes lines, which has none.
    """
    from tfembed.export.fresh_process import ask_in_fresh_process

    _, described = ask_in_fresh_process(exported.path, [])
    assert len(described) >= 5
    for name, signature in described.items():
        for _, shape in signature["inputs"].values():
            assert shape and shape[0] is None, (name, shape)
            lines = described.get(f"{name}_lines", signature)["inputs"]
            assert all(None not in sides[1:] for _, sides in lines.values()), name


def test_monitoring_config_is_what_the_server_parses():
    prometheus = {"enable": (1, 8), "path": (2, STRING)}
    config = message(
        "MonitoringConfig",
        {"prometheus_config": (1, "kit.PrometheusConfig")},
        [("PrometheusConfig", prometheus)],
    )
    parse("monitoring.config", config)
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == "/monitoring/prometheus/metrics"


def documents(name):
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((KIT / name).read_text(encoding="utf-8")))


def flags(words):
    """`{flag: value}` of a server's command line."""
    pairs = [word[2:].split("=", 1) for word in words if word.startswith("--")]
    assert len(pairs) == len(words) and {name for name, _ in pairs} <= FLAGS
    return dict(pairs)


def assert_configured(given):
    """The files that the flags name are those of this folder."""
    assert given["enable_batching"] == "true"
    for flag, name in (
        ("model_config_file", "models.config"),
        ("batching_parameters_file", "batching.config"),
        ("monitoring_config_file", "monitoring.config"),
    ):
        assert given[flag] == f"/config/{name}" and (KIT / name).is_file()


def test_compose_mounts_what_the_flags_name():
    (compose,) = documents("compose.yaml")
    services = compose["services"]
    profiles = {name: each["profiles"] for name, each in services.items()}
    assert profiles == {"serving": ["cpu"], "serving-gpu": ["gpu"]}
    for name, service in services.items():
        assert_configured(flags(service["command"]))
        assert service["volumes"] == ["${MODELS:-../models}:/models:ro", ".:/config:ro"]
        assert service["ports"] == ["8500:8500", "8501:8501"]
        assert service["image"].startswith("tensorflow/serving:")
        assert ("gpu" in service["image"]) == (name == "serving-gpu")
    (device,) = services["serving-gpu"]["deploy"]["resources"]["reservations"][
        "devices"
    ]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]


def test_kubernetes_names_fit_together():
    found = {
        (each["kind"], each["metadata"]["name"]): each
        for each in documents("kubernetes.yaml")
    }
    assert len(found) == 5
    config = found["ConfigMap", "tfserving-config"]["data"]
    for name, text in config.items():
        assert text == (KIT / name).read_text(encoding="utf-8"), name
    assert set(config) == {path.name for path in KIT.glob("*.config")}
    spec = found["Deployment", "tfserving"]["spec"]
    pod = spec["template"]
    assert spec["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert spec["replicas"] >= 2
    rolling = spec["strategy"]["rollingUpdate"]
    assert rolling["maxUnavailable"] == 0 and rolling["maxSurge"] >= 1
    (container,) = pod["spec"]["containers"]
    assert_configured(flags(container["args"]))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    assert {name: each["mountPath"] for name, each in mounts.items()} == {
        "models": "/models",
        "config": "/config",
    }
    assert all(each["readOnly"] for each in mounts.values())
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in found
    assert ("ConfigMap", volumes["config"]["configMap"]["name"]) in found
    for probe in ("startupProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked == {"path": "/v1/models/demo", "port": "rest"}
        assert 'name: "demo"' in config["models.config"]
    requests, limits = (container["resources"][each] for each in ("requests", "limits"))
    assert requests["memory"] == limits["memory"]
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    slept = container["lifecycle"]["preStop"]["exec"]["command"]
    assert slept[0] == "sleep" and int(slept[1]) < grace
    metrics = pod["metadata"]["annotations"]["prometheus.io/path"]
    assert f'path: "{metrics}"' in config["monitoring.config"]
    for name in ("tfserving", "tfserving-grpc"):
        service = found["Service", name]["spec"]
        assert service["selector"] == pod["metadata"]["labels"]
        assert all(port["targetPort"] in ports for port in service["ports"])
    assert found["Service", "tfserving-grpc"]["spec"]["clusterIP"] == "None"


def test_the_sizing_rule_is_computed_right(batching):
    text = " ".join((KIT / "SIZING.md").read_text(encoding="utf-8").split())
    row = 4 * 128 + 24 + 20
    assert f"of 128 numbers are {row * 1e6 / 1e9:.2f} GB" in text
    assert f"of 512 numbers {(4 * 512 + 44) * 1e6 / 1e9:.1f} GB" in text
    threads = batching.num_batch_threads.value
    assert f"1.2 x 0.56 x 2 + 2 x {threads} x 0.128 + 0.5, about 2.9 GB" in text
    assert 1.2 * 0.56 * 2 + 2 * threads * 0.128 + 0.5 == pytest.approx(2.9, abs=0.05)
    assert "memory: 4Gi" in (KIT / "kubernetes.yaml").read_text()
    # What a switch holds with the kit's own policy.
    assert "num_versions: 2" in (KIT / "models.config").read_text()
    assert "unloads the oldest before it loads the newest" in text


def commands():
    blocks = re.findall(r"```bash\n(.*?)```", (KIT / "README.md").read_text(), re.S)
    text = re.sub(r"\\\n", " ", "\n".join(blocks))
    return [shlex.split(line) for line in text.splitlines() if line.strip()]


def test_docker_mounts_what_the_configuration_names():
    one, several = [words for words in commands() if words[:2] == ["docker", "run"]]
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


def test_the_index_of_a_served_gallery(exported, tmp_path, monkeypatch):
    """The block of SIZING.md that needs a served model, on one."""
    pytest.importorskip("faiss")
    text = (KIT / "SIZING.md").read_text(encoding="utf-8")
    (code,) = re.findall(
        r"<!-- needs: a served model -->\n```python\n(.*?)```", text, re.S
    )
    (tmp_path / "models/demo").mkdir(parents=True)
    shutil.copytree(exported.path, tmp_path / "models/demo/1")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "SIZING.md", "exec"), {})
    from tfembed.interop import read_faiss

    index = read_faiss("demo.faiss")
    assert len(index.ids) == len(exported.gallery["ids"])
    ids, scores = index.search(exported.gallery["embeddings"][:3], k=2)
    assert (scores[:, 0] > 0.999).all()
