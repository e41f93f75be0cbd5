"""What docker-compose.yml and the Dockerfile promise; no Docker engine is needed to hold them to it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from readside.api_keys import parse_keys_file
from readside.descriptors import OWN_DESCRIPTORS, places
from readside.settings import PREFIX, Settings
from tests.support.builders import socket_bounds

ROOT = Path(__file__).parents[2]
CLUSTERED = ("install-cluster", "projector-cluster", "api-cluster")
OURS = ("install", "projector", "api", "writer", *CLUSTERED)
NODES = tuple(f"redis-{number}" for number in range(1, 7))
NO_PROXY = "u.build_opener(u.ProxyHandler({})).open("
PINNED = re.compile(r"[a-z/]+:[\w.-]+@sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """Return the services of docker-compose.yml by name."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services: dict[str, dict[str, Any]] = document["services"]
    return services


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """Return the files of secrets by name."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return {name: secret["file"] for name, secret in document["secrets"].items()}


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions: (name, the rest)."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def test_postgres_15_is_published_on_5433(services: dict[str, dict[str, Any]]) -> None:
    """The development database is PostgreSQL 15 on this machine's port 5433."""
    assert services["postgres"]["image"].startswith("postgres:15")
    assert services["postgres"]["ports"] == ["127.0.0.1:5433:5432"]


def test_the_given_tables_are_made_at_first_start(services: dict[str, dict[str, Any]]) -> None:
    """The one copy of the write side's schema is mounted where the image looks for it."""
    mounts = [volume.split(":") for volume in services["postgres"]["volumes"]]
    scripts = [source for source, target, *_ in mounts if target.startswith("/docker-entrypoint-initdb.d/")]

    assert scripts == ["./readside/demo/schema.sql", "./deploy/development/roles.sql"]
    assert all((ROOT / script).is_file() for script in scripts)


def test_the_api_listens_on_every_address_inside_and_is_published_on_8000(services: dict[str, dict[str, Any]]) -> None:
    """The API is reachable from this machine, and from nowhere else."""
    command = services["api"]["command"]

    assert command == ["api", "--host", "0.0.0.0", "--port", "8000"]
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]


def test_every_port_is_published_on_the_loopback_address(services: dict[str, dict[str, Any]]) -> None:
    """Development passwords are never offered to a network."""
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", ["postgres", "redis", "projector", "api", "projector-cluster", "api-cluster", *NODES])
def test_every_server_has_a_health_check(services: dict[str, dict[str, Any]], name: str) -> None:
    """What others wait for says when it is ready."""
    assert services[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", OURS)
def test_only_what_listens_is_asked_whether_it_is_up(services: dict[str, dict[str, Any]], name: str) -> None:
    """The others would get the image's check, which asks a port. Those that ask, ask no proxy of the machine's."""
    check = services[name]["healthcheck"]

    if "projector" in name or "api" in name:
        assert NO_PROXY in check["test"][-1]
        compile(check["test"][-1], name, "exec")
    else:
        assert check == {"disable": True}


@pytest.mark.parametrize(
    ("name", "waits_for"),
    [
        ("install", {"postgres": "service_healthy"}),
        ("projector", {"install": "service_completed_successfully", "redis": "service_healthy"}),
        (
            "api",
            {
                "install": "service_completed_successfully",
                "redis": "service_healthy",
                "projector": "service_started",
            },
        ),
        ("writer", {"api": "service_healthy"}),
        ("create-cluster", dict.fromkeys(NODES, "service_healthy")),
        ("install-cluster", {"postgres": "service_healthy"}),
        (
            "projector-cluster",
            dict.fromkeys(("install-cluster", "create-cluster"), "service_completed_successfully"),
        ),
        (
            "api-cluster",
            {
                "install-cluster": "service_completed_successfully",
                "create-cluster": "service_completed_successfully",
                "projector-cluster": "service_started",
            },
        ),
    ],
)
def test_services_start_in_order(services: dict[str, dict[str, Any]], name: str, waits_for: dict[str, str]) -> None:
    """The tables come first, then the triggers, then what relies on them."""
    conditions = {on: how["condition"] for on, how in services[name]["depends_on"].items()}

    assert conditions == waits_for


@pytest.mark.parametrize("name", ["install", "install-cluster"])
def test_install_runs_once(services: dict[str, dict[str, Any]], name: str) -> None:
    """A restart policy would run it for ever."""
    assert services[name]["command"] == ["install", "--role", "readside"]
    assert services[name]["restart"] == "no"


def test_what_a_plain_up_does_not_start(services: dict[str, dict[str, Any]]) -> None:
    """It has no sample data and no monitoring; everything else needs no profile."""
    profiled = {name: service["profiles"] for name, service in services.items() if "profiles" in service}

    monitoring = {name: ["monitoring"] for name in ("prometheus", "grafana")}
    cluster = {name: ["cluster"] for name in (*NODES, "create-cluster", *CLUSTERED)}
    assert profiled == {"writer": ["demo"]} | monitoring | cluster


def test_every_file_that_is_mounted_exists(services: dict[str, dict[str, Any]]) -> None:
    """Docker would make a directory in the place of a file that is missing."""
    mounts = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    ours = [source for source in mounts if source.startswith("./")]

    assert len(set(ours)) == 10
    assert [source for source in ours if not (ROOT / source).exists()] == []


def test_prometheus_scrapes_the_services_at_their_ports(services: dict[str, dict[str, Any]]) -> None:
    """Names and ports inside the network are those of the compose file."""
    document = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in document["scrape_configs"]}
    port = services["projector"]["environment"]["READSIDE_PROJECTOR_PORT"]

    assert targets == {"readside-api": ["api:8000"], "readside-projector": [f"projector:{port}"]}
    assert services["projector"]["environment"]["READSIDE_PROJECTOR_HOST"] == "0.0.0.0"


