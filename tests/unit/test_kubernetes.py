"""What deploy/kubernetes promises, held against Kubernetes' own schemas and against the code; no cluster is needed."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import kubernetes_validate
import pytest
import typer
import yaml
from pydantic import BaseModel, StringConstraints

from projector.health import application
from projector.telemetry import Telemetry
from query_api.openapi import document as api_document
from readmodel.version import VERSION
from readside.api_server import DRAIN_SECONDS
from readside.cli import app
from readside.settings import PREFIX, Settings, unknown_variables
from tests.support.kustomizing import Document, Renderer, rendered, renderers

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
GUIDE = (ROOT / "specs/operate/kubernetes.md").read_text()
VERSIONS = ("1.30", "1.37")
"""The oldest that has what we use (a `sleep` before a pod's end), and the newest whose schemas are known."""
OVERLAYS = ("overlays/small", "overlays/large")
FOLDERS = (*OVERLAYS, "install", "monitoring")
OURS = {"app.kubernetes.io/name": "readside"}
SECRET = {
    "database-url": "postgresql://readside:secret@db.example/app",
    "replica-urls": "postgresql://readside:secret@standby-1.example/app postgresql://readside:secret@standby-2.example/app",
    "redis-url": "redis://readside-api:secret@cache.example:6379/0",
    "api-keys.json": '[{"name": "dashboard", "key": "a-long-random-key"}]',
}
"""What the secrets hold, by key."""

Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]+m)?([0-9]+s)?$", min_length=2)]


class Endpoint(BaseModel, extra="forbid"):
    """What Prometheus' operator documents of an endpoint, as far as we use it."""

    port: str
    path: Annotated[str, StringConstraints(pattern=r"^/")] = "/metrics"
    scheme: Literal["http", "https"] = "http"
    interval: Duration
    scrapeTimeout: Duration  # noqa: N815 (the operator's own name)


class Selector(BaseModel, extra="forbid"):
    """Which Services are meant."""

    matchLabels: dict[str, str]  # noqa: N815 (Kubernetes' own name)


class Monitored(BaseModel, extra="forbid"):
    """A ServiceMonitor's `spec`, as far as we use it: both fields are required."""

    endpoints: list[Endpoint]
    selector: Selector


class ServiceMonitor(BaseModel, extra="forbid"):
    """The operator's kind, of which Kubernetes itself has no schema."""

    apiVersion: Literal["monitoring.coreos.com/v1"]  # noqa: N815 (Kubernetes' own name)
    kind: Literal["ServiceMonitor"]
    metadata: dict[str, Any]
    spec: Monitored


