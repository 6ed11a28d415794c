"""The operator's settings file."""

from pathlib import Path

import pytest

from serinus.config import ConfigurationError, TracingSettings, load

SMALLEST = "server: {image: 'registry.example/serinus-server:1'}\nprometheus: {url: 'http://prometheus:9090'}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SMALLEST))
    assert settings.server.image == "registry.example/serinus-server:1"
    assert (settings.server.image_pull_policy, settings.server.image_pull_secrets) == ("IfNotPresent", ())
    assert settings.server.template_updates == "Pinned"
    assert settings.server.tracing is None
    assert (settings.prometheus.scrape_interval, settings.prometheus.timeout) == ("15s", "10s")
    assert settings.prometheus.namespace_label == "namespace"
    assert settings.watch_namespaces == ()
    assert settings.workers == 4


def test_everything_can_be_set(tmp_path: Path) -> None:
    text = """
    server:
      {image: s, imagePullPolicy: Never, imagePullSecrets: [a, b], templateUpdates: Canary,
       huggingFaceEndpoint: "https://hub.example",
       tracing: {otlpEndpoint: "http://collector.otel:4318", sampleRatio: 0.5}}
    prometheus: {url: "https://p/x", scrapeInterval: 30s, timeout: 5s, namespaceLabel: kubernetes_namespace}
    watchNamespaces: [risk, fraud]
    workers: 8
    """
    settings = load(written(tmp_path, text))
    assert settings.server.image_pull_secrets == ("a", "b")
    assert settings.server.template_updates == "Canary"
    assert settings.server.hugging_face_endpoint == "https://hub.example"
    assert settings.server.tracing == TracingSettings(otlp_endpoint="http://collector.otel:4318", sample_ratio=0.5)
    assert settings.prometheus.namespace_label == "kubernetes_namespace"
    assert settings.watch_namespaces == ("risk", "fraud")
    assert settings.workers == 8


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "valid dictionary", id="empty"),
        pytest.param("- a", "valid dictionary", id="a list"),
        pytest.param("a: [", "while parsing", id="not YAML"),
        pytest.param("prometheus: {url: 'http://p'}", "server: Field required", id="no server"),
        pytest.param(SMALLEST + "colour: red", "colour: Extra inputs are not permitted", id="unknown setting"),
        pytest.param(SMALLEST + "workers: 0", "workers: Input should be greater than or equal to 1", id="no workers"),
        pytest.param(
            SMALLEST.replace("1'}", "1', tracing: {otlpEndpoint: 'http://c', sampleRatio: 2}}"),
            "server.tracing.sampleRatio: Input should be less than or equal to 1",
            id="more spans than there are",
        ),
        pytest.param(
            SMALLEST.replace("1'}", "1', tracing: {otlpEndpoint: 'collector:4318'}}"),
            "server.tracing.otlpEndpoint: String should match",
            id="a collector without a scheme",
        ),
        pytest.param(SMALLEST.replace("http:", "ftp:"), "prometheus.url: String should match", id="other scheme"),
        pytest.param(
            SMALLEST.replace("'http://prometheus:9090'", "'http://p', scrapeInterval: 15"),
            "prometheus.scrapeInterval: Input should be a valid string",
            id="duration without a unit",
        ),
        pytest.param(
            SMALLEST.replace("'http://prometheus:9090'", "'http://p', namespaceLabel: 'a b'"),
            "prometheus.namespaceLabel: String should match",
            id="no label",
        ),
        pytest.param(
            "server: {image: ''}\nprometheus: {url: 'http://p'}", "server.image: String should have", id="no image"
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, problem: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert problem in str(caught.value)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"server: Field required; workers: "):
        load(written(tmp_path, "prometheus: {url: 'http://p'}\nworkers: many"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "missing.yaml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="codec"):
        load(path)