def test_redis_bounds_its_memory_and_evicts_what_nobody_asks_for(services: dict[str, dict[str, Any]]) -> None:
    """At its bound Redis must go on taking the projector's writes."""
    command = services["redis"]["command"]

    assert command[command.index("--maxmemory-policy") + 1] == "allkeys-lru"
    assert "--maxmemory" in command


def test_the_cluster_is_made_of_its_nodes_once(services: dict[str, dict[str, Any]]) -> None:
    """Each node is the same but for the name that it tells clients, by which they reach it."""
    first, *others = (services[name] for name in NODES)
    creation = services["create-cluster"]

    assert creation["command"] == ["sh", "/create-cluster.sh", *(f"{name}:6379" for name in NODES)]
    assert creation["restart"] == "no"
    assert {services[name]["command"][-1]: name for name in NODES} == {name: name for name in NODES}
    assert [{**node, "command": first["command"]} for node in others] == [first] * 5


def test_the_cluster_is_a_deployment_of_its_own(services: dict[str, dict[str, Any]], secrets: dict[str, str]) -> None:
    """It shares the database with the other: so its triggers are elsewhere, for all its processes alike."""
    found = [services[name]["environment"] for name in CLUSTERED]
    plain = [services[name]["environment"] for name in ("install", "projector", "api")]
    urls = [(ROOT / path).read_text() for name, path in secrets.items() if name.startswith("redis-url-cluster")]

    assert {it["READSIDE_SCHEMA"] for it in found} == {"readside_cluster"}
    assert not any("READSIDE_SCHEMA" in it for it in plain)
    assert {it["READSIDE_SLICES"] for it in found[1:]} == {"32"}
    assert len(urls) == 2
    assert all(url.startswith("redis+cluster://") for url in urls)
    assert all({host.split(":")[0] for host in url.rpartition("@")[2].split(",")} <= set(NODES) for url in urls)