@pytest.fixture(scope="module", autouse=True)
def _schemas_read_once() -> Iterator[None]:
    """Kubernetes' definitions are megabytes of JSON, which the package would read anew for each document."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
        yield


@pytest.fixture(params=list(renderers()))
def render(request: pytest.FixtureRequest) -> Renderer:
    """Each way to render a folder: the tests' own, and kubectl's where there is one."""
    return renderers()[request.param]


@pytest.fixture(params=OVERLAYS)
def installed(request: pytest.FixtureRequest) -> list[Document]:
    """The documents of an overlay."""
    return rendered(KUBERNETES / request.param)


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    """Documents of one kind, by name."""
    return {it["metadata"]["name"]: it for it in documents if it["kind"] == kind}


def pods(documents: list[Document]) -> dict[str, Document]:
    """The templates of pods, by component."""
    workloads = [it for it in documents if it["kind"] in {"Deployment", "Job"}]
    templates = [it["spec"]["template"] for it in workloads]
    return {it["metadata"]["labels"]["app.kubernetes.io/component"]: it for it in templates}


def every_pod() -> Iterator[tuple[str, Document, list[Document]]]:
    """Each pod of each folder that has any: (folder and component, template, the folder's documents)."""
    for folder in (*OVERLAYS, "install"):
        documents = rendered(KUBERNETES / folder)
        for component, template in pods(documents).items():
            yield f"{folder}-{component}", template, documents


PODS = {name: (template, documents) for name, template, documents in every_pod()}


@pytest.fixture(params=list(PODS))
def pod(request: pytest.FixtureRequest) -> Document:
    """Each pod's template."""
    return PODS[request.param][0]


def container_of(pod: Document) -> Document:
    """The one container."""
    (container,) = pod["spec"]["containers"]
    found: Document = container
    return found


def selected(documents: list[Document], selector: Document) -> set[str]:
    """The components whose pods a selector finds."""
    return {component for component, it in pods(documents).items() if _matches(selector, it["metadata"]["labels"])}


def _matches(selector: Document, labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", ())
    assert all(it["operator"] == "In" for it in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(it["key"]) in it["values"] for it in expressions
    )


def served_ports(pod: Document) -> dict[str, int]:
    """The ports that a pod's container names."""
    return {it["name"]: it["containerPort"] for it in container_of(pod).get("ports", ())}


def environment(pod: Document, documents: list[Document]) -> dict[str, str]:
    """The variables that a pod's process finds."""
    container = container_of(pod)
    shared = [of_kind(documents, "ConfigMap")[it["configMapRef"]["name"]] for it in container.get("envFrom", ())]
    own = {it["name"]: it["value"] for it in container["env"]}
    return {name: value for it in shared for name, value in it["data"].items()} | own


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_renders_alike(render: Renderer, folder: str) -> None:
    """The tests see what kustomize makes, names of generated ConfigMaps included."""

    def by_name(documents: list[Document]) -> dict[tuple[str, str], Document]:
        return {(it["kind"], it["metadata"]["name"]): it for it in documents}

    assert by_name(render(KUBERNETES / folder)) == by_name(rendered(KUBERNETES / folder))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_it_is_what_kubernetes_accepts(folder: str, version: str) -> None:
    """Every field of every document is known, and has a value of its kind."""
    for document in rendered(KUBERNETES / folder):
        if document["kind"] == "ServiceMonitor":
            ServiceMonitor.model_validate(document)
        else:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("wrong", [{"minAvailible": 1}, {"minAvailable": [1]}], ids=["a name", "a value"])
def test_what_kubernetes_does_not_accept_is_found(wrong: dict[str, Any]) -> None:
    """The schemas are strict."""
    budget = of_kind(rendered(KUBERNETES / "overlays/small"), "PodDisruptionBudget")["readside-projector"]

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(budget | {"spec": budget["spec"] | wrong}, VERSIONS[0], strict=True)


def test_every_document_is_in_the_namespace(installed: list[Document]) -> None:
    """And the namespace refuses pods with more rights than ours."""
    namespace = of_kind(installed, "Namespace")["readside"]
    elsewhere = [it for it in installed if it["metadata"].get("namespace") != "readside"]

    assert elsewhere == [namespace]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_pod_holds_no_rights_that_it_does_not_need(pod: Document) -> None:
    """No root, no capability, no write to the image, no way to more rights, no token of the cluster's."""
    spec, container = pod["spec"], container_of(pod)

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_pod_is_the_images_user(pod: Document) -> None:
    """The secrets are its group's to read, and nobody else's."""
    (user,) = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    context = pod["spec"]["securityContext"]
    modes = [it["secret"]["defaultMode"] for it in pod["spec"]["volumes"] if "secret" in it]

    assert {context["runAsUser"], context["runAsGroup"], context["fsGroup"]} == {int(user)}
    assert modes == [0o440]


def test_a_pod_bounds_its_memory_and_not_its_processor(pod: Document) -> None:
    """A process that is throttled is a view that lags, and polls that wait."""
    resources = container_of(pod)["resources"]

    assert resources["requests"].keys() == {"cpu", "memory"}
    assert resources["limits"].keys() == {"memory"}


def test_every_image_is_the_one_that_the_folder_names(pod: Document) -> None:
    """With a tag of the project's version: no image is taken by a name alone."""
    assert container_of(pod)["image"] == f"registry.example/readside:{VERSION}"


def test_the_command_is_one_of_ours(pod: Document) -> None:
    """With options that it has."""
    command, *arguments = container_of(pod)["args"]
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]  # it is a group

    found.make_context(command, arguments, resilient_parsing=False)


def test_kubernetes_own_variables_are_none_of_ours(pod: Document) -> None:
    """For a Service named readside-api a pod would get READSIDE_API_PORT, of which each process would warn."""
    assert pod["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("name", list(PODS))
def test_the_settings_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each variable is a setting, each file of a secret is where it is mounted, and together they make a config."""
    pod, documents = PODS[name]
    (mount,) = (it["mountPath"] for it in container_of(pod)["volumeMounts"] if it["name"] == "secrets")
    for key, text in SECRET.items():
        (tmp_path / key).write_text(text)
    for variable in [variable for variable in os.environ if variable.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    for variable, value in environment(pod, documents).items():
        monkeypatch.setenv(variable, value.replace(mount, str(tmp_path)))
    settings = Settings()
    configs: dict[str, Callable[[], object]] = {
        "api": settings.api_config,
        "projector": settings.projector_config,
        "install": settings.require_database_url,
    }

    assert unknown_variables() == {}
    assert all(tmp_path in path.parents for path in settings.secret_files().values())
    assert configs[container_of(pod)["args"][0]]()


@pytest.mark.parametrize("name", list(PODS))
def test_the_guide_makes_each_secret_with_the_keys_that_are_used(name: str) -> None:
    """`kubectl create secret` in the guide gives each pod what its variables name, and nothing more."""
    pod, documents = PODS[name]
    (secret,) = (it["secret"]["secretName"] for it in pod["spec"]["volumes"] if "secret" in it)
    commands = re.findall(rf"create secret generic {secret}((?: *\\?\n? +--from-file=\S+)+)", GUIDE)
    used = {Path(value).name for name, value in environment(pod, documents).items() if name.endswith("_FILE")}

    assert used in [set(re.findall(r"--from-file=(\S+?)=", command)) for command in commands]


def test_the_owner_of_the_tables_installs_and_does_nothing_else() -> None:
    """Projector and API have secrets of their own."""
    secrets = {
        name: it["secret"]["secretName"]
        for name, (pod, _) in PODS.items()
        for it in pod["spec"]["volumes"]
        if "secret" in it
    }

    assert {name for name, secret in secrets.items() if secret == "readside-owner"} == {"install-install"}
    assert len(set(secrets.values())) == 3


def test_a_port_is_the_one_that_is_listened_at(installed: list[Document]) -> None:
    """On every address, since others ask by the pod's."""
    found = pods(installed)
    projector = environment(found["projector"], installed)
    arguments = container_of(found["api"])["args"]

    assert served_ports(found["projector"]) == {"metrics": int(projector["READSIDE_PROJECTOR_PORT"])}
    assert served_ports(found["api"]) == {"http": int(arguments[arguments.index("--port") + 1])}
    assert projector["READSIDE_PROJECTOR_HOST"] == arguments[arguments.index("--host") + 1] == "0.0.0.0"


def test_a_probe_asks_what_is_served(installed: list[Document]) -> None:
    """Alive: its loop runs, whatever the stores do. Ready: what it can do for others."""
    routes = {
        "projector": {route.path for route in application(Telemetry()).routes},  # type: ignore[attr-defined]
        "api": set(api_document("")["paths"]),
    }
    for component, pod in pods(installed).items():
        container = container_of(pod)
        asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}

        assert {it["path"] for it in asked.values()} <= routes[component]
        assert {it["port"] for it in asked.values()} == served_ports(pod).keys()
        assert asked["liveness"]["path"] == asked["startup"]["path"] == "/health/live"
        assert asked["readiness"]["path"] == "/health/ready"


def test_a_pod_has_the_time_that_its_end_takes(installed: list[Document]) -> None:
    """Proxies are told first, then polls in flight are answered, then there is as much time again."""
    pod = pods(installed)["api"]["spec"]
    told_seconds = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod["terminationGracePeriodSeconds"] >= told_seconds + 2 * DRAIN_SECONDS


def test_there_are_never_fewer_than_two_projectors_by_a_rollout(installed: list[Document]) -> None:
    """One leads, one stands by; an emptied machine takes one of them at a time."""
    spec = of_kind(installed, "Deployment")["readside-projector"]["spec"]

    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert of_kind(installed, "PodDisruptionBudget")["readside-projector"]["spec"]["minAvailable"] == 1


def test_selectors_find_their_own_pods(installed: list[Document]) -> None:
    """Deployments, budgets and Services: each the pods of the component in its name."""
    found = {
        (it["kind"], it["metadata"]["name"]): selected(
            installed,
            {"matchLabels": it["spec"]["selector"]} if it["kind"] == "Service" else it["spec"]["selector"],
        )
        for it in installed
        if it["kind"] in {"Deployment", "PodDisruptionBudget", "Service"}
    }

    assert len(found) == 6
    assert {key: {key[1].removeprefix("readside-")} for key in found} == found


def test_pods_of_one_kind_are_spread(installed: list[Document]) -> None:
    """By a selector that finds them and no others."""
    for component, pod in pods(installed).items():
        constraints = pod["spec"]["topologySpreadConstraints"]

        assert "kubernetes.io/hostname" in {it["topologyKey"] for it in constraints}
        assert [selected(installed, it["labelSelector"]) for it in constraints] == [{component}] * len(constraints)


def test_a_services_port_is_a_pods(installed: list[Document]) -> None:
    """It is sent to by the name that the container gives it."""
    for service in of_kind(installed, "Service").values():
        (component,) = selected(installed, {"matchLabels": service["spec"]["selector"]})

        assert {it["targetPort"] for it in service["spec"]["ports"]} == served_ports(pods(installed)[component]).keys()


def policies_of(documents: list[Document], component: str, direction: str) -> list[Document]:
    """The rules of all policies that hold for a component's pods."""
    policies = of_kind(documents, "NetworkPolicy").values()
    mine = [it["spec"] for it in policies if component in selected(documents, it["spec"]["podSelector"])]
    assert any(direction in it["policyTypes"] for it in mine)  # else all is allowed
    key = direction.lower()
    return [rule for it in mine if direction in it["policyTypes"] for rule in it.get(key, ())]


def test_nobody_speaks_to_anybody_unless_it_is_said(installed: list[Document]) -> None:
    """One policy is for all pods, both ways, and allows nothing."""
    spec = of_kind(installed, "NetworkPolicy")["nothing-else"]["spec"]

    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(
    ("folder", "component", "ports"),
    [
        *((overlay, component, {53, 5432, 6379}) for overlay in OVERLAYS for component in ("projector", "api")),
        ("install", "install", {53, 5432}),
    ],
)
def test_a_pod_reaches_names_and_stores_alone(folder: str, component: str, ports: set[int]) -> None:
    """By the ports that their URLs have by default."""
    rules = policies_of(rendered(KUBERNETES / folder), component, "Egress")

    assert {port["port"] for rule in rules for port in rule["ports"]} == ports
    assert all("ports" in rule for rule in rules)


def test_who_may_ask_a_pod(installed: list[Document]) -> None:
    """Marked namespaces poll, Prometheus reads metrics; each by a port that the pod serves."""

    def asking(component: str) -> set[tuple[str, str]]:
        served = served_ports(pods(installed)[component])
        return {
            (f"{label}={value}", port["port"])
            for rule in policies_of(installed, component, "Ingress")
            for peer in rule["from"]
            for label, value in peer["namespaceSelector"]["matchLabels"].items()
            for port in rule["ports"]
            if port["port"] in served
        }

    monitoring = "kubernetes.io/metadata.name=monitoring"
    assert asking("api") == {("readside-polls=allowed", "http"), (monitoring, "http")}
    assert asking("projector") == {(monitoring, "metrics")}


def test_the_autoscaler_counts_what_is_there(installed: list[Document]) -> None:
    """Parts of the processor time that is asked for, and gauges that the API serves; it alone sets how many run."""
    spec = of_kind(installed, "HorizontalPodAutoscaler")["readside-api"]["spec"]
    deployment = of_kind(installed, "Deployment")[spec["scaleTargetRef"]["name"]]
    gauges = set(re.findall(r'_gauge\(\s*"(\w+)"', (ROOT / "query_api/operators/exposition.py").read_text()))
    named = {it["pods"]["metric"]["name"].removeprefix("readside_") for it in spec["metrics"] if it["type"] == "Pods"}

    assert "replicas" not in deployment["spec"]
    assert container_of(deployment["spec"]["template"])["resources"]["requests"]["cpu"] == "1"
    assert spec["metrics"][0]["resource"]["name"] == "cpu"
    assert named <= gauges
    assert 2 <= spec["minReplicas"] < spec["maxReplicas"]


def test_the_large_one_scales_by_connections_too() -> None:
    """As the adapter is told in the guide."""
    documents = rendered(KUBERNETES / "overlays/large")
    spec = of_kind(documents, "HorizontalPodAutoscaler")["readside-api"]["spec"]

    assert [it["pods"]["metric"]["name"] for it in spec["metrics"][1:]] == ["readside_connections_usage"]
    assert "seriesQuery: 'readside_connections_usage{" in GUIDE


def test_the_large_ones_connections_to_postgres_are_those_that_it_says() -> None:
    """Each API's, for as many as the autoscaler may start."""
    documents = rendered(KUBERNETES / "overlays/large")
    each = int(environment(pods(documents)["api"], documents)["READSIDE_FALLBACK_CONCURRENCY"]) + 3
    most = of_kind(documents, "HorizontalPodAutoscaler")["readside-api"]["spec"]["maxReplicas"]

    assert f"{each * most} for the twenty" in (KUBERNETES / "overlays/large/api.yaml").read_text()


def test_prometheus_finds_both_by_the_jobs_of_the_alerts() -> None:
    """A ServiceMonitor's job is its Service's name."""
    documents = rendered(KUBERNETES / "overlays/large")
    services = of_kind(documents, "Service")
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    for monitor in of_kind(documents, "ServiceMonitor").values():
        (endpoint,) = monitor["spec"]["endpoints"]
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = (it for it in services.values() if labels <= it["metadata"]["labels"].items())

        assert endpoint["port"] in {it["name"] for it in service["spec"]["ports"]}
        assert endpoint["path"] == "/metrics"
    assert set(re.findall(r'job="([\w-]+)"', rules)) <= services.keys()


def test_the_installation_runs_once() -> None:
    """It is tried again where it fails, and gone by the next one, which a finished Job would refuse."""
    spec = of_kind(rendered(KUBERNETES / "install"), "Job")["readside-install"]["spec"]

    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["ttlSecondsAfterFinished"] > 0


def test_the_guides_adapter_rule_can_be_read() -> None:
    """It is YAML, and names the metric."""
    block = re.search(r"```yaml\n(rules:.*?)```", GUIDE, re.DOTALL)
    assert block
    (rule,) = yaml.safe_load(block[1])["rules"]

    assert rule["seriesQuery"].startswith("readside_connections_usage{")


def test_the_guide_makes_a_rule_of_the_alerts() -> None:
    """What its lines give to kubectl is a PrometheusRule with the groups that promtool has judged."""
    block = re.search(r"```sh\n(\{\n.*?\n\}) \| kubectl apply -f -\n```", GUIDE, re.DOTALL)
    assert block
    given = subprocess.run(["bash", "-c", block[1]], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    rule = yaml.safe_load(given)

    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())


def test_folders_that_the_guide_applies_exist() -> None:
    """`kubectl apply -k` names folders with a kustomization, `-f` files."""
    folders = re.findall(r"apply -k (\S+)", GUIDE)
    files = re.findall(r"apply -f (deploy\S+)", GUIDE)

    assert {str(KUBERNETES.relative_to(ROOT) / it) for it in (*OVERLAYS, "install")} <= set(folders)
    assert all((ROOT / it / "kustomization.yaml").is_file() for it in folders)
    assert files
    assert all((ROOT / it).is_file() for it in files)
