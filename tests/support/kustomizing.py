"""What kustomize makes of a folder, as far as `deploy/kubernetes` uses it; by kubectl itself where the machine has it.

Anything else in a kustomization is refused by name, so that nothing is left out in silence.
"""

import copy
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]
Renderer = Callable[[Path], list[Document]]

_UNDERSTOOD = {"apiVersion", "kind", "namespace", "resources", "images", "configMapGenerator", "patches"}
_KEYS_OF_LISTS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
"""By what a strategic merge tells the members of a list apart; any other list is replaced whole."""
_GENERATED = "generated"


def rendered(folder: Path) -> list[Document]:
    """A folder's documents as `kubectl kustomize` does, in any order; the caller's own."""
    return copy.deepcopy(_rendered(folder))


@cache
def _rendered(folder: Path) -> list[Document]:
    documents = _accumulated(folder)
    renamed = {it["metadata"]["name"]: _suffixed(it) for it in documents if it.pop(_GENERATED, False)}
    for document in documents:
        if document["kind"] == "ConfigMap":
            document["metadata"]["name"] = renamed.get(document["metadata"]["name"], document["metadata"]["name"])
    for reference in _found(documents, "configMapRef"):
        reference["name"] = renamed.get(reference["name"], reference["name"])
    return documents


def by_kubectl(folder: Path) -> list[Document]:
    """Have kubectl render it, offline."""
    said = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, check=True, text=True).stdout
    return list(yaml.safe_load_all(said))


def renderers() -> dict[str, Renderer]:
    """Each that this machine has, by name."""
    found: dict[str, Renderer] = {"ours": rendered}
    return found | ({"kubectl": by_kubectl} if shutil.which("kubectl") else {})


def _accumulated(folder: Path) -> list[Document]:
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := wanted.keys() - _UNDERSTOOD:
        raise ValueError(f"{folder} uses {sorted(unknown)}, which is not understood here.")
    documents = [document for name in wanted.get("resources", ()) for document in _resource(folder / name)]
    for generator in wanted.get("configMapGenerator", ()):
        _generate(documents, generator)
    for patch in wanted.get("patches", ()):
        for change in yaml.safe_load_all((folder / _only(patch, "path")).read_text()):
            _merge(_same(documents, change), change)
    for image in wanted.get("images", ()):
        for container in (it for found in _found(documents, "containers") for it in found):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    for document in documents:
        if "namespace" in wanted and document["kind"] != "Namespace":
            document["metadata"]["namespace"] = wanted["namespace"]
    return documents


def _resource(path: Path) -> list[Document]:
    return _accumulated(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))


def _generate(documents: list[Document], generator: dict[str, Any]) -> None:
    data = dict(literal.split("=", 1) for literal in generator["literals"])
    if generator.get("behavior") == "merge":
        named = [it for it in documents if it.get(_GENERATED) and it["metadata"]["name"] == generator["name"]]
        named[0]["data"].update(data)
    else:
        metadata = {"name": generator["name"]}
        documents.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, _GENERATED: True}
        )


def _suffixed(config_map: Document) -> str:
    """A generated name: kustomize's digest of what it holds follows it, without letters that make words."""
    name = config_map["metadata"]["name"]
    hashed = {"data": dict(sorted(config_map["data"].items())), "kind": "ConfigMap", "name": ""}
    digest = hashlib.sha256(json.dumps(hashed, separators=(",", ":")).encode()).hexdigest()[:10]
    return f"{name}-{digest.translate(str.maketrans('013ae', 'ghkmt'))}"


def _same(documents: list[Document], change: Document) -> Document:
    identity = change["kind"], change["metadata"]["name"]
    (found,) = (it for it in documents if (it["kind"], it["metadata"]["name"]) == identity)
    return found


def _merge(into: dict[str, Any], change: dict[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif name in _KEYS_OF_LISTS and name in into:
            _merge_list(into[name], value, _KEYS_OF_LISTS[name])
        else:
            into[name] = value


def _merge_list(into: list[dict[str, Any]], change: list[dict[str, Any]], key: str) -> None:
    by_key = {it[key]: it for it in into}
    for member in change:
        if member[key] in by_key:
            _merge(by_key[member[key]], member)
    into[:0] = [member for member in change if member[key] not in by_key]  # what is new comes first


def _found(within: Any, name: str) -> Iterator[Any]:
    """What stands under a name, at any depth."""
    members = within.values() if isinstance(within, dict) else within if isinstance(within, list) else ()
    if isinstance(within, dict) and name in within:
        yield within[name]
    for member in members:
        yield from _found(member, name)


def _only(patch: dict[str, str], key: str) -> str:
    if patch.keys() != {key}:
        raise ValueError(f"The patch {patch} is not understood here: it names a file, and its content the target.")
    return patch[key]