def test_a_clusters_users_may_do_what_a_single_servers_may(services: dict[str, dict[str, Any]]) -> None:
    """With every slice's keys and channels, which differ in their hash tag."""

    def words(name: str, user: str) -> set[str]:
        lines = (ROOT / "deploy/development" / name).read_text().splitlines()
        (line,) = (line for line in lines if line.startswith(f"user {user} "))
        found = set(line.replace("{0}", "{*}").replace("(", "").replace(")", "").split())
        sharded = {"+publish": "+spublish", "+subscribe": "+ssubscribe"}
        return {sharded.get(word, word) for word in found} - {"+select"}  # a cluster has one database

    for user in ("readside-projector", "readside-api"):
        assert words("redis-users.acl", user) <= words("redis-cluster-users.acl", user)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_hold_no_rights_they_do_not_need(services: dict[str, dict[str, Any]], name: str) -> None:
    """No capability, no write to the image, no way to more rights."""
    service = services[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_api_may_open_as_many_files_as_it_may_have_connections(services: dict[str, dict[str, Any]]) -> None:
    """Those of clients by default, and its own: Docker's own limit may be lower."""
    own = OWN_DESCRIPTORS + Settings.model_fields["fallback_concurrency"].default

    assert places(10**6, services["api"]["ulimits"]["nofile"], own) >= socket_bounds().max_connections


def test_every_variable_named_is_a_setting() -> None:
    """A misspelt variable would be ignored in silence."""
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", text))

    assert named <= {field.validation_alias or PREFIX + name.upper() for name, field in Settings.model_fields.items()}
    assert named >= {"READSIDE_DATABASE_URL_FILE", "READSIDE_REDIS_URL_FILE", "READSIDE_API_KEYS_FILE"}


def test_the_development_key_is_accepted(secrets: dict[str, str]) -> None:
    """It is one key with both scopes, and another file can take its place."""
    path = re.fullmatch(r"\$\{DEVELOPMENT_KEYS:-(.+)\}", secrets["api-keys"])
    assert path

    keys = parse_keys_file((ROOT / path[1]).read_text())
    assert list(keys.values()) == [("development", frozenset({"read", "ops"}))]


def test_every_secret_is_a_file(services: dict[str, dict[str, Any]], secrets: dict[str, str]) -> None:
    """No password and no key stands in the compose file or in the image; each service gets what it names."""
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    written = [(ROOT / path).read_text().strip() for path in secrets.values() if not path.startswith("$")]

    assert not any(secret in text for secret in written)
    assert not re.search(r"://[^/\s]+:[^/\s]+@|(?:PASSWORD|KEYS?|SECRET|URL): ", text)
    for service in services.values():
        named = {str(value) for name, value in service.get("environment", {}).items() if name.endswith("_FILE")}
        assert named == {f"/run/secrets/{secret}" for secret in service.get("secrets", [])}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((name, "reader") for name in ("projector", "api", "projector-cluster", "api-cluster")),
        *((name, "owner") for name in ("install", "writer", "install-cluster")),
    ],
)
def test_only_who_must_uses_the_owner_of_the_tables(services: dict[str, dict[str, Any]], name: str, role: str) -> None:
    """Projector and API may only read."""
    assert services[name]["environment"]["READSIDE_DATABASE_URL_FILE"] == f"/run/secrets/{role}-url"


def test_every_image_is_pinned_by_digest(
    services: dict[str, dict[str, Any]], dockerfile: list[tuple[str, str]]
) -> None:
    """A tag may be moved to other bytes; it says which version is meant."""
    bases = [rest.partition(" AS ")[0] for name, rest in dockerfile if name == "FROM"]
    images = [service["image"] for name, service in services.items() if name not in OURS]

    assert len(set(bases)) == 1
    assert [image for image in bases + images if not PINNED.fullmatch(image)] == []


def test_the_image_does_not_run_as_root(dockerfile: list[tuple[str, str]]) -> None:
    """The last stage names a user by a number that is not 0, after which nothing is built."""
    last_stage = dockerfile[max(at for at, (name, _) in enumerate(dockerfile) if name == "FROM") :]
    names = [name for name, _ in last_stage]
    users = [rest for name, rest in last_stage if name == "USER"]

    assert len(users) == 1
    assert int(users[0]) > 0
    assert "RUN" not in names[names.index("USER") :]


def test_the_image_is_built_in_two_stages_from_hashed_locks(dockerfile: list[tuple[str, str]]) -> None:
    """What is installed was locked, or built from the source beside it; no version is left to the day of the build."""
    steps = [step for name, rest in dockerfile if name == "RUN" for step in rest.split("&&") if " install " in step]

    assert [name for name, _ in dockerfile].count("FROM") == 2
    assert len(steps) == 3
    assert all("--no-deps" in step for step in steps)
    assert all("--require-hashes -r deploy/" in step or "--no-index dist/*.whl" in step for step in steps)


def test_nothing_that_installs_or_builds_is_in_the_image(dockerfile: list[tuple[str, str]]) -> None:
    """Neither where the processes are, nor where Python is."""
    last = max(at for at, (name, _) in enumerate(dockerfile) if name == "FROM")
    runs = [rest for name, rest in dockerfile[last:] if name == "RUN"]

    assert ("RUN", "python -m venv --without-pip /opt/readside") in dockerfile
    assert re.search(r"pip uninstall --yes .*setuptools wheel pip", runs[0])


def test_the_image_says_whether_it_is_up(dockerfile: list[tuple[str, str]]) -> None:
    """By the API's port, or a projector's."""
    (check,) = (rest for name, rest in dockerfile if name == "HEALTHCHECK")
    (exposed,) = (rest for name, rest in dockerfile if name == "EXPOSE")
    command = json.loads(check.split("CMD ", 1)[1])

    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert NO_PROXY in command[2]
    assert f"os.environ.get('READSIDE_PROJECTOR_PORT', '{exposed}') + '/health/live'" in command[2]


def test_what_the_image_copies_is_sent_to_the_build(dockerfile: list[tuple[str, str]]) -> None:
    """The .dockerignore excludes everything but what a COPY names."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [rest.split()[:-1] for name, rest in dockerfile if name == "COPY" and not rest.startswith("--from")]
    copied = {source for sources in copies for source in sources}

    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)
